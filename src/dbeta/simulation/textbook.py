"""The textbook heart in numbers: territories, waves as bell curves, and what each disease adds to their vectors.

Vectors are in mV: to the left, to the feet, to the back, and the local parts `front` and `side` (see `heart`).

Sources: vectors and durations as in Macfarlane et al., Comprehensive Electrocardiology; criteria as in the AHA/ACCF/HRS
recommendations (2009); territories as in the universal definition of myocardial infarction (2018).
"""

from __future__ import annotations

#: Territories of the left ventricle → the direction from its middle, and its local parts.
TERRITORIES: dict[str, tuple[float, ...]] = {
    "septal": (-0.25, 0.10, -0.60, 0.32, 0.0),
    "anterior": (0.30, 0.10, -0.60, 0.42, 0.35),
    "lateral": (0.95, -0.15, 0.10, 0.0, 0.45),
    "inferior": (0.10, 0.98, 0.10, 0.0, 0.0),
    "posterior": (0.15, 0.20, 0.95, -0.35, 0.0),
}
#: Parts of a wave's vector.
PARTS = 5
#: Bell curves of a beat that `Heart.individual` varies, and corners of its QRS complex.
VARIED, CORNERS = 16, 9

# Rows of waves: when (as a fraction of the duration), widths before and after that (likewise), vector (mV: to the left,
# to the feet, to the back, local parts `front` and `side`). Sizes were set by comparison with PTB-XL's folds 1 to 8;
# directions and order as in Macfarlane et al.

#: Septum, apex, free wall, base.
NORMAL_QRS = [
    (0.20, 0.085, 0.085, (-0.12, -0.05, -0.22)),
    (0.40, 0.100, 0.100, (0.84, 0.56, -0.36, 0.36, 0.42)),
    (0.56, 0.100, 0.100, (1.02, 0.52, 0.66, -1.15, 0.30)),
    (0.80, 0.085, 0.085, (-0.16, -0.06, 0.44, -0.27, 0.0)),
]
#: Left bundle branch block: no septal force to the right; slow, to the left and backwards.
LEFT_BLOCK_QRS = [
    (0.18, 0.09, 0.09, (0.30, 0.08, 0.10, -0.05, 0.0)),
    (0.42, 0.12, 0.12, (0.85, 0.02, 0.85, -0.75, -0.55)),
    (0.68, 0.12, 0.11, (0.95, -0.22, 0.95, -0.75, -0.65)),
]
#: Right bundle branch block adds the late right ventricle, to the right and forwards.
RIGHT_BLOCK_QRS = [
    (0.60, 0.10, 0.10, (-0.05, 0.0, -0.40, 0.35)),
    (0.84, 0.12, 0.14, (-0.36, 0.0, -0.75, 0.30)),
    (1.14, 0.13, 0.18, (-0.26, 0.0, -0.42, 0.20)),
]
#: Islands of late muscle; their vectors are each heart's own.
ISLANDS = [(0.66, 0.055, 0.055, (0.0, 0.0, 0.0)), (0.90, 0.07, 0.08, (0.0, 0.0, 0.0))]
#: How much larger than its other variation a fragmented heart's islands are.
ISLAND_SIZE = 2.2
#: Right atrium, left atrium.
P_WAVE = [(0.36, 0.17, 0.17, (0.03, 0.095, -0.04)), (0.64, 0.17, 0.17, (0.06, 0.05, 0.04))]
#: A beat from the ventricles: its direction is given, with these sizes in mV.
VENTRICULAR_QRS = [(0.22, 0.09, 0.10, (0.0,)), (0.48, 0.13, 0.13, (0.0,)), (0.76, 0.12, 0.12, (0.0,))]
VENTRICULAR_SIZES = (0.55, 1.55, 0.85)
#: It bends while it spreads: first to the back, at last to the front, by this share of a unit vector; and mV of its
#: T wave, which is opposite.
VENTRICULAR_TURN = [[0.25, 0.0, 0.9], [0.0, 0.0, 0.0], [-0.5, 0.0, -0.6]]
VENTRICULAR_BEND, VENTRICULAR_T = 0.35, -0.55

