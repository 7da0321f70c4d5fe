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
    ecg = square_ecg(leads=("I", "V1", "II"))
    ecg.signal[1] = np.nan
    figure = plot_ecg(ecg)
    assert texts(figure).count("not recorded") == 10
    assert len(traces(figure)) == 3  # I, II and the rhythm strip


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
    plain = image(plot_ecg(ecg))
    ecg.signal[7] += amplitude * np.sign(np.sin(np.arange(5000)))  # V2: second row, third column
    figure = plot_ecg(ecg)
    assert texts(figure).count("off scale") == 1
    per_mm = 5  # the figure's own resolution: pixels per mm
    changed = (image(figure) != plain).any(axis=-1)
    changed[: 22 * per_mm] = False  # the title says no more that all leads are flat
    changed = np.argwhere(changed)
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
