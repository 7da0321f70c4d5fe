"""The columns of a table of findings: what `DBeta.diagnose` returns, files hold, the terminal shows and documents list.

To add a column, add it here and compute it in `findings_of` (`dbeta.inference.findings`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of a table of findings.

    Attributes:
        meaning: what it holds.
        number: whether its values are numbers instead of text.
        windows: True if only tables with a row for each window have it, False if only the others.
        heading: in the terminal, if it is shown there.
        place: of the column in the terminal, from left to right.
    """

    meaning: str
    number: bool = False
    windows: bool | None = None
    heading: str = ""
    place: int = 0


#: In the order of the table.
COLUMNS = {
    "record": Column("name of the recording"),
    "start": Column("start of the window in seconds", number=True, windows=True),
    "condition": Column(
        "in the words of the request, or its name in the list of conditions", heading="condition", place=1
    ),
    "score": Column(
        "cosine of the embeddings of recording and condition, −1 to 1; of a long recording, of the mean of its windows",
        number=True,
        heading="score",
        place=2,
    ),
    "percentile": Column(
        "percentage of the reference panel that matches the condition less closely; missing without a panel",
        number=True,
        heading="percentile",
        place=3,
    ),
    "quality": Column("of the signal: good or fair; unusable in a row without a condition", heading="signal", place=6),
    "peak": Column(
        "best score among the recording's windows", number=True, windows=False, heading="with\nscore", place=5
    ),
    "peak_at": Column("start of that window in seconds", number=True, windows=False, heading="strongest\nat", place=4),
}
#: Columns that say something only of recordings with several windows.
PEAKS = tuple(name for name, one in COLUMNS.items() if one.windows is False)
#: What the terminal shows of a recording, in this order.
SHOWN = sorted((name for name, one in COLUMNS.items() if one.heading), key=lambda name: COLUMNS[name].place)
#: The columns of a table with a row for each window (True), or with a row for each recording (False).
COLUMN_NAMES = {
    windows: [name for name, one in COLUMNS.items() if one.windows in (None, windows)] for windows in (True, False)
}
