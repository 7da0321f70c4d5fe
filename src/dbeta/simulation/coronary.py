"""Decides infarcts, ischemia and injury of simulated patients from their causes and what the tracing shows.

Source: Thygesen et al. 2018, the fourth universal definition of myocardial infarction.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dbeta.simulation.diseases import DIFFUSE, INFARCTS, NAMED_ISCHEMIAS
from dbeta.simulation.measures import Measures
from dbeta.simulation.patients import Patients
from dbeta.simulation.signs import Findings, any_and_two, grouped, in_lead, numbers_of, wide_q

#: Infarcts and ischemias that readers confuse because they share a territory.
KIN = {
    "anterior": ("anteroseptal", "anterolateral"),
    "anteroseptal": ("anterior",),
    "anterolateral": ("anterior", "lateral"),
    "lateral": ("anterolateral", "inferolateral", "inferoposterolateral"),
    "inferior": ("inferolateral", "inferoposterior", "inferoposterolateral"),
    "inferolateral": ("inferior", "lateral", "inferoposterolateral"),
    "inferoposterior": ("inferior", "posterior", "inferoposterolateral"),
    "inferoposterolateral": ("inferior", "inferolateral", "inferoposterior", "posterior"),
    "posterior": ("inferoposterior", "inferoposterolateral"),
}
#: Leads that face each wall of the left ventricle.
SEEN_BY = {
    "anterior": ("V1", "V2", "V3", "V4"),
    "lateral": ("I", "aVL", "V5", "V6"),
    "inferior": ("II", "III", "aVF"),
    "posterior": ("V1", "V2"),
}
#: Location of ischemia and subendocardial injury → the walls whose leads show it.
WALLS = {
    "anterior": ("anterior",),
    "anteroseptal": ("anterior",),
    "anterolateral": ("anterior", "lateral"),
    "lateral": ("lateral",),
    "inferior": ("inferior",),
    "inferolateral": ("lateral", "inferior"),
}


def _scars(m: Measures) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Definite and possible scars by territory (see `TERRITORIES`), as a reader would judge: (B,) bool each."""
    sure, maybe = wide_q(m, 0.028, 0.20), wide_q(m, 0.022, 0.15)
    two, three, four = (in_lead(m.r, name) for name in ("V2", "V3", "V4"))
    # Q waves are never normal in V2 to V4 (Thygesen et al. 2018: 20 ms suffice in V2 and V3), nor is a shrinking R wave
    early = any_and_two(wide_q(m, 0.020, 0.0) & (m.s > m.r), ("V2", "V3"))[0]
    front = early | any_and_two(sure, ("V3", "V4"))[0] | (three < 0.12) | ((three < two - 0.03) & (three < 0.25))
    poor = (three < 0.30) | (four < 0.40) | any_and_two(maybe, ("V3", "V4"))[0]
    side = ("I", "aVL", "V5", "V6")
    below = in_lead(sure, "aVF") & any_and_two(sure, ("II", "III"))[0]
    perhaps = in_lead(maybe, "aVF") | any_and_two(sure, ("II", "III"))[1]
    upright = in_lead(m.t, "V2") > 0.1
    back = ((in_lead(m.r, "V1") > in_lead(m.s, "V1")) | ((two > 1.2 * in_lead(m.s, "V2")) & (two > 0.4))) & upright
    scars = {
        "anterior": front,
        "lateral": any_and_two(sure, side)[1],
        "inferior": below,
        "posterior": back,
    }
    possible = {
        "anterior": front | poor,
        "lateral": any_and_two(maybe, side)[1],
        "inferior": below | perhaps,
        "posterior": back | (two > in_lead(m.s, "V2")),
    }
    return scars, possible


def decide_coronary(found: Findings, patients: Patients, m: Measures) -> None:
    """Decide infarcts, ischemia and injury.

    A scar that no lead shows is undetermined, and so is a tracing that looks just like a scar without there being one:
    readers, whose reports the model will be tested on, could not tell either.
    """
    has = patients.causes
    sure, maybe = _scars(m)
    lifted = m.st > 0.1
    driven = has["paced"] | has["dual paced"] | has["complete"]
    for place, (territories, _) in INFARCTS.items():
        names = ("anterior", "anterior", "lateral", "inferior", "posterior")
        parts = {name for name, share in zip(names, territories, strict=True) if share >= 0.5}
        seen = torch.stack([maybe[part] for part in parts]).all(dim=0)
        raised = torch.stack([any_and_two(lifted, SEEN_BY[part])[1] for part in parts]).any(dim=0)
        here = has[f"infarction {place}"]
        shown = seen | (has["acute"] & raised)
        kin = torch.stack([has[f"infarction {other}"] for other in KIN[place]]).any(dim=0)
        alike = torch.stack([sure[part] for part in parts if part != "posterior"] or [kin]).any(dim=0) & seen & ~driven
        found.decide(f"{place} myocardial infarction", here & shown, kin | (here & ~shown) | (~here & alike))
    inverted, pressed = m.t < -0.05, m.st < -0.04
    doubtful = has["t"] | has["non-diagnostic t"] | has["st"] | has["infarction"]
    for place in NAMED_ISCHEMIAS:
        leads = tuple(lead for wall in WALLS[place] for lead in SEEN_BY[wall])
        seen = any_and_two(inverted, leads)[0] | any_and_two(pressed, leads)[1]
        for family, ending in (("ischemia", "ischemia"), ("injury", "subendocardial injury")):
            here = has[f"{family} {place}"]
            kin = torch.stack([has.get(f"{family} {other}", here & False) for other in KIN[place]]).any(dim=0)
            marked = any_and_two(m.t < -0.1, leads)[1] & doubtful
            found.decide(f"{place} {ending}", here & seen, kin | (here & ~seen) | (~here & marked))
    # An aneurysm looks like an old anterior infarct
    found.hide(("anterior myocardial infarction", "anteroseptal myocardial infarction"), has["aneurysm"])
    acute = has["infarction"] & has["acute"]
    raised = grouped(lifted)
    found.decide("acute st-elevation myocardial infarction", acute & raised, has["evolving"] | (acute & ~raised))
    any_ischemia = has["ischemia"] | has["injury"]
    upright = numbers_of(("I", "II", "V3", "V4", "V5", "V6"))
    shown = ((m.t < -0.05) | (m.st < -0.04))[:, upright].sum(dim=1) >= 2
    found.decide(
        "ischemic st-t changes",
        has["ischemia"] & shown,
        (has["ischemia"] & ~shown) | ((any_ischemia | has["evolving"] | has["acute"]) & ~has[f"ischemia {DIFFUSE}"]),
    )
    found.decide("ventricular aneurysm", has["aneurysm"], has["evolving"])
