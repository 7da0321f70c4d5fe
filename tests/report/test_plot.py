import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pandas as pd
import pytest

from dbeta.ecg import ECG, LEADS
from dbeta.errors import DBetaError
from dbeta.report.plot import MM_PER_MV, MM_PER_S, plot_ecg, save_plot

BASELINES = (153.0, 113.0, 73.0, 38.0)  # mm from the bottom of the sheet
TRACE_LEFT = 31.0


def square_ecg(seconds=10.0, rate=500, amplitude=1.0, leads=LEADS):
    """A 1 Hz pulse of 100 ms in every lead, on an offset that the plot must remove."""
    pulse = amplitude * (np.arange(int(seconds * rate)) % rate >= 0.9 * rate) + 0.7
    return ECG(np.tile(pulse, (len(leads), 1)), rate, leads)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def traces(figure):
    """The traces in drawing order, as (x, y) in mm."""
    return [line.get_data() for line in figure.axes[0].lines if str(line.get_gid()).startswith("row-")]


def findings(n=3):
    return pd.DataFrame(
        {
            "record": "r",
            "condition": [f"condition {i}" for i in range(n)],
            "score": np.linspace(0, 1, n),
            "percentile": np.linspace(0, 100, n),
        }
    )


def without_texts(figure):
    """The figure, of which only paper and traces are drawn."""
    for text in figure.axes[0].texts:
        text.set_visible(False)
    return figure


