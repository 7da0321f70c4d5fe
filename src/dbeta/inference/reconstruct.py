"""Fills in what a recording lacks: missing leads, dead stretches, or leads that the caller asks for.

- Limb leads that follow from two measured ones are computed, not predicted.
- Gaps of at most `SHORT` seconds are interpolated, for which no model is needed.
- The rest comes from the MEM head (masked ECG modelling), as it was trained (`DBetaConfig.mem_scope`):
  - "unseen": what is to be predicted is 0 in the model's input. Tokens of which nothing was recorded are hidden.
  - "tokens": predictions are read at hidden tokens only. A lead that is missing in a whole window is 0 in the input;
    since it is to be predicted at all tokens, the model runs `PASSES` times with other tokens hidden each time. Tokens
    in which a recorded lead has a gap are hidden each time, and the gap is interpolated.

MEM predicts each lead standardised over the tokenised samples (`dbeta.model.losses.mem_targets`). For a lead with
measured samples in the window, mean and standard deviation are those for which measured and predicted samples together
have exactly the predicted standardisation. For a lead without, the mean is 0 and the standard deviation follows from
those of the other leads (`dbeta.signal.lead_sizes`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from dbeta.corpus.report_text import clean_report
from dbeta.ecg import ECG, LEADS, standard_lead_name
from dbeta.errors import DBetaError, DBetaWarning, NoSignalError
from dbeta.inference.loaded import Loaded
from dbeta.signal.gaps import fill_limb_leads, gaps, stretches
from dbeta.signal.lead_sizes import probable_sizes
from dbeta.signal.preprocess import check_extent, fill_gaps

#: Seconds of a gap that is interpolated.
SHORT = 0.04
#: Runs of the model, each with other tokens hidden, to predict a lead at all tokens where only hidden ones are read.
PASSES = 2
#: A lead with gaps in more than this share of a window is treated as missing there.
MOSTLY = 0.5
#: Share of a window's samples from which a lead's own mean and standard deviation are taken.
ENOUGH = 0.1
#: Tokens that must be visible in a window.
FEWEST_VISIBLE = 4
#: What the model is told of a recording without a report.
NO_REPORT = "ecg"
_EPSILON = 1e-6  # that of `mem_targets`


def reconstruct(model: Loaded, ecg: ECG, leads: Sequence[str] | None = None, text: str | None = None) -> ECG:
    """Fill in what a recording lacks (see `DBeta.reconstruct`)."""
    name = str(ecg.meta.get("source", "recording"))
    ecg = ecg.standard()
    check_extent(ecg.sampling_rate, ecg.duration, name)
    signal = ecg.signal.astype(np.float64)  # (12, samples)
    lacking = gaps(signal, ecg.sampling_rate)
    asked = [LEADS.index(standard_lead_name(lead)) for lead in ([leads] if isinstance(leads, str) else leads or [])]
    lacking[asked] = True
    if lacking.all():
        raise NoSignalError(f"{name}: holds no signal from which the rest could be reconstructed")
    signal[lacking] = np.nan
    todo = lacking & ~fill_limb_leads(signal, lacking)
    todo &= ~_interpolate_short(signal, todo, round(SHORT * ecg.sampling_rate))
    if todo.any():
        model.model.require_fusion()
        words = clean_report(text or ecg.report) or NO_REPORT
        guess = _predict(model, signal, todo, ecg.sampling_rate, words)
        signal[6:][todo[6:]] = guess[6:][todo[6:]]
        fill_limb_leads(signal, todo, guess)
    made_up = lacking & np.isfinite(signal)
    if left := int((lacking & ~made_up).any(axis=0).sum()):
        warnings.warn(
            f"{name}: {left / ecg.sampling_rate:.1f} s could not be reconstructed, since too little was recorded "
            "around them; they stay missing",
            DBetaWarning,
            stacklevel=3,
        )
    out = ecg.signal.copy()
    out[made_up] = signal[made_up]
    meta = {key: value for key, value in ecg.meta.items() if key != "missing_leads"} | {"reconstructed": made_up}
    if without := [lead for lead, row in zip(LEADS, out, strict=True) if not np.isfinite(row).any()]:
        meta["missing_leads"] = without
    return ECG(out, ecg.sampling_rate, LEADS, ecg.report, ecg.patient_id, meta)


def _interpolate_short(signal: np.ndarray, todo: np.ndarray, longest: int) -> np.ndarray:
    """Interpolate short gaps within a lead, in place: (leads, samples) bool, where."""
    done = np.zeros_like(todo)
    for row, missing, filled in zip(signal, todo, done, strict=True):
        for begin, end in stretches(missing):
            if begin > 0 and end < len(row) and end - begin <= longest:
                row[begin:end] = np.interp(np.arange(begin, end), (begin - 1, end), (row[begin - 1], row[end]))
                filled[begin:end] = True
    return done


@dataclass
class _Window:
    """A window of the recording at the model's rate.

    Attributes:
        start: its first sample.
        gaps: (leads, tokenised samples) bool, what is to be predicted.
        signal: (leads, samples) model input.
        passes: for each run of the model, the tokens hidden in it and those at which it is read, (tokens,) bool each.
        total: (leads, tokenised samples) sum of predictions.
    """

    start: int
    gaps: np.ndarray
    signal: np.ndarray
    passes: list[tuple[np.ndarray, np.ndarray]]
    total: np.ndarray


def _predict(model: Loaded, signal: np.ndarray, todo: np.ndarray, rate: float, words: str) -> np.ndarray:
    """The recording (leads, samples) with predictions where they were to be made; NaN where that was impossible."""
    config = model.model.config
    order = [LEADS.index(lead) for lead in config.leads]
    known = signal[order].copy()
    fill_gaps(known)
    ratio = Fraction(config.sampling_rate / rate).limit_denominator(10_000)
    if ratio != 1:
        from scipy.signal import resample_poly

        known = resample_poly(known, ratio.numerator, ratio.denominator, axis=1, padtype="line")
    places = np.arange(known.shape[1]) * (rate / config.sampling_rate)  # of the model's samples, in the recording's
    wanted = np.stack([np.interp(places, np.arange(signal.shape[1]), row) > 0 for row in todo[order].astype(float)])
    windows = _cut(model, known, wanted)
    _run(model, windows, words)
    _store(known, wanted, windows, config)
    if ratio != 1:
        from scipy.interpolate import make_interp_spline

        impossible = np.isnan(known)
        spline = make_interp_spline(places, np.where(impossible, 0.0, known), k=min(3, len(places) - 1), axis=1)
        at = np.arange(signal.shape[1])
        nearest = np.clip(np.rint(at * config.sampling_rate / rate).astype(int), 0, known.shape[1] - 1)
        known = np.where(impossible[:, nearest], np.nan, spline(np.minimum(at, places[-1])))
    out = np.full(signal.shape, np.nan)
    out[order] = known
    return out


def _cut(model: Loaded, known: np.ndarray, wanted: np.ndarray) -> list[_Window]:
    """The windows in which something is to be predicted and enough was recorded; their tokens cover the recording."""
    config = model.model.config
    span, total = config.n_tokens * config.samples_per_token, known.shape[1]
    starts = list(range(0, max(total - span, 0) + 1, span))
    if starts[-1] + span < total:
        starts.append(total - span)
    windows = []
    for start in starts:
        lacking = np.zeros((len(known), span), bool)
        lacking[:, : total - start] = wanted[:, start : start + span]
        if not lacking.any():
            continue
        absent = lacking.mean(axis=1) > MOSTLY
        by_token = lacking.reshape(len(known), config.n_tokens, -1)
        if config.mem_scope == "unseen":
            passes = [(np.asarray(by_token.all(axis=(0, 2))), np.ones(config.n_tokens, dtype=bool))]
        else:
            always = np.asarray(by_token[~absent].any(axis=(0, 2)))  # (tokens,)
            passes = [(always, always)]
            if absent.any():
                turns = [always | (np.arange(config.n_tokens) % PASSES == turn) for turn in range(PASSES)]
                passes = [(hidden, hidden) for hidden in turns]
        if absent.all() or min((~hidden).sum() for hidden, _ in passes) < FEWEST_VISIBLE:
            continue
        x = known[:, start : start + config.n_samples]
        x = np.concatenate([x, np.median(x, axis=1, keepdims=True).repeat(config.n_samples - x.shape[1], axis=1)], 1)
        if config.signal_scale == "lead_zscore":
            x = (x - x.mean(axis=1, keepdims=True)) / (x.std(axis=1, keepdims=True) + 1e-6)
        x[absent] = 0.0
        if config.mem_scope == "unseen":
            x[:, :span][lacking] = 0.0
        windows.append(_Window(start, lacking, x.astype(np.float32), passes, np.zeros_like(lacking, float)))
    return windows


@torch.inference_mode()
def _run(model: Loaded, windows: list[_Window], words: str) -> None:
    """Add the predictions of all passes to their windows, each at the tokens that are read in that pass."""
    inner, size = model.model, model.batch_size
    tokens = {key: value.to(inner.device) for key, value in model.processor.tokens([words]).items()}
    by_count: dict[int, list[tuple[_Window, np.ndarray, np.ndarray]]] = {}
    for window in windows:
        for hidden, read in window.passes:
            by_count.setdefault(int(hidden.sum()), []).append((window, hidden, read))
    for same in by_count.values():
        for first in range(0, len(same), size):
            batch = same[first : first + size]
            signals = torch.from_numpy(np.stack([window.signal for window, *_ in batch])).to(inner.device)
            masks = torch.from_numpy(np.stack([hidden for _, hidden, _ in batch])).to(inner.device)
            found = inner.predict_signal(signals, masks, **tokens).cpu().numpy()
            for (window, _, read), one in zip(batch, found, strict=True):
                window.total += np.where(read.repeat(inner.config.samples_per_token), one, 0.0)


def _store(known: np.ndarray, wanted: np.ndarray, windows: list[_Window], config: object) -> None:
    """Put the predictions in millivolts where they are wanted, and NaN where there are none; in place."""
    filled = np.full(known.shape, np.nan)
    sizes = []
    for window in windows:
        times = np.sum([read for _, read in window.passes], axis=0)  # (tokens,)
        shape = window.total / np.maximum(times, 1).repeat(window.gaps.shape[1] // len(times))
        here = slice(window.start, window.start + window.gaps.shape[1])
        part = known[:, here]
        deviations = np.full(len(known), np.nan)
        means = np.zeros(len(known))
        for i, lacking in enumerate(window.gaps[:, : part.shape[1]]):
            if (~lacking).sum() >= ENOUGH * window.gaps.shape[1]:
                means[i], deviations[i] = standardisation(part[i][~lacking], shape[i, : part.shape[1]][lacking])
        sizes.append((window, here, shape, means, deviations))
    names = list(config.leads)  # type: ignore[attr-defined]
    order = [names.index(lead) for lead in LEADS]
    # A lead without samples of its own has one size in all windows, else it would jump from one to the next
    guessed = [np.full(len(known), np.nan) for _ in sizes]
    for one, (*_, deviations) in zip(guessed, sizes, strict=True):
        one[order] = probable_sizes(deviations[order])
    common = np.exp(np.mean(np.log(guessed), axis=0)) if guessed else np.zeros(len(known))
    for window, here, shape, means, deviations in sizes:
        scale = np.where(np.isnan(deviations), common, deviations)
        part = filled[:, here]
        values = (means[:, None] + scale[:, None] * shape)[:, : part.shape[1]]
        fresh = window.gaps[:, : part.shape[1]] & np.isnan(part)
        part[fresh] = values[fresh]
    known[wanted] = filled[wanted]


def standardisation(measured: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a lead of which a part is known only standardised.

    They are those for which `measured` together with `mean + deviation · predicted` has this mean and this deviation,
    as `mem_targets` computes them.

    Args:
        measured: (n,) mV.
        predicted: (m,) standardised.
    """
    n, total = len(measured), len(measured) + len(predicted)
    scatter = float(((measured - measured.mean()) ** 2).sum())
    shift = float(predicted.sum()) / n  # of the mean, in deviations
    left = total - 1 - n * shift**2 - float((predicted**2).sum())
    if left < 0.05 * (total - 1):  # the prediction claims nearly all of the lead's variance
        return float(measured.mean()), float(np.sqrt(scatter / max(n - 1, 1) + _EPSILON))
    deviation = float(np.sqrt((scatter + (total - 1) * _EPSILON) / left))
    return float(measured.mean()) + deviation * shift, deviation


def describe_reconstruction(ecg: ECG) -> list[str]:
    """What of a recording was reconstructed, one line per lead, as in "V3: 2.0–4.5 s"; [] if nothing was.

    Raises:
        DBetaError: the recording does not come from `DBeta.reconstruct`.
    """
    if "reconstructed" not in ecg.meta:
        raise DBetaError("this recording does not say what was reconstructed; call DBeta.reconstruct first")
    lines = []
    for lead, mask in zip(ecg.leads, ecg.meta["reconstructed"], strict=True):
        parts = [f"{begin / ecg.sampling_rate:.2f}–{end / ecg.sampling_rate:.2f} s" for begin, end in stretches(mask)]
        if parts:
            lines.append(f"{lead}: {'all' if mask.all() else ', '.join(parts)}")
    return lines
