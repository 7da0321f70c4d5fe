"""Recordings of any length: cut in windows, read in pieces, pooled."""

import numpy as np
import pytest

from dbeta.ecg import ECG
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.inference import loader as reading_ahead
from dbeta.inference.load import load
from dbeta.io.read import read_ecg
from dbeta.signal.preprocess import InputFormat, prepare_signal
from dbeta.signal.windows import FIRST, PIECE, TAIL, cut_windows, later_stretches, merge_notes, window_starts

FORMAT = InputFormat()


@pytest.fixture(scope="module")
def model(micro_checkpoint):
    return load(micro_checkpoint, precision="float32")


# --- Where windows begin


@pytest.mark.parametrize(
    ("duration", "starts"),
    [
        (0.5, [0]),
        (9.9, [0]),
        (10, [0]),
        (11, [0]),
        (11.5, [0, 1.5]),
        (20, [0, 10]),
        (20.5, [0, 10]),
        (29, [0, 10, 19]),
        (30, [0, 10, 20]),
    ],
)
def test_where_windows_begin(duration, starts):
    np.testing.assert_allclose(window_starts(duration, 10), starts)


def test_windows_cover_a_recording_and_stay_inside():
    for duration in np.random.default_rng(0).uniform(10, 4000, 200):
        starts = window_starts(duration, 10)
        assert starts[0] == 0
        assert (np.diff(starts) <= 10 + 1e-9).all()
        assert duration - TAIL <= starts[-1] + 10 <= duration + 1e-9


@pytest.mark.parametrize("duration", [9, 60, 61, 75.3, 400, 86_400])
def test_pieces_have_each_window_once(duration):
    starts = window_starts(duration, 10)
    read = min(duration, FIRST + TAIL)
    later = later_stretches(starts, read, 10)
    first = starts[: len(starts) - sum(map(len, later))]
    np.testing.assert_array_equal(np.concatenate([first, *later]), starts)
    assert len(first) > 0
    assert len(first) == 1 or first[-1] + 10 <= read
    assert all(0 < len(piece) <= PIECE / 10 for piece in later)


def test_windows_are_what_the_parts_are(make_ecg):
    ecg = make_ecg(seconds=25, sampling_rate=250)
    starts, windows = cut_windows(ecg, [0, 10, 15], FORMAT)
    assert starts.tolist() == [0, 10, 15]
    assert windows.shape == (3, 12, 5000)
    for start, window in zip((0, 10, 15), windows, strict=True):
        part = ECG(ecg.signal[:, start * 250 : (start + 10) * 250], 250)
        np.testing.assert_array_equal(window, prepare_signal(part, FORMAT))


def test_notes_of_one_kind_become_one():
    notes = ["a.hea: 1.5% lost", "a.hea: lead V3 is flat", "a.hea: 0.2% lost", "a.hea: lead V4 is flat"]
    assert merge_notes(notes) == [
        "a.hea: 1.5% lost (in 2 windows)",
        "a.hea: lead V3 is flat",
        "a.hea: lead V4 is flat",
    ]


# --- Embeddings and findings


def test_a_long_recording_is_the_mean_of_its_windows(model, make_ecg, recwarn):
    ecg = make_ecg(seconds=35)
    parts = [ECG(ecg.signal[:, at * 500 : (at + 10) * 500], 500) for at in (0, 10, 20, 25)]
    np.testing.assert_allclose(model.embed(ecg)[0], model.embed(parts).mean(axis=0), atol=1e-5)
    assert len(recwarn) == 0


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_a_file_in_pieces_is_the_recording(model, make_ecg, write_record, tmp_path, batch_size, monkeypatch):
    long = make_ecg(seconds=404, sampling_rate=100)
    files = [write_record(tmp_path, long), write_record(tmp_path, make_ecg(seed=5), "short")]
    stretches = []
    inner = reading_ahead.read_ecg

    def read(file, **options):
        stretches.append((options["start"], options["duration"]))
        return inner(file, **options)

    monkeypatch.setattr(reading_ahead, "read_ecg", read)
    monkeypatch.setattr(reading_ahead, "default_workers", lambda: 0)
    monkeypatch.setattr(model, "batch_size", batch_size)
    watched = []
    done = list(model.embed_files(files, watch=lambda *seen: watched.append(seen)))
    assert stretches == [(0, 61), (60, 300), (360, 44), (0, 61)]
    assert [one.record for one in done] == ["rec.hea", "short.hea"]
    assert done[0].starts.tolist() == [*range(0, 400, 10), 394]
    assert watched == [("rec.hea", 6, 40), ("rec.hea", 36, 40), ("rec.hea", 40, 40)]
    (expected,) = model.embed_files([read_ecg(files[0])])
    np.testing.assert_allclose(done[0].windows, expected.windows, atol=1e-5)
    np.testing.assert_allclose(done[1].embedding, model.embed(files[1])[0], atol=1e-5)