def image(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def test_sheet_is_a4_and_wider_with_findings():
    assert plot_ecg(square_ecg()).get_size_inches() * 25.4 == pytest.approx([297, 210])
    assert plot_ecg(square_ecg(), findings()).get_size_inches() * 25.4 == pytest.approx([375, 210])
    assert plot_ecg(square_ecg(), findings(0)).get_size_inches() * 25.4 == pytest.approx([297, 210])


def test_axes_are_in_millimetres_of_the_sheet():
    axes = plot_ecg(square_ecg(), findings()).axes[0]
    assert axes.get_position().bounds == (0, 0, 1, 1)
    assert (*axes.get_xlim(), *axes.get_ylim()) == pytest.approx((0, 375, 0, 210))


def test_traces_are_at_scale_and_free_of_offset():
    drawn = traces(plot_ecg(square_ecg()))
    assert len(drawn) == 13
    for index, (x, y) in enumerate(drawn):
        row, column = (index // 4, index % 4) if index < 12 else (3, 0)
        left = TRACE_LEFT + column * 2.5 * MM_PER_S
        width = (10.0 if row == 3 else 2.5) * MM_PER_S
        assert x[0] == pytest.approx(left, abs=0.11)
        assert x[-1] == pytest.approx(left + width, abs=0.11)
        assert y.min() == pytest.approx(BASELINES[row], abs=1e-4)
        assert y.max() == pytest.approx(BASELINES[row] + MM_PER_MV, abs=1e-4)
    x, y = drawn[-1]
    rises = x[1:][np.diff(y) > 5]
    assert np.diff(rises) == pytest.approx(MM_PER_S)


def test_columns_follow_one_another_in_time():
    signal = np.zeros((12, 5000))
    signal[:, 1500:1550] = 1.0  # 3.0 s: in the second column only
    drawn = traces(plot_ecg(ECG(signal, 500)))
    seen = [bool(np.ptp(y) > 5) for _, y in drawn]
    assert seen == [False, True, False, False] * 3 + [True]


def test_labels_footer_and_title():
    words = texts(plot_ecg(square_ecg(), title="rec $1$"))
    assert " ".join(w for w in words if w in LEADS) == "I aVR V1 V4 II aVL V2 V5 III aVF V3 V6 II"
    assert "rec $1$" in words
    assert "25 mm/s   10 mm/mV   500 Hz" in words
    assert "Research use only. Not a medical device." in words


def test_title_from_meta():
    ecg = square_ecg()
    ecg.meta["source"] = "exams.hdf5"
    assert "exams.hdf5" in texts(plot_ecg(ecg))
    ecg.meta["record"] = "00001_hr"
    assert "00001_hr" in texts(plot_ecg(ecg))
    assert "other" in texts(plot_ecg(ecg, title="other"))
    assert "x" * 79 + "…" in texts(plot_ecg(ecg, title="x" * 200))


def test_a_dollar_sign_is_text():
    figure = plot_ecg(square_ecg(), findings().assign(condition=r"$\frac{"), title=r"$\bad{")
    image(figure)  # drawing is where a formula would be parsed
    assert {r"$\frac{", r"$\bad{"} <= set(texts(figure))


def test_missing_and_empty_leads_are_marked():
    ecg = square_ecg()
    ecg.signal[[1, 6]] = np.nan  # II and V1
    figure = plot_ecg(ecg)
    assert texts(figure).count("not recorded") == 2
    drawn = [line.get_gid() for line in figure.axes[0].lines if str(line.get_gid()).startswith("row-")]
    assert len(drawn) == 11
    assert drawn[-1] == "row-4-I"  # the rhythm strip, for want of II and V1


@pytest.mark.parametrize("leads", [("I",), ("V5", "I"), ("I", "II", "III", "aVR", "aVL", "aVF", "V1")])
def test_few_leads_have_ten_seconds_each_and_there_is_no_empty_row(leads):
    figure = plot_ecg(square_ecg(leads=leads).standard() if len(leads) < 3 else square_ecg(leads=leads))
    drawn = traces(figure)
    assert len(drawn) == len(leads)
    for x, y in drawn:
        assert x[0] == pytest.approx(TRACE_LEFT, abs=0.11)
        assert x[-1] == pytest.approx(TRACE_LEFT + 10 * MM_PER_S, abs=0.11)
        assert y.min() % 5 == pytest.approx(3, abs=1e-4)  # baselines are on bold grid lines, which begin at 18 mm
        assert np.ptp(y) == pytest.approx(MM_PER_MV)
    words = texts(figure)
    assert [word for word in words if word in LEADS] == sorted(leads, key=LEADS.index)
    assert f"not recorded: {', '.join(lead for lead in LEADS if lead not in leads)}" in words
    pulses = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 6]
    assert len(pulses) == len(leads)


def test_a_single_lead_goes_on_to_30_seconds():
    figure = plot_ecg(square_ecg(45.0, leads=("I",)))
    assert len(traces(figure)) == 3
    assert [line.get_gid() for line in figure.axes[0].lines if line.get_gid()] == ["row-1-I", "row-2-I", "row-3-I"]
    assert {"10 s", "20 s"} <= set(texts(figure))
    assert any("first 30 s of 45.0 s" in text for text in texts(figure))
    assert len(traces(plot_ecg(square_ecg(12.0, leads=("I",))))) == 2
    assert len(traces(plot_ecg(square_ecg(12.0, leads=("I", "V1"))))) == 2


def test_the_rows_of_a_single_lead_follow_one_another_in_time():
    signal = np.zeros((1, 15_000))
    signal[0, 6500:6550] = 1.0  # 13.0 s
    drawn = traces(plot_ecg(ECG(signal, 500, ("I",))))
    assert [bool(np.ptp(y) > 5) for _, y in drawn] == [False, True, False]
    x, y = drawn[1]
    assert x[np.argmax(y)] == pytest.approx(TRACE_LEFT + 3 * MM_PER_S, abs=0.1)


def test_of_a_short_recording_every_lead_is_drawn_from_the_start():
    figure = plot_ecg(square_ecg(3.0))
    for index, (x, _) in enumerate(traces(figure)[:12]):
        left = TRACE_LEFT + index % 4 * 2.5 * MM_PER_S
        assert (x[0], x[-1]) == pytest.approx((left, left + 2.5 * MM_PER_S), abs=0.11)
    assert any("every lead from the start" in text for text in texts(figure))
    assert not any("from the start" in text for text in texts(plot_ecg(square_ecg(9.5))))


def test_flat_lead_is_drawn_as_a_line():
    ecg = square_ecg()
    ecg.signal[0] = 0.3
    _, y = traces(plot_ecg(ecg))[0]
    assert np.unique(y) == pytest.approx([BASELINES[0]])


def test_missing_samples_leave_a_gap_and_the_recording_is_untouched():
    ecg = square_ecg()
    ecg.signal[1, 100:200] = np.nan
    ecg.signal[1, 200:210] = np.inf
    before = ecg.signal.copy()
    _, y = traces(plot_ecg(ecg))[4]
    assert np.isnan(y[100:210]).all()
    assert np.isfinite(y[:100]).all()
    np.testing.assert_array_equal(ecg.signal, before)


def test_short_recording_leaves_the_rest_blank():
    figure = plot_ecg(square_ecg(3.0))
    assert traces(figure)[-1][0].max() == pytest.approx(TRACE_LEFT + 3 * MM_PER_S, abs=0.1)
    assert any("recording ends at 3.0 s" in text for text in texts(figure))
    image(figure)


def test_long_recording_shows_the_first_ten_seconds():
    figure = plot_ecg(square_ecg(60.0))
    assert traces(figure)[-1][0].max() == pytest.approx(TRACE_LEFT + 10 * MM_PER_S, abs=0.1)
    assert any("first 10 s of 60.0 s" in text for text in texts(figure))


@pytest.mark.parametrize("rate", [1, 100, 360, 1000])
def test_other_sampling_rates(rate):
    figure = plot_ecg(square_ecg(rate=rate))
    assert any(f"{rate} Hz" in text for text in texts(figure))
    image(figure)


@pytest.mark.parametrize("amplitude", [32.767, 1e30])
def test_huge_amplitude_stays_off_the_next_traces_and_is_marked(amplitude):
    ecg = square_ecg(amplitude=0.0)
    plain = image(without_texts(plot_ecg(ecg)))
    ecg.signal[7] += amplitude * np.sign(np.sin(np.arange(5000)))  # V2: second row, third column
    figure = plot_ecg(ecg)
    assert sum("off scale" in text for text in texts(figure)) == 1
    per_mm = 5  # the figure's own resolution: pixels per mm
    changed = np.argwhere((image(without_texts(figure)) != plain).any(axis=-1))
    top, bottom = (210 - changed[:, 0].min() / per_mm), (210 - changed[:, 0].max() / per_mm)
    assert BASELINES[2] + 4 < bottom < top < BASELINES[0] - 4
    left, right = changed[:, 1].min() / per_mm, changed[:, 1].max() / per_mm
    assert left > TRACE_LEFT + 125 - 1
    assert right < TRACE_LEFT + 187.5 + 1


def test_findings_are_listed_in_the_order_given_as_many_as_fit():
    table = findings(30).sample(frac=1, random_state=0)
    shown = [w for w in texts(plot_ecg(square_ecg(), table)) if w.startswith("condition ")]
    assert shown == table["condition"].head(12).tolist()


def test_a_missing_percentile_is_a_dash():
    table = findings(3).assign(percentile=[50.0, np.nan, 90.0])
    words = texts(plot_ecg(square_ecg(), table))
    assert {"50", "–", "90"} <= set(words)


def test_findings_lacking_a_column():
    with pytest.raises(DBetaError, match="percentile missing"):
        plot_ecg(square_ecg(), findings().drop(columns="percentile"))


def test_png_has_ten_pixels_per_mm_and_bold_grid_lines_on_them(tmp_path):
    from matplotlib.image import imread

    path = tmp_path / "a.png"
    with matplotlib.rc_context({"savefig.bbox": "tight", "savefig.dpi": 50}):
        save_plot(plot_ecg(square_ecg()), path)
    pixels = imread(path)
    assert pixels.shape[:2] == (2100, 2970)
    line = pixels[2100 - 205, :, 1]  # between two rows of the grid, 20.5 mm up: green is low on grid lines
    bold = [line[10 * x - 1 : 10 * x + 1].min() for x in range(21, 281, 5)]
    blank = [line[10 * x + 5] for x in range(21, 280)]
    assert max(bold) < 0.8 < min(blank)


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")]
)
def test_save_by_suffix_leaves_nothing_else(tmp_path, suffix, magic):
    path = tmp_path / f"plot{suffix}"
    path.write_bytes(b"old")
    save_plot(plot_ecg(square_ecg(1.0)), path)
    assert path.read_bytes().startswith(magic)
    assert list(tmp_path.iterdir()) == [path]


