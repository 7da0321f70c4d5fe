"""WFDB in all its kinds: storage formats, several samples per frame, segments, skew, cut files, odd headers."""

import warnings

import numpy as np
import pytest

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import find_ecgs, read_ecg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wfdb

GAIN = 400  # counts per mV, so that the waves of the test ECG fit into 10 bits


def packed(counts, form):
    """A stream of counts in a storage format, written as WFDB signal(5) describes it."""
    plain = {"16": "<i2", "61": ">i2", "32": "<i4"}
    if form in plain:
        return counts.astype(plain[form]).tobytes()
    if form in ("80", "160"):
        return (counts + {"80": 128, "160": 32768}[form]).astype({"80": "u1", "160": "<u2"}[form]).tobytes()
    if form == "24":
        return counts.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    per_block, bits = (2, 12) if form == "212" else (3, 10)
    blocks = np.resize(counts, (-(-len(counts) // per_block), per_block)) & ((1 << bits) - 1)
    if form == "212":
        a, b = blocks.T
        return np.stack([a & 255, a >> 8 | (b >> 8) << 4, b & 255], axis=1).astype("u1").tobytes()
    a, b, c = blocks.T
    words = a | b << 10 | c << 20
    if form == "310":
        words = (a << 1 | (c & 31) << 11) | (b << 1 | c >> 5 << 11) << 16
    return words.astype("<u4").tobytes()


def write(
    folder, counts, form="16", per_frame=1, name="rec", rate=500, first=None, gain=f"{GAIN}/mV", leads=LEADS, skew=0
):
    """A record from (leads, samples) counts, with so many samples per frame (of each lead, if a list)."""
    sizes = per_frame if isinstance(per_frame, list) else [per_frame] * len(counts)
    frames = len(counts[0]) // sizes[0]
    stream = np.concatenate(
        [np.reshape(row[: frames * size], (frames, size)) for row, size in zip(counts, sizes, strict=True)], axis=1
    )
    (folder / f"{name}.dat").write_bytes(packed(stream.ravel().astype(np.int64), form))
    lines = [first or f"{name} {len(counts)} {rate} {frames}"]
    for lead, size in zip(leads, sizes, strict=True):
        lines.append(f"{name}.dat {form}{f'x{size}' * (size > 1)}{f':{skew}' * bool(skew)} {gain} 16 0 0 0 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / f"{name}.hea"


def counts_of(ecg, gain=GAIN):
    return np.round(ecg.signal * gain).astype(np.int64)


def silent(path, **options):
    """A recording that is read without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_ecg(path, **options)


def noted(path, **options):
    """A recording and what was noted on reading it; each note is a warning as well."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = read_ecg(path, **options)
    said = [str(one.message).partition(": ")[2] for one in caught]
    assert set(read.meta["notes"]) <= set(said)
    return read, read.meta["notes"]


def in_wfdb(path):
    """(channels, samples) as wfdb reads it, all samples of each frame."""
    body = wfdb.rdrecord(str(path.with_suffix("")), smooth_frames=False)
    return body.e_p_signal


@pytest.mark.parametrize("per_frame", [1, 2])
@pytest.mark.parametrize("form", ["16", "24", "32", "61", "160", "212", "310", "311"])
def test_formats(tmp_path, make_ecg, form, per_frame):
    ecg = make_ecg(seconds=3)
    counts = np.clip(counts_of(ecg), -511, 511)
    counts[4, 700] = {"16": -(2**15), "61": -(2**15), "160": -(2**15), "24": -(2**23), "32": -(2**31)}.get(
        form, -2048 if form == "212" else -512
    )
    path = write(tmp_path, counts, form, per_frame, rate=500 / per_frame)
    read = silent(path)
    expected = counts / GAIN
    expected[4, 700] = np.nan
    np.testing.assert_allclose(read.signal, expected, atol=1e-6)
    if form != "311":  # whose third sample wfdb decodes wrongly
        np.testing.assert_allclose(read.signal, in_wfdb(path), atol=1e-6)
    # Packed samples of a stretch may begin within a block
    for start in (0.002, 0.5, 1.006, 2.998):
        begin = round(start * 500)
        part = read_ecg(path, start=start, duration=0.3)
        np.testing.assert_array_equal(part.signal, read.signal[:, begin : begin + 150])


def test_format_80(tmp_path, make_ecg):
    counts = np.clip(counts_of(make_ecg(seconds=3), 80), -127, 127)
    path = write(tmp_path, counts, "80", gain="80/mV")
    np.testing.assert_allclose(silent(path).signal, counts / 80, atol=1e-6)
    np.testing.assert_allclose(silent(path).signal, in_wfdb(path), atol=1e-6)


def test_format_8_from_any_place(tmp_path, make_ecg):
    counts = counts_of(make_ecg(seconds=3), 200)
    differences = np.diff(counts, axis=1, prepend=counts[:, :1] - 3)
    assert np.abs(differences).max() < 128
    (tmp_path / "rec.dat").write_bytes(differences.T.astype("i1").tobytes())
    lines = [f"rec.dat 8 200/mV 12 0 {row[0] - 3} 0 0 {lead}" for row, lead in zip(counts, LEADS, strict=True)]
    (tmp_path / "rec.hea").write_text("\n".join(["rec 12 500 1500", *lines]))
    path = tmp_path / "rec.hea"
    np.testing.assert_allclose(silent(path).signal, counts / 200, atol=1e-6)
    np.testing.assert_allclose(silent(path).signal, in_wfdb(path), atol=1e-6)
    np.testing.assert_allclose(read_ecg(path, start=1).signal, counts[:, 500:] / 200, atol=1e-6)


@pytest.mark.parametrize(("form", "bits"), [("508", 8), ("516", 16), ("524", 24)])
@pytest.mark.parametrize("per_frame", [1, 2])
def test_flac(tmp_path, make_ecg, form, bits, per_frame):
    import soundfile

    gain = 60 if bits == 8 else GAIN
    counts = counts_of(make_ecg(seconds=3, leads=LEADS[:8]), gain)  # FLAC has 8 channels at most
    shifted = (counts.T << (32 - bits)).astype(np.int32)
    subtype = {8: "PCM_S8", 16: "PCM_16", 24: "PCM_24"}[bits]
    soundfile.write(tmp_path / "a.flac", shifted, 500, subtype=subtype, format="FLAC")
    (tmp_path / "a.flac").rename(tmp_path / "a.dat")
    lines = [f"a.dat {form}{'x2' * (per_frame == 2)} {gain}/mV {bits} 0 0 0 0 {lead}" for lead in LEADS[:8]]
    (tmp_path / "a.hea").write_text("\n".join([f"a 8 {500 / per_frame} {1500 // per_frame}", *lines]))
    read = silent(tmp_path / "a.hea")
    np.testing.assert_allclose(read.signal[:8], counts / gain, atol=1e-6)
    np.testing.assert_allclose(read.signal[:8], in_wfdb(tmp_path / "a.hea"), atol=1e-6)
    part = read_ecg(tmp_path / "a.hea", start=1.202, duration=1)
    np.testing.assert_array_equal(part.signal, read.signal[:, 601:1101])
    (tmp_path / "a.dat").write_bytes(b"RIFF" + bytes(500))
    with pytest.raises(DBetaError, match=r"cannot be read as FLAC \(a.dat is not FLAC\)"):
        read_ecg(tmp_path / "a.hea")


def test_an_unknown_format(tmp_path, make_ecg):
    path = write(tmp_path, counts_of(make_ecg(seconds=2)))
    path.write_text(path.read_text().replace(".dat 16 ", ".dat 17 "))
    with pytest.raises(DBetaError, match=r"stores rec.dat in format 17, but a file has one of the formats 8, 16, 24"):
        read_ecg(path)


@pytest.mark.parametrize("per_frame", [2, 4, 8])
def test_several_samples_per_frame_keep_their_peaks(tmp_path, make_ecg, per_frame):
    counts = counts_of(make_ecg())
    path = write(tmp_path, counts, per_frame=per_frame, rate=500 / per_frame)
    read = silent(path)
    assert (read.sampling_rate, read.duration) == (500, 10)
    np.testing.assert_allclose(read.signal, counts / GAIN, atol=1e-6)
    part = read_ecg(path, start=3.334, duration=2.5)  # amid a frame
    np.testing.assert_array_equal(part.signal, read.signal[:, 1667:2917])
    assert part.meta["duration"] == 10


@pytest.mark.parametrize("sizes", [[4] * 2 + [2] * 10, [4] * 6 + [1] + [4] * 5, [2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]])
def test_each_signal_has_its_own_rate(tmp_path, make_ecg, sizes):
    rate, fast = 125, max(sizes)
    ecgs = {size: make_ecg(sampling_rate=rate * size) for size in set(sizes)}
    counts = [counts_of(ecgs[size])[row] for row, size in enumerate(sizes)]
    path = write(tmp_path, counts, per_frame=sizes, rate=rate)
    read, notes = noted(path)
    assert (read.sampling_rate, read.duration) == (rate * fast, 10)
    assert notes[0].startswith("its leads have different sampling rates; ")
    assert read.meta["resampled_leads"] == {
        lead: rate * size for lead, size in zip(LEADS, sizes, strict=True) if size < fast
    }
    own = in_wfdb(path)
    for row, size in enumerate(sizes):
        times = np.arange(0, 10 * rate * fast, fast // np.gcd(fast, size))
        there = own[row][:: size // np.gcd(fast, size)]
        np.testing.assert_allclose(read.signal[row][times], there, atol=1e-6 if size == fast else 0.15)
    part = read_ecg(path, start=4.004, duration=3)
    begin = round(4.004 * rate * fast)
    np.testing.assert_allclose(part.signal, read.signal[:, begin : begin + 3 * rate * fast], atol=2e-5)


def test_a_slow_channel_that_is_no_lead_changes_nothing(tmp_path, make_ecg):
    counts = [*counts_of(make_ecg()), np.arange(1250)]
    read = silent(write(tmp_path, counts, per_frame=[4] * 12 + [1], rate=125, leads=[*LEADS, "ABP"]))
    np.testing.assert_allclose(read.signal, np.stack(counts[:12]) / GAIN, atol=1e-6)
    assert read.meta["other_channels"] == ["ABP"]


def test_skew(tmp_path, make_ecg):
    counts = counts_of(make_ecg(seconds=4))
    path = write(tmp_path, counts)
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(".dat 16 ", ".dat 16:5 ")
    path.write_text("\n".join(lines))
    read = read_ecg(path)
    np.testing.assert_allclose(read["II"], counts[1] / GAIN, atol=1e-6)
    np.testing.assert_allclose(read["III"][:-5], counts[2, 5:] / GAIN, atol=1e-6)
    assert np.isnan(read["III"][-5:]).all()
    np.testing.assert_allclose(read.signal, in_wfdb(path), atol=1e-6)
    np.testing.assert_array_equal(read_ecg(path, start=2, duration=1).signal, read.signal[:, 1000:1500])


def test_one_of_two_signal_files_is_cut_short(tmp_path, make_ecg):
    counts = counts_of(make_ecg())
    one = write(tmp_path, counts[:6], name="a", leads=LEADS[:6]).read_text().splitlines()
    two = write(tmp_path, counts[6:], name="b", leads=LEADS[6:]).read_text().splitlines()
    (tmp_path / "b.hea").unlink()
    (tmp_path / "a.hea").write_text("\n".join(["a 12 500 5000", *one[1:], *two[1:]]))
    (tmp_path / "b.dat").write_bytes((tmp_path / "b.dat").read_bytes()[: 6 * 2 * 3000])
    read, notes = noted(tmp_path / "a.hea")
    assert notes == ["lead V1, V2, V3, V4, V5, V6 is cut short and missing (NaN) from there on"]
    np.testing.assert_allclose(read.signal[:6], counts[:6] / GAIN, atol=1e-6)
    np.testing.assert_allclose(read.signal[6:, :3000], counts[6:, :3000] / GAIN, atol=1e-6)
    assert np.isnan(read.signal[6:, 3000:]).all()


# --- headers


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("unit", ["µV", "uV"])
def test_microvolts(tmp_path, make_ecg, unit, encoding):
    counts = counts_of(make_ecg(seconds=2), 1000)
    path = write(tmp_path, counts, gain=f"1/{unit}")
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    np.testing.assert_allclose(silent(path).signal, counts / 1000, atol=1e-6)


@pytest.mark.parametrize("unit", ["?V", "\ufffdV", "uVolt", "NU"])
def test_a_unit_that_is_not_understood(tmp_path, make_ecg, unit):
    counts = counts_of(make_ecg(seconds=2), 1000)
    path = write(tmp_path, counts, gain=f"1/{unit}")
    with pytest.raises(DBetaError, match="state the unit with --units, as uV or mV"):
        read_ecg(path)
    np.testing.assert_allclose(silent(path, units="uV").signal, counts / 1000, atol=1e-6)


def test_a_unit_that_is_overruled(tmp_path, make_ecg):
    counts = counts_of(make_ecg(seconds=2), 1000)
    read, notes = noted(write(tmp_path, counts, gain="1/V"), units="uV")
    assert notes == ["states its unit as V, but is read in uV as --units says"]
    np.testing.assert_allclose(read.signal, counts / 1000, atol=1e-6)


def test_a_gain_that_cannot_be_read(tmp_path, make_ecg):
    counts = counts_of(make_ecg(seconds=2))
    path = write(tmp_path, counts, gain="4..0(x)/mV")
    with pytest.raises(DBetaError, match=r"has the gain '4..0\(x\)/mV'.* with --raw-gain, as uV"):
        read_ecg(path)
    np.testing.assert_allclose(silent(path, raw_gain=f"{GAIN}/mV").signal, counts / GAIN, atol=1e-6)


def normalised(folder, ecg):
    """A record in µV whose header scales each lead to the same amplitude, as LUDB's do."""
    counts = counts_of(ecg, 1000)
    path = write(folder, counts)
    lines = path.read_text().splitlines()
    gains = np.ptp(counts, axis=1) // 2
    for row in range(12):
        lines[1 + row] = lines[1 + row].replace(f" {GAIN}/mV ", f" {gains[row]}({row - 5})/mV ")
    path.write_text("\n".join(lines))
    return path, counts


def test_gains_that_contradict_the_limb_leads(tmp_path, make_ecg):
    path, counts = normalised(tmp_path, make_ecg())
    read, notes = noted(path)
    assert len(notes) == 1
    assert notes[0].startswith("the gains in its header contradict the limb-lead equations")
    assert notes[0].endswith("--raw-gain, as uV")
    assert read.meta["voltages"] == "undetermined"
    # Leads on scales of their own say nothing about electrodes
    assert "lead_errors" not in read.meta
    for given in ("uV", "1000/mV", "0.001"):
        right = silent(path, raw_gain=given)
        np.testing.assert_allclose(right.signal, counts / 1000, atol=1e-6)
        assert right.meta["raw_gain"] == given
        assert "voltages" not in right.meta


def test_gains_that_differ_rightly(tmp_path, make_ecg):
    ecg = make_ecg()
    path = write(tmp_path, np.stack([np.round(row * (300 + 100 * i)) for i, row in enumerate(ecg.signal)]))
    lines = path.read_text().splitlines()
    for row in range(12):
        lines[1 + row] = lines[1 + row].replace(f" {GAIN}/mV ", f" {300 + 100 * row}/mV ")
    path.write_text("\n".join(lines))
    np.testing.assert_allclose(silent(path).signal, ecg.signal, atol=2e-3)
    # Nor are exchanged leads a matter of gains
    lines[3], lines[4] = lines[3].replace(" III", " aVR"), lines[4].replace(" aVR", " III")
    path.write_text("\n".join(lines))
    with pytest.warns(DBetaWarning, match="leads III and aVR are exchanged"):
        assert "voltages" not in read_ecg(path).meta


def test_a_raw_gain_where_there_are_no_raw_numbers(tmp_path, make_ecg):
    np.save(tmp_path / "a.npy", make_ecg().signal)
    with pytest.raises(DBetaError, match="of which --raw-gain cannot be stated; leave it out, or give --units"):
        read_ecg(tmp_path / "a.npy", sampling_rate=500, leads=LEADS, raw_gain="uV")


def test_a_lead_named_twice(tmp_path, make_ecg):
    counts = counts_of(make_ecg())
    path = write(tmp_path, counts, leads=[*LEADS[:11], "V5"])
    with pytest.raises(DBetaError, match=r"has lead V5 twice, as channels 11 and 12 of 12; .* --leads, and - for one"):
        read_ecg(path)
    read = silent(path, leads=[*LEADS[:10], "-", "V5"])
    np.testing.assert_allclose(read["V5"], counts[11] / GAIN, atol=1e-6)
    assert read.meta["other_channels"] == ["V5"]
    read, notes = noted(path, leads=LEADS)
    assert notes == ["its channel 12, named V5, is read as V6 as --leads says"]
    np.testing.assert_allclose(read.signal, counts / GAIN, atol=1e-6)


# --- segments


def segmented(folder, make_ecg, variable, gap=0):
    """A record of three segments of 4, 3 and 5 s; in a variable layout the second lacks chest leads."""
    ecg = make_ecg(seconds=12 + gap)
    counts = counts_of(ecg)
    spans = [(0, 2000), (2000 + 500 * gap, 3500 + 500 * gap), (3500 + 500 * gap, 6000 + 500 * gap)]
    lines, some = [], slice(0, 6 if variable else 12)
    for number, (begin, end) in enumerate(spans):
        rows = some if number == 1 else slice(0, 12)
        write(folder, counts[rows, begin:end], name=f"s_{number}", leads=LEADS[rows])
        if number == 1 and gap:
            lines.append(f"~ {500 * gap}")
        lines.append(f"s_{number} {end - begin}")
    if variable:
        layout = [f"~ 0 {GAIN}/mV 16 0 0 0 0 {lead}" for lead in LEADS]
        (folder / "s_layout.hea").write_text("\n".join(["s_layout 12 500 0", *layout]) + "\n")
        lines.insert(0, "s_layout 0")
    (folder / "s.hea").write_text("\n".join([f"s/{len(lines)} 12 500 {len(counts[0])}", *lines]) + "\n")
    return folder / "s.hea", counts / GAIN


@pytest.mark.parametrize("variable", [True, False])
@pytest.mark.parametrize("gap", [0, 2])
def test_segments(tmp_path, make_ecg, variable, gap):
    path, expected = segmented(tmp_path, make_ecg, variable, gap)
    expected[:, 2000 : 2000 + 500 * gap] = np.nan
    if variable:
        expected[6:, 2000 + 500 * gap : 3500 + 500 * gap] = np.nan
    read = noted(path)[0] if gap else read_ecg(path)
    assert (read.leads, read.sampling_rate, read.duration) == (LEADS, 500, 12 + gap)
    np.testing.assert_allclose(read.signal, expected, atol=1e-6)
    if variable or not gap:  # wfdb knows no gaps in a fixed layout
        np.testing.assert_allclose(read.signal, wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T, atol=1e-6)
    absent = "some of its segments do not have every lead; missing (NaN) there: V1 (3 s), V2 (3 s)"
    said = ["has 1 gaps of 2 s in all, which are missing (NaN)"] * bool(gap) + [absent] * variable
    assert [note[: len(text)] for note, text in zip(read.meta.get("notes", []), said, strict=True)] == said
    assert read.meta.get("absent") == (dict.fromkeys(LEADS[6:], 3.0) if variable else None)
    if gap:
        assert read.meta["gaps"] == [[4, 6]]
    # Only what is read has to be there
    (tmp_path / "s_2.dat").unlink()
    part = read_ecg(path, start=3, duration=4)
    np.testing.assert_array_equal(part.signal, read.signal[:, 1500:3500])
    assert part.meta["duration"] == 12 + gap
    assert find_ecgs(tmp_path) == [path]


def test_segments_with_units_and_gains_of_their_own(tmp_path, make_ecg):
    path, expected = segmented(tmp_path, make_ecg, True)
    middle = (tmp_path / "s_1.hea").read_text()
    (tmp_path / "s_1.hea").write_text(middle.replace(f" {GAIN}/mV ", f" {GAIN / 1000}/uV "))
    expected[6:, 2000:3500] = np.nan
    np.testing.assert_allclose(read_ecg(path).signal, expected, atol=1e-6)
    # Signals in another order go by their names
    lines = middle.splitlines()
    swapped = [lines[0], *lines[2:0:-1], *lines[3:]]
    (tmp_path / "s_1.hea").write_text("\n".join(swapped))
    read = read_ecg(path)
    np.testing.assert_allclose(read["I"][2000:3500], expected[1, 2000:3500], atol=1e-6)


@pytest.mark.parametrize("per_frame", [2, 4])
def test_segments_with_several_samples_per_frame(tmp_path, make_ecg, per_frame):
    counts = counts_of(make_ecg())
    for number, part in enumerate((counts[:, :2000], counts[:, 2000:])):
        write(tmp_path, part, name=f"s{number}", per_frame=per_frame, rate=500 / per_frame)
    frames = [2000 // per_frame, 3000 // per_frame]
    (tmp_path / "s.hea").write_text(f"s/2 12 {500 / per_frame} {sum(frames)}\ns0 {frames[0]}\ns1 {frames[1]}\n")
    np.testing.assert_allclose(silent(tmp_path / "s.hea").signal, counts / GAIN, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("s.hea", "s_1 1500", "gone 1500", "names the segment gone, which is missing"),
        ("s.hea", "s_1 1500", "../s_1 1500", "not in its folder"),
        ("s.hea", "s_1 1500", "s 1500", "which has segments itself"),
        ("s.hea", "s/3", "s/4", "does not list the 4 segments"),
        ("s_1.hea", "s_1 12 500", "s_1 12 250", "at 250 frames per second, the others at 500"),
        ("s_1.hea", " V6", " V7", "has signals in its segment s_1 that the record does not name"),
        ("s_1.hea", "s_1.dat", "../s_1.dat", "is not a file in its folder"),
    ],
)
def test_bad_segments(tmp_path, make_ecg, name, old, new, message):
    path, _ = segmented(tmp_path, make_ecg, False)
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(DBetaError) as caught:
        read_ecg(path)
    assert message in str(caught.value)


def test_a_segment_that_is_cut_short(tmp_path, make_ecg):
    path, expected = segmented(tmp_path, make_ecg, False)
    data = tmp_path / "s_1.dat"
    data.write_bytes(data.read_bytes()[: 24 * 1000])
    read, notes = noted(path)
    assert notes == ["its segment s_1 is cut short and missing (NaN) from there on"]
    expected[:, 3000:3500] = np.nan
    np.testing.assert_allclose(read.signal, expected, atol=1e-6)


def test_a_segment_of_another_rate(tmp_path, make_ecg):
    path, expected = segmented(tmp_path, make_ecg, False)
    slow = make_ecg(seconds=12)
    write(tmp_path, counts_of(slow)[:, 2000:3500:2], name="s_1", rate=500)
    for number in (0, 2):
        begin, end = ((0, 2000), None, (3500, 5500))[number]
        write(tmp_path, counts_of(slow)[:, begin:end], name=f"s_{number}", per_frame=2, rate=250)
    path.write_text("s/3 12 250 2750\ns_0 1000\ns_1 750\ns_2 1000\n")
    (tmp_path / "s_1.hea").write_text((tmp_path / "s_1.hea").read_text().replace("s_1 12 500", "s_1 12 250"))
    read, notes = noted(path)
    assert notes[0].endswith("resampled to 500 Hz")
    assert read.meta["resampled_leads"] == dict.fromkeys(LEADS, 250.0)
    np.testing.assert_allclose(read.signal[:, :2000], expected[:, :2000], atol=1e-6)
    np.testing.assert_allclose(read.signal[:, 2100:3400:2], expected[:, 2100:3400:2], atol=0.03)


def test_frames_that_master_and_segment_count_differently(tmp_path, make_ecg):
    path, expected = segmented(tmp_path, make_ecg, False)
    text = path.read_text()
    path.write_text(text.replace("s_1 1500", "s_1 1000"))
    read, notes = noted(path)
    assert "its segment s_1 holds 1500 frames, of which its header names 1000; the rest is left out" in notes
    assert "its header promises 6000 samples, its segments 5500" in notes
    np.testing.assert_allclose(read.signal, np.delete(expected, np.s_[3000:3500], axis=1), atol=1e-6)
    path.write_text(text.replace("12 500 6000", "12 500 9999"))
    assert noted(path)[1] == ["its header promises 9999 samples, its segments 6000"]


def test_gains_of_segments_that_contradict_the_limb_leads(tmp_path, make_ecg):
    path, counts = normalised(tmp_path, make_ecg())
    (tmp_path / "m.hea").write_text(f"m/1 12 500 5000\n{path.stem} 5000\n")
    read, notes = noted(tmp_path / "m.hea")
    assert notes[0].startswith("the gains in its header contradict the limb-lead equations")
    assert read.meta["voltages"] == "undetermined"
    np.testing.assert_allclose(silent(tmp_path / "m.hea", raw_gain="uV").signal, counts / 1000, atol=1e-6)


# --- folders


def test_a_signal_file_under_another_name_than_its_header(tmp_path, make_ecg):
    counts = counts_of(make_ecg(seconds=2))
    path = write(tmp_path, counts)
    (tmp_path / "rec.dat").rename(tmp_path / "rec_e.dat")
    path.write_text(path.read_text().replace("rec.dat", "rec_e.dat"))
    assert find_ecgs(tmp_path) == [path]
    np.testing.assert_allclose(silent(tmp_path / "rec_e.dat").signal, counts / GAIN, atol=1e-6)
    # A signal file that no header names is still listed, as reading it says what it lacks
    (tmp_path / "lone.dat").write_bytes(b"\0" * 100)
    assert find_ecgs(tmp_path) == [tmp_path / "lone.dat", path]


# --- real files


@pytest.mark.shared
def test_the_faulty_files(shared):
    faults = shared / "faults"
    read = silent(faults / "frames.hea")
    assert (read.sampling_rate, read.duration) == (500, 10)
    np.testing.assert_allclose(read.signal, in_wfdb(faults / "frames.hea"), atol=1e-6)
    for name, gain in (("badtime", 1000), ("dateonly", 1000), ("uvgain2", 1000)):
        counts = np.fromfile(faults / f"{name}.dat", "<i2").reshape(-1, 12).T
        np.testing.assert_allclose(silent(faults / f"{name}.hea").signal, counts / gain, atol=1e-6)
    counts = np.fromfile(faults / "E07835.mat", "<i2", offset=24).reshape(-1, 12).T
    np.testing.assert_allclose(silent(faults / "E07835.hea").signal, counts / 1000, atol=1e-6)
    counts = np.fromfile(faults / "dup.dat", "<i2").reshape(-1, 12).T
    with pytest.raises(DBetaError, match="has lead V5 twice"):
        read_ecg(faults / "dup.hea")
    np.testing.assert_allclose(noted(faults / "dup.hea", leads=LEADS)[0].signal, counts / 1000, atol=1e-6)


@pytest.mark.shared
def test_ludb_has_gains_that_mean_nothing(shared):
    for number in range(1, 101, 9):
        path = shared / "ludb" / "data" / f"{number}.hea"
        read, _ = noted(path)
        assert read.meta["voltages"] == "undetermined"
        counts = np.fromfile(path.with_suffix(".dat"), "<i2").reshape(-1, 12).T
        right = read_ecg(path, raw_gain="uV")
        np.testing.assert_allclose(right.signal, counts / 1000, atol=1e-6)
        np.testing.assert_allclose(right["III"], right["II"] - right["I"], atol=0.0031)


@pytest.mark.shared
def test_no_other_collection_has(shared):
    for path in sorted((shared / "challenge-2021").rglob("*.hea")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DBetaWarning)
            assert "voltages" not in read_ecg(path).meta
