"""Stores findings as signs, with the criteria on leads that `findings` and `coronary` share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.simulation.finding_table import FILE, TABLE
from dbeta.simulation.measures import Measures

#: Groups of leads; a change counts if two leads of a group show it.
GROUPS = (("II", "III", "aVF"), ("I", "aVL", "V5", "V6"), ("V1", "V2", "V3"), ("V3", "V4", "V5"))


class Findings(dict[str, Tensor]):
    """Name of a finding → (B,) int8: 1 present, −1 absent, 0 undetermined."""

    def decide(self, name: str, present: Tensor, unclear: Tensor | None = None) -> None:
        """Add a finding; where it is unclear, it is undetermined.

        Raises:
            DBetaError: `findings.csv` has no row for it.
        """
        if name not in TABLE:
            raise DBetaError(f"{FILE.name}: has no row for {name!r}, which a criterion decides; add the row")
        sign = torch.where(present, 1, -1).to(torch.int8)
        self[name] = sign if unclear is None else sign.where(~unclear, torch.zeros_like(sign))

    def measured(self, name: str, value: Tensor, limit: float, margin: float, applies: Tensor | None = None) -> None:
        """Add a finding that is present above a limit, undetermined within the margin, absent where not applicable."""
        unclear = (value - limit).abs() < margin
        present = value > limit
        if applies is not None:
            present, unclear = present & applies, unclear & applies
        self.decide(name, present, unclear | value.isnan())

    def hide(self, names: tuple[str, ...], where: Tensor, *, absent_only: bool = False) -> None:
        """Make findings undetermined where something hides them."""
        self.check_decided(names)
        for name in names:
            covered = where & (self[name] < 0) if absent_only else where
            self[name] = self[name].where(~covered, torch.zeros_like(self[name]))

    def any_of(self, name: str, parts: tuple[str, ...] | list[str], unclear: Tensor | None = None) -> None:
        """Add a finding that is present if any of several are, and undetermined if at most undetermined ones are."""
        self.check_decided(parts)
        signs = torch.stack([self[part] for part in parts]).amax(dim=0)
        self.decide(name, signs > 0, (signs == 0) if unclear is None else (signs == 0) | (unclear & (signs <= 0)))

    def check_decided(self, names: Iterable[str] = TABLE) -> None:
        """Check that criteria have decided findings, by default all of the table.

        Raises:
            DBetaError: one is not decided.
        """
        for name in names:
            if name not in self:
                raise DBetaError(
                    f"{FILE.name}: {name!r} has a row but no criterion; decide it in simulation/findings.py, or remove "
                    "the row"
                )


def numbers_of(names: tuple[str, ...]) -> list[int]:
    """Indices of leads among the twelve."""
    return [LEADS.index(one) for one in names]


def in_lead(values: Tensor, name: str) -> Tensor:
    """Select one lead's values: (B, 12) → (B,)."""
    return values[:, LEADS.index(name)]


def grouped(marked: Tensor, groups: tuple[tuple[str, ...], ...] = GROUPS) -> Tensor:
    """Whether two leads of any group are marked: (B, 12) bool → (B,) bool."""
    return torch.stack([marked[:, numbers_of(group)].sum(dim=1) >= 2 for group in groups]).any(dim=0)


def any_and_two(marked: Tensor, names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Whether at least one, and at least two, of these leads are marked: (B, 12) bool → (B,) bool each."""
    count = marked[:, numbers_of(names)].sum(dim=1)
    return count >= 1, count >= 2


def wide_q(m: Measures, seconds: float, part: float) -> Tensor:
    """Whether Q waves or QS complexes are this wide and this deep relative to R: (B, 12) bool; never in aVR."""
    wide = (m.q_time >= seconds) & (m.q > 0.08) & (m.q > part * m.r)
    wide[:, LEADS.index("aVR")] = False
    return wide