def test_pieces_from_worker_processes(model, make_ecg, write_record, tmp_path):
    file = write_record(tmp_path, make_ecg(seconds=404, sampling_rate=100))
    without, with_two = (next(model.embed_files([file], workers=workers)) for workers in (0, 2))
    np.testing.assert_array_equal(without.windows, with_two.windows)


def test_windows_without_a_signal_are_left_out(model, make_ecg, write_record, tmp_path):
    ecg = make_ecg(seconds=150, sampling_rate=100)
    ecg.signal[:, :7000] = np.nan  # the whole first piece
    ecg.signal[:, 9000:10_000] = 0.1
    (one,) = model.embed_files([write_record(tmp_path, ecg)])
    assert one.error is None
    assert one.starts.tolist() == [70, 80, 100, 110, 120, 130, 140]
    assert one.notes[-1] == "rec.hea: 8 of 15 windows hold no signal and are left out"
    with pytest.warns(DBetaWarning, match="8 of 15 windows"):
        model.embed(tmp_path / "rec.hea")


def test_no_window_has_a_signal(model, make_ecg, write_record, tmp_path):
    ecg = make_ecg(seconds=150, sampling_rate=100)
    ecg.signal[:] = 0.1
    with pytest.raises(DBetaError, match=r"rec\.hea: holds no signal in any of its 15 windows"):
        model.embed(write_record(tmp_path, ecg))
    ecg.signal[:] = np.nan
    with pytest.raises(DBetaError, match=r"gone\.hea: holds no"):
        model.embed(write_record(tmp_path, ecg, "gone"))


def test_a_file_that_ends_early_is_read_as_far_as_it_goes(model, make_ecg, write_record, tmp_path):
    broken = write_record(tmp_path, make_ecg(seconds=150, sampling_rate=100))
    good = write_record(tmp_path, make_ecg(), "good")
    samples = broken.with_suffix(".dat")
    samples.write_bytes(samples.read_bytes()[:-24_000])
    one, other = model.embed_files([broken, good])
    assert (one.error, one.duration, len(one.windows)) == (None, 140, 14)
    assert any("promises 15000 samples, it holds 14000" in note for note in one.notes)
    assert (other.error, other.notes) == (None, [])


def test_findings_by_window(model, make_ecg):
    ecg = make_ecg(seconds=35)
    asked = ["pause", "sinus rhythm"]
    table = model.diagnose(ecg, asked, windows=True)
    assert list(table.columns)[:5] == ["record", "start", "condition", "score", "percentile"]
    assert table["start"].tolist() == [0, 0, 10, 10, 20, 20, 25, 25]
    for start, rows in table.groupby("start"):
        assert rows["score"].is_monotonic_decreasing
        part = ECG(ecg.signal[:, int(start) * 500 : int(start + 10) * 500], 500)
        alone = model.diagnose(part, asked)
        assert rows["condition"].tolist() == alone["condition"].tolist()
        np.testing.assert_allclose(rows["score"], alone["score"], atol=1e-5)
        np.testing.assert_allclose(rows["percentile"], alone["percentile"], atol=1e-3)

    whole = model.diagnose(ecg, asked).set_index("condition")
    for condition, rows in table.groupby("condition"):
        best = rows.loc[rows["score"].idxmax()]
        assert whole["peak"][condition] == pytest.approx(best["score"])
        assert whole["peak_at"][condition] == best["start"]
    assert "peak" not in model.diagnose(make_ecg(), asked)


def test_an_ecg_that_was_read_in_part_is_warned_of(model, make_ecg, write_record, tmp_path):
    file = write_record(tmp_path, make_ecg(seconds=40, sampling_rate=100))
    with pytest.warns(DBetaWarning, match=r"40\.0 s long, only the first 20 s are used"):
        model.embed(read_ecg(file, duration=20))
