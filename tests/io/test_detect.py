import os
import shutil
import struct
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError
from dbeta.io import detect
from dbeta.io.head import FileHead
from dbeta.io.read import find_ecgs, read_ecg, search_folder
from dbeta.io.screen import _possible_formats
from ecg_files import (
    dicom_group,
    write_aecg,
    write_dicom,
    write_edf,
    write_ishne,
    write_mfer,
    write_mortara,
    write_muse,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyedflib


def as_table(ecg):
    return pd.DataFrame({"time": np.arange(ecg.signal.shape[1]) / 500} | {lead: ecg[lead] for lead in LEADS})


def as_hdf5(path, ecg):
    with h5py.File(path, "w") as file:
        file["tracings"] = ecg.signal.T[None]


#: A writer for each format, and what the reader has to be told.
WRITERS = {
    "HL7 aECG": (write_aecg, {}),
    "GE MUSE XML": (write_muse, {}),
    "Mortara XML": (write_mortara, {}),
    "DICOM": (lambda path, ecg: write_dicom(path, [dicom_group(ecg)]), {}),
    "bare DICOM": (lambda path, ecg: write_dicom(path, [dicom_group(ecg)], preamble=False), {}),
    "EDF": (write_edf, {}),
    "BDF": (lambda path, ecg: write_edf(path, ecg, pyedflib.FILETYPE_BDF), {}),
    "ISHNE": (write_ishne, {}),
    "MFER": (write_mfer, {}),
    "MATLAB": (lambda path, ecg: savemat(path, {"ECG": {"sex": "F", "age": 1, "data": ecg.signal}}, False), {}),
    "HDF5": (as_hdf5, {"sampling_rate": 500}),
    "NumPy": (lambda path, ecg: np.save(path.open("wb"), ecg.signal), {"sampling_rate": 500, "leads": LEADS}),
    "CSV": (lambda path, ecg: as_table(ecg).to_csv(path, index=False), {}),
    "tabs": (lambda path, ecg: as_table(ecg).to_csv(path, index=False, sep="\t"), {}),
    "Parquet": (lambda path, ecg: as_table(ecg).to_parquet(path), {}),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["IM0001", "a.bin", "a.xml", "a.dcm", "a.txt", "a.hea.bak"])
def test_a_file_is_read_for_what_it_is(tmp_path, make_ecg, kind, name):
    ecg = make_ecg(seconds=4)
    write, options = WRITERS[kind]
    write(tmp_path / name, ecg)
    read = read_ecg(tmp_path / name, **options)
    np.testing.assert_allclose(read.signal, ecg.signal, atol=0.008)
    assert find_ecgs(tmp_path) == [tmp_path / name]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.scp", b"<html><body>Not found</body></html>", "is not SCP-ECG, despite its ending"),
        ("a.xml", b"<html><body>Not found</body></html>", "is not HL7 aECG, Philips XML, GE MUSE XML or Mortara XML"),
        (
            "a.xml",
            b'<?xml version="1.0"?><ECG><something/></ECG>',
            "is not HL7 aECG, Philips XML, GE MUSE XML or Mortara XML",
        ),
        ("a.dcm", b"\xff\xd8\xff\xe0" + b"picture" * 100, "is not DICOM"),
        ("a.mat", b"\x00" * 500, "is not a MATLAB file"),
        ("a.txt", b"Dear colleague, thank you\nfor sending me, your patient\n", "has an unknown format"),
        ("a.bin", bytes(range(256)) * 20, "has an unknown format"),
        ("zeros", b"\x00" * 5000, "has an unknown format"),
        ("a.xml", b"PK\x03\x04" + b"x" * 500, "is compressed; unpack it first"),
        ("a.hea.gz", b"\x1f\x8b\x08" + b"x" * 500, "is compressed; unpack it first"),
    ],
)
def test_what_is_no_recording(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DBetaError, match=message):
        read_ecg(path)
    assert find_ecgs(tmp_path) == ([path] if name in ("a.scp", "a.dcm", "a.mat", "a.xml") else [])


def test_find_ecgs_leaves_out_what_lies_beside(tmp_path, make_ecg):
    ecg = make_ecg(seconds=1)
    write_muse(tmp_path / "export", ecg)
    lies = {
        "README.md": "I,II,V1\n1,2,3\n",
        "labels.csv": "file,age,sex\na.hea,50,1\n",
        "statements.csv": "code,description\nNORM,normal\n",
        "RECORDS": "a\nb\n",
        "notes.txt": "12 leads of 10 s\nat 500 Hz\n",
        "SHA256SUMS.txt": "0123abc  a.hea\n4567def  a.dat\n",
        "config.xml": "<config><x/></config>",
        "page.html": "<html></html>",
        ".hidden": (tmp_path / "export").read_text("latin-1"),
    }
    for name, text in lies.items():
        (tmp_path / name).write_text(text)
    pd.DataFrame({"file": ["a"], "age": [50]}).to_parquet(tmp_path / "labels.parquet")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.savez(tmp_path / "some.npz", a=ecg.signal)
    disc = write_dicom(tmp_path / "DICOMDIR", [])
    disc.write_bytes(
        disc.read_bytes().replace(b"1.2.840.10008.5.1.4.1.1.9.1.2", b"1.2.840.10008.1.3.10\0\0\0\0\0\0\0\0\0")
    )
    assert find_ecgs(tmp_path) == [tmp_path / "export"]