def test_save_refuses_an_unknown_suffix_or_a_missing_folder(tmp_path):
    figure = plot_ecg(square_ecg(1.0))
    with pytest.raises(DBetaError, match=r"\.png, \.pdf, \.svg"):
        save_plot(figure, tmp_path / "plot.bmp")
    with pytest.raises(DBetaError, match="does not exist"):
        save_plot(figure, tmp_path / "missing" / "plot.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DBetaError, match="cannot be written"):
        save_plot(figure, tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_threads_draw_the_same_picture():
    ecg = square_ecg()
    expected = image(plot_ecg(ecg))
    with ThreadPoolExecutor(2) as pool:
        for drawn in pool.map(lambda _: image(plot_ecg(ecg)), range(4)):
            np.testing.assert_array_equal(drawn, expected)


def test_import_is_light_and_drawing_leaves_pyplot_alone():
    program = (
        "import sys, numpy as np, dbeta\n"
        "from dbeta.ecg import ECG\n"
        "before = set(sys.modules)\n"
        "import dbeta.report.plot\n"
        "light = 'matplotlib' not in set(sys.modules) - before\n"
        "dbeta.report.plot.plot_ecg(ECG(np.zeros((12, 100)), 100))\n"
        "print(light, 'matplotlib.pyplot' not in set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]


# --- Texts keep clear of each other and of the traces


def beats(leads=LEADS, seconds=10.0, rate=500, amplitude=1.5, seed=0):
    """QRS-like spikes and T waves of an amplitude that differs by lead, with little noise."""
    time = np.arange(round(seconds * rate)) / rate
    phase = time % 0.8
    wave = np.exp(-(((phase - 0.2) / 0.012) ** 2)) + 0.25 * np.exp(-(((phase - 0.45) / 0.05) ** 2))
    sizes = (
        amplitude
        * np.linspace(0.4, 1.0, len(leads))[:, None]
        * np.where(np.arange(len(leads)) % 3 == 2, -1, 1)[:, None]
    )
    noise = 0.005 * np.random.default_rng(seed).standard_normal((len(leads), len(time)))
    return ECG(sizes * wave + noise, rate, leads)


def troubled(ecg):
    """The recording with wander, hum, a flat lead, gaps and steps in some leads."""
    time = np.arange(ecg.signal.shape[1]) / ecg.sampling_rate
    wander, hum = np.sin(2 * np.pi * 0.2 * time), 0.3 * np.sin(2 * np.pi * 50 * time)
    ecg.signal[0] += wander + hum
    ecg.signal[-1, len(time) // 5 : len(time) * 9 // 10] = np.nan
    if len(ecg.leads) == 12:
        ecg.signal[3] += 0.3 * wander + 0.1 * np.random.default_rng(1).standard_normal(len(time))
        ecg.signal[4] = 0.2
        ecg.signal[7] *= 4
        ecg.signal[10] = np.nan
    return ecg


def boxes(figure):
    """The extent of each text in mm, as (text, left, bottom, right, top)."""
    renderer = figure.canvas.get_renderer()
    per_mm = figure.dpi / 25.4
    shown = [text for text in figure.axes[0].texts if text.get_text()]
    extents = [text.get_window_extent(renderer) for text in shown]
    return [
        (text.get_text(), box.x0 / per_mm, box.y0 / per_mm, box.x1 / per_mm, box.y1 / per_mm)
        for text, box in zip(shown, extents, strict=True)
    ]


def overlapping(found):
    """The pairs of texts that overlap."""
    return [
        (one[0], other[0])
        for i, one in enumerate(found)
        for other in found[:i]
        if one[1] < other[3] and other[1] < one[3] and one[2] < other[4] and other[2] < one[4]
    ]


def crossed(figure, found):
    """The texts that a trace crosses, as far as it is drawn."""
    through = []
    for line in figure.axes[0].lines:
        if not str(line.get_gid()).startswith("row-"):
            continue
        x, y = line.get_data()
        clip = line.get_clip_box().bounds
        per_mm = figure.dpi / 25.4
        left, floor = clip[0] / per_mm, clip[1] / per_mm
        right, ceiling = left + clip[2] / per_mm, floor + clip[3] / per_mm
        # Points between the samples too, as steep lines join them
        fine = np.linspace(x[0], x[-1], 20 * len(x))
        height = np.interp(fine, x, y)
        drawn = (fine >= left) & (fine <= right) & (height >= floor) & (height <= ceiling)
        for text, x0, y0, x1, y1 in found:
            inside = (fine > x0) & (fine < x1) & (height > y0) & (height < y1)
            if (inside & drawn).any():
                through.append((text, line.get_gid()))
    return through


@pytest.mark.parametrize("trouble", [False, True], ids=["clean", "troubled"])
@pytest.mark.parametrize(
    ("leads", "seconds", "amplitude"),
    [
        (LEADS, 10.0, 1.5),
        (LEADS, 10.0, 3.0),
        (LEADS, 4.0, 1.5),
        (LEADS, 60.0, 1.5),
        (("I",), 10.0, 2.0),
        (("II",), 30.0, 2.0),
        (("I", "II", "V2"), 10.0, 1.5),
        (("V1", "V2", "V5"), 3.0, 3.0),
        (("I", "II", "III", "aVR", "aVL", "aVF", "V1"), 10.0, 1.5),
    ],
)
def test_texts_keep_clear_of_each_other_and_of_the_traces(leads, seconds, amplitude, trouble):
    ecg = beats(leads, seconds, amplitude=amplitude)
    if trouble:
        ecg = troubled(ecg)
    names = [f"condition with a rather long name that takes two lines, number {i}" for i in range(12)]
    figure = plot_ecg(ecg, findings(12).assign(condition=names), title="a long name of a recording " * 5)
    found = boxes(figure)
    if trouble:
        assert any(text.startswith(("fair", "unusable")) for text, *_ in found)
    assert overlapping(found) == []
    assert crossed(figure, found) == []
    width, height = figure.get_size_inches() * 25.4
    assert all(x0 > 0 and x1 < width and y0 > 0 and y1 < height for _, x0, y0, x1, y1 in found)


def test_in_noise_that_fills_the_rows_texts_stand_on_paper_and_apart():
    ecg = ECG(2.0 * np.random.default_rng(0).standard_normal((12, 5000)), 500)
    figure = plot_ecg(ecg, title="noise")
    found = boxes(figure)
    assert overlapping(found) == []
    over = {text for text, _ in crossed(figure, found)}
    patched = {text.get_text() for text in figure.axes[0].texts if text.get_bbox_patch() is not None}
    assert over
    assert over <= patched


def test_a_title_wider_than_the_sheet_is_cut():
    (title,) = [box for box in boxes(plot_ecg(square_ecg(), title="W" * 80)) if box[0].startswith("W")]
    assert title[0].endswith("…")
    assert title[3] <= 281


def test_reconstructed_samples_have_a_colour_of_their_own(make_ecg):
    ecg = make_ecg()
    mask = np.zeros(ecg.signal.shape, bool)
    mask[6, 2600:3000] = True  # V1 is drawn from 5 to 7.5 s
    drawn = plot_ecg(ECG(ecg.signal, 500, meta={"reconstructed": mask}))
    lines = {line.get_gid(): line for line in drawn.axes[0].lines if line.get_gid()}
    assert [name for name in lines if name.endswith("-reconstructed")] == ["row-1-V1-reconstructed"]
    over, trace = lines["row-1-V1-reconstructed"], lines["row-1-V1"]
    shown = np.isfinite(over.get_ydata())
    assert shown.sum() == 400 and over.get_color() != trace.get_color()
    assert (over.get_ydata()[shown] == trace.get_ydata()[shown]).all()
    assert any("not measured" in text.get_text() for text in drawn.axes[0].texts)
    assert not any("not measured" in text.get_text() for text in plot_ecg(ecg).axes[0].texts)