# What diseases of degree 1 add to septum, apex, free wall and base of NORMAL_QRS, mV. Directions as in Macfarlane et
# al.; sizes were set like those above.

#: Left ventricular load: more of the free wall, to the left and backwards; less septal r, hence poor progression in V1
#: to V3.
LEFT_LOAD = [(0.0, 0.0, 0.20), (0.30, -0.05, 0.20, -0.1, 0.1), (0.95, -0.15, 0.75, -0.3, 0.2), (0.0, 0.0, 0.25)]
#: Right ventricular load: to the right and forwards.
RIGHT_LOAD = [(), (-0.55, 0.25, -0.25), (-1.15, 0.25, -0.95, 0.1, -0.2), (-0.35, 0.0, 0.0)]
#: A blocked anterior fascicle: first downwards, away from its wall, then late upwards, which turns the axis left.
ANTERIOR_FASCICLE = [(0.05, 0.25, 0.05), (-0.05, -0.70, 0.1, 0.0, -0.15), (-0.05, -1.02, 0.05, 0.0, -0.35), ()]
#: A blocked posterior fascicle: first upwards to the left, then late downwards to the right.
POSTERIOR_FASCICLE = [(0.30, -0.25, 0.0), (-0.75, 0.40, 0.0), (-1.05, 0.55, 0.0), ()]
#: Enlarged atria: the right one makes P taller in the inferior leads, the left one its end larger to the back, so that
#: it is negative in V1.
RIGHT_ATRIUM, LEFT_ATRIUM = (0.0, 0.11, -0.03), (0.02, 0.01, 0.08)
#: mV by which a whole scar lowers septum, apex and free wall; and the middle of a left bundle branch block.
SCAR_LOSS, SCAR_LOSS_BLOCKED = (0.36, 0.70, 0.22), 0.5
#: Seconds by which a full block or delay lengthens QRS, and an enlarged left atrium P.
LEFT_BLOCK_DELAY, RIGHT_BLOCK_DELAY, FASCICLE_DELAY, DELAY, LEFT_ATRIUM_DELAY = 0.060, 0.045, 0.006, 0.045, 0.025
#: A delta wave: when it is largest and its widths before and after (seconds); mV; seconds by which it lengthens QRS.
DELTA_WAVE, DELTA_SIZE, DELTA_DURATION = (0.032, 0.016, 0.020), 0.55, 0.028
#: Directions in which an accessory pathway excites the ventricles, hence of the delta wave: downwards and to the front,
#: upwards to the left, and downwards to the right; and how common each is.
PATHWAYS = [[0.35, 0.75, -0.55], [0.75, -0.55, -0.25], [-0.45, 0.55, -0.75]]
PATHWAY_SHARES = [0.5, 0.3, 0.2]
#: The T wave in mV; mV that strain and ischemia of degree 1 add to it, and strain to the ST segment.
T_VECTOR = (0.42, 0.19, -0.32, 0.0, 0.05)
STRAIN_T, ISCHEMIA_T, STRAIN_ST = 0.42, 0.45, 0.10
#: Directions of the U wave, largest in V2 and V3, and of the notch of early repolarization, in the lateral and inferior
#: leads.
U_DIRECTION, NOTCH_DIRECTION = (0.45, 0.35, -0.7), (0.75, 0.55, -0.2)
#: Brugada's pattern, to the right and forwards, seen by V1 and V2 alone: the coved ST segment, and the direction and
#: size of its T wave, inverted.
COVED_ST, COVED_T, COVED_T_SIZE = (-0.25, 0.0, -0.6, 0.7, 0.0), (-0.25, 0.0, -0.6, 0.5, 0.0), -0.6
#: Seconds of a textbook QT interval and QRS complex, and from the peak of T to its end.
USUAL_QT, USUAL_QRS, T_PEAK_TO_END = 0.39, 0.09, 0.085