DAMAGED = {
    **{f"empty{suffix}": b"" for suffix in (".xml", ".ecg", ".mat", ".dat", ".parquet", ".dcm")},
    **{f"junk{suffix}": b"\x01\x02\x03" * 200 for suffix in (".xml", ".ecg", ".mat", ".dat", ".parquet")},
    "cut.xml": b'<?xml version="1.0"?>\n',
    "cut.parquet": b"PAR1" + b"x" * 100,
}


def test_what_is_damaged_is_found_and_refused_when_it_is_read(tmp_path):
    for name, content in DAMAGED.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "broken.mat").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.xml").symlink_to("loop.xml")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.ecg")
    os.mkfifo(tmp_path / "pipe")
    found = find_ecgs(tmp_path)
    assert [file.name for file in found] == sorted([*DAMAGED, "broken.mat", "loop.xml", "pipe.ecg"])
    for file in found:
        with pytest.raises(DBetaError, match=file.name):
            read_ecg(file)


def test_what_may_not_be_read_is_found_and_refused_when_it_is_read(tmp_path, make_ecg, monkeypatch):
    """Opening is patched to fail, because root may read everything."""
    write_muse(tmp_path / "a.xml", make_ecg(seconds=1))
    (tmp_path / "b.hea").write_text("b 12 500 500\n")
    (tmp_path / "b.txt").write_text("x")
    (tmp_path / "locked").mkdir()

    def refused(inner):
        def call(path, *args, **kwargs):
            if os.fspath(path).endswith((".xml", ".hea", "locked")):
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return inner(path, *args, **kwargs)

        return call

    monkeypatch.setattr(Path, "open", refused(Path.open))
    monkeypatch.setattr(os, "scandir", refused(os.scandir))
    found = find_ecgs(tmp_path)
    assert [file.name for file in found] == ["a.xml", "b.hea", "locked"]
    for file in found:
        with pytest.raises(DBetaError, match=f"{file.name}: must not be read"):
            read_ecg(file)


def test_a_folder_search_tells_what_it_leaves_out(tmp_path, make_ecg):
    write_muse(tmp_path / "a.xml", make_ecg(seconds=1))
    (tmp_path / "b.hea").write_text("b 12 500 500\n")
    for name in ("b.dat", "README.md", "ages.csv"):
        (tmp_path / name).write_text("age,sex\n1,2\n")
    (tmp_path / "more").symlink_to(tmp_path)
    found, notes = search_folder(tmp_path)
    assert [file.name for file in found] == ["a.xml", "b.hea"]
    assert [text.split(" in ")[0] for text in notes] == ["2 files", "1 links to folders"]


def test_finding_opens_no_file_that_its_name_tells_of(tmp_path, make_ecg, monkeypatch):
    ecg = make_ecg(seconds=1)
    write_edf(tmp_path / "a.edf", ecg)
    for number in range(5):
        shutil.copy(tmp_path / "a.edf", tmp_path / f"{number}.edf")
        (tmp_path / f"{number}.png").write_bytes(b"x")
    asked = []
    inner = detect.detect
    monkeypatch.setattr(detect, "detect", lambda file: asked.append(file.name) or inner(file))
    write_ishne(tmp_path / "holter", ecg)
    assert len(find_ecgs(tmp_path)) == 7
    assert asked == ["holter"]


@pytest.mark.shared
def test_real_files_under_other_names(shared, tmp_path):
    kinds = {"dicom": "DICOM", "hl7": "HL7 aECG", "philips": "Philips XML", "scp": "SCP-ECG"}
    for path in sorted((shared / "formats").iterdir()):
        copy = shutil.copy(path, tmp_path / f"{path.stem}.bin")
        assert detect.detect(copy).name == next(name for start, name in kinds.items() if path.name.startswith(start))
    assert len(find_ecgs(tmp_path)) == 9


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["a", "a.csv", "a.mat", "a.h5"])
def test_the_check_of_the_recognised_format_applies(tmp_path, make_ecg, kind, name):
    WRITERS[kind][0](tmp_path / name, make_ecg(seconds=4))
    head = FileHead(tmp_path / name)
    assert detect.recognise(head) in _possible_formats(head)


@pytest.mark.parametrize("start", [b"\0\0<", b"<\0", b"\0<", b"<!"])
def test_scp_whose_checksum_or_length_looks_like_xml(tmp_path, start):
    file = tmp_path / "rec.scp"
    data = start.ljust(6, b"\0") + struct.pack("<HHIBB6s", 0, 0, 136, 20, 20, b"SCPECG")
    file.write_bytes(data.ljust(4000, b"\0"))
    assert not FileHead(file).may_be_xml
    file.write_bytes(start + b"?xml version=" + b"SCPECG".ljust(4000))
    assert FileHead(file).may_be_xml
