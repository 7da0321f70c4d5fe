"""Hostile files, generated here, are refused with one sentence, in bounded memory and time."""

import functools
import gzip
import json
import os
import pickle
import queue
import shutil
import socket
import struct
import subprocess
import sys
import threading
import warnings
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.data import get_testdata_file
from scipy.io import savemat

from dbeta.ecg import LEADS
from dbeta.errors import DBetaError, DBetaWarning
from dbeta.io.read import find_ecgs, read_ecg
from dbeta.io.safety.limits import TABLE_VALUES, VALUES, shown
from dbeta.io.units import millivolts

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from fuzz_seeds import make_seeds

#: Seconds and bytes that reading a hostile file may take, on a slow machine.
SECONDS, MEMORY = 300, 800 * 2**20

_READER = """
import json, resource, sys, warnings
from pathlib import Path
import h5py, numpy, pandas, pyarrow.parquet, pydicom, scipy.io, wfdb
from ecgdatakit import FileParser
from dbeta.io.read import read_ecg
FileParser().parsers
warnings.simplefilter("ignore")
status = Path("/proc/self/status")

def most():  # ru_maxrss alone counts what the parent had
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

base = most()
for line in sys.stdin:
    path, options = json.loads(line)
    try:
        read_ecg(path, **options)
        answer = ["read", ""]
    except BaseException as error:
        answer = [type(error).__name__, str(error)]
    if most() - base > int(sys.argv[1]):
        answer = [f"took {(most() - base) / 1e6:.0f} MB", answer]
    print(json.dumps(answer), flush=True)
"""


class _Reader:
    """A reader process that is replaced when it dies, or takes too long or too much memory."""

    def __init__(self, memory=MEMORY):
        self.memory = memory
        self._start()

    def _start(self):
        command = [sys.executable, "-c", _READER, str(self.memory)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answers = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(self.process.stdout, self.answers), daemon=True).start()

    def _listen(self, lines, answers):
        for line in lines:
            answers.put(line)
        answers.put('["died", ""]')

    def read(self, path, **options):
        self.process.stdin.write(json.dumps([str(path), options]) + "\n")
        self.process.stdin.flush()
        try:
            answer = json.loads(self.answers.get(timeout=SECONDS))
        except queue.Empty:
            answer = ["took too long", ""]
        if answer[0].startswith(("died", "took")):
            self.close()
            self._start()
        return answer

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


@pytest.fixture(scope="module")
def limited():
    reader = _Reader()
    yield reader
    reader.close()


@pytest.fixture
def refusal(limited):
    """The message with which a file is refused in bounded time and memory; running out of either fails."""

    def read(path, **options):
        kind, message = limited.read(path, **options)
        assert kind == "DBetaError", (kind, message)
        assert Path(path).name in message
        assert "\n" not in message
        assert "MemoryError" not in message
        assert "allocate" not in message
        return message

    return read


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Valid files of all formats, by their names in the fuzzer: (path, arguments that `read_ecg` needs)."""
    root = tmp_path_factory.mktemp("valid")
    found = {}
    (root / "made").mkdir()
    for seed in make_seeds(root / "made", None):
        folder = root / seed.name
        folder.mkdir()
        for name, content in seed.files.items():
            (folder / name).write_bytes(content)
        found[seed.name] = folder / next(iter(seed.files)), seed.options
    return found


def copied(valid, name, folder, change=None, to=None):
    """A valid recording in another folder, its first file changed by `change`."""
    path, options = valid[name]
    for file in path.parent.iterdir():
        shutil.copy(file, folder / file.name)
    target = folder / (to or path.name)
    content = path.read_bytes()
    (folder / path.name).unlink()
    target.write_bytes(change(content) if change else content)
    return target, options


@functools.cache
def zeros(bits=zlib.MAX_WBITS):
    """300 MB of zeros as a zlib stream of 300 kB."""
    packer = zlib.compressobj(6, zlib.DEFLATED, bits)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(300)) + packer.flush()


def sparse(path, head, size):
    """A sparse file larger than the disk, of which only the head is written."""
    path.write_bytes(head)
    os.truncate(path, size)
    return path


def test_valid_files_of_all_formats_pass(valid, limited):
    for path, options in valid.values():
        assert limited.read(path, **options | ({"leads": list(LEADS)} if "leads" in options else {})) == ["read", ""]


# --- not regular files


def test_a_pipe_a_socket_and_a_device(tmp_path, refusal, monkeypatch):
    os.mkfifo(tmp_path / "pipe.dcm")
    assert "is a pipe" in refusal(tmp_path / "pipe.dcm")
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.xml")
        assert "is a socket" in refusal(tmp_path / "s.xml")
    assert "is a device" in refusal("/dev/zero")


def test_a_link_to_a_file_is_followed_and_one_to_itself_is_refused(tmp_path, valid, refusal):
    (tmp_path / "mine.xml").symlink_to(valid["ge-muse"][0])
    assert read_ecg(tmp_path / "mine.xml").signal.shape == (12, 500)
    (tmp_path / "loop.xml").symlink_to(tmp_path / "loop.xml")
    refusal(tmp_path / "loop.xml")
    (tmp_path / "pipe.xml").symlink_to("/dev/zero")
    assert "is a device" in refusal(tmp_path / "pipe.xml")


def test_links_out_of_a_folder_are_left_out_of_it(tmp_path, valid):
    folder = tmp_path / "upload"
    folder.mkdir()
    shutil.copy(valid["ge-muse"][0], folder / "own.xml")
    (folder / "inside.xml").symlink_to(folder / "own.xml")
    assert [file.name for file in find_ecgs(folder)] == ["inside.xml", "own.xml"]
    (folder / "outside.xml").symlink_to(valid["mortara"][0])
    (folder / "elsewhere").symlink_to(valid["mortara"][0].parent)
    with pytest.warns(DBetaWarning, match="1 links lead out of the folder"):
        assert [file.name for file in find_ecgs(folder)] == ["inside.xml", "own.xml"]


@pytest.mark.parametrize(
    ("magic", "name"),
    [(b"PK\x03\x04", "a.npy"), (b"\x1f\x8b\x08", "a.csv"), (b"BZh9", "a.xml"), (b"\xfd7zXZ\x00", "a.edf")],
)
def test_compressed_files_are_not_unpacked(tmp_path, refusal, magic, name):
    (tmp_path / name).write_bytes(magic + bytes(1000))
    assert "unpack it first" in refusal(tmp_path / name)


def test_a_table_that_is_a_zip_archive_as_well_is_read_as_a_table(tmp_path, valid, refusal):
    path, options = copied(valid, "csv", tmp_path, to="table.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.csv", bytes(300 * 2**20))
    assert "has text in column I, where numbers should be" in refusal(path, **options)
    gz = tmp_path / "table.csv.gz"
    gz.write_bytes(gzip.compress(b"I,II\n" * 100))
    assert "unpack it first" in refusal(gz)


@pytest.mark.parametrize(
    ("name", "head"), [("a.xml", b"<a>"), ("a.csv", b"I,II\n"), ("a.scp", b"\0" * 40), ("a.hea", b"a 12 500\n")]
)
def test_formats_that_are_loaded_as_a_whole_have_a_largest_size(tmp_path, refusal, name, head):
    assert "MB that can be read of its format" in refusal(sparse(tmp_path / name, head, 10**12))


# --- XML

_LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))


@pytest.mark.parametrize(
    "prolog",
    [
        f'<!DOCTYPE AnnotatedECG [<!ENTITY l0 "lol">{_LAUGHS}]>',
        f'<!DOCTYPE AnnotatedECG [<!ENTITY l11 "{"x" * 10**6}">]>',
        '<!DOCTYPE AnnotatedECG [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE AnnotatedECG [<!ENTITY % l SYSTEM "http://127.0.0.1:9/a.dtd"> %l;]>',
        f'<!DOCTYPE AnnotatedECG [<!ATTLIST id root CDATA "{"x" * 10**6}">]>',
    ],
    ids=["billion laughs", "quadratic", "external", "parameter", "attribute"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "shift_jis", "no-such"])
def test_xml_with_declarations_of_its_own(tmp_path, refusal, prolog, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?>{prolog}<AnnotatedECG>'
    text += "<id/>" * 10_000 + ("&l11;" * 10_000 if "l11" in prolog else "") + "</AnnotatedECG>"
    path = tmp_path / "a.xml"
    path.write_bytes(text.encode(encoding if encoding != "no-such" else "utf-8"))
    assert "as used by attacks" in refusal(path)


def test_xml_behind_spaces_that_only_python_knows(tmp_path, refusal):
    path = tmp_path / "a.xml"
    path.write_text(f'\u2003<?xml version="1.0"?><!DOCTYPE ECG [<!ATTLIST ECG a CDATA "{"x" * 1000}">]><ECG/>', "utf-8")
    assert "as used by attacks" in refusal(path)


def test_a_dtd_that_is_only_named_is_not_fetched(tmp_path, valid):
    path, _ = copied(valid, "ge-muse", tmp_path)
    assert b'SYSTEM "restecg.dtd"' in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"restecg.dtd", b"http://127.0.0.1:9/restecg.dtd"))
    assert read_ecg(path).signal.shape == (12, 500)


def test_xml_with_too_many_or_too_deep_elements(tmp_path, refusal):
    path = tmp_path / "a.xml"
    path.write_text("<AnnotatedECG>" + "<a/>" * 1_100_000 + "</AnnotatedECG>")
    assert "elements" in refusal(path)
    path.write_text("<AnnotatedECG>" + "<a>" * 100_000)
    assert "nested" in refusal(path)


@pytest.mark.parametrize(
    "count", ["1000000000000", "9" * 5000, "&#57;9999999", "<![CDATA[99999999]]>", "1e9", "1_000_000_000"]
)
def test_philips_with_a_billion_leads(tmp_path, valid, refusal, count):
    def change(content):
        return content.replace(b"<numberchannelsallocated>12<", f"<numberchannelsallocated>{count}<".encode())

    assert "channels" in refusal(copied(valid, "philips-plain", tmp_path, change)[0])


def test_philips_with_leads_that_unpack_without_end(tmp_path, valid, refusal):
    """A string that grows by one byte with each code, which 10 bits bound: 500 kB that unpack to 170 MB."""
    import base64

    codes = [0, *range(256, 1022), *[1021] * 300_000]
    bits = "".join(f"{code:010b}" for code in codes)
    packed = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    text = base64.b64encode(struct.pack("<iHh", len(packed), 0, 0) + packed)

    def change(content):
        head, start, rest = content.partition(b'nbitspersample="16">')
        return head + start + text + rest[rest.index(b"<") :]

    assert "longer than any recording" in refusal(copied(valid, "philips-xli", tmp_path, change)[0])


def test_a_report_that_takes_the_square_of_its_length_to_search(tmp_path, valid, limited):
    def change(content):
        return content.replace(b"Sinus rhythm", b"Sinus" + b" ." * 500_000 + b"rhythm" + b" x y z" * 50_000)

    path, _ = copied(valid, "ge-muse", tmp_path, change)
    assert limited.read(path) == ["read", ""]
    assert millivolts("1" * 10**6 + "x") is None


# --- WFDB


@pytest.mark.parametrize("name", ["../rec.dat", "/etc/passwd", "..\\rec.dat", "s3://bucket/rec.dat", "a" * 300, ".."])
def test_wfdb_signal_files_elsewhere(tmp_path, valid, refusal, name):
    path, _ = copied(valid, "wfdb16", tmp_path, lambda content: content.replace(b"wfdb16.dat", name.encode()))
    shutil.copy(tmp_path / "wfdb16.dat", tmp_path.parent / "rec.dat")
    assert "WFDB header" in refusal(path)


def test_a_wfdb_header_is_known_by_its_content(tmp_path, valid, refusal):
    """DICOM under the name of a header is read; a header under another name is checked as one."""
    path, options = copied(valid, "dicom", tmp_path, to="dcm.hea")
    assert read_ecg(path, **options).signal.shape[0] == 12
    content = b"# a comment\n\n" + valid["wfdb16"][0].read_bytes()
    header = tmp_path / "header.txt"
    header.write_bytes(content.replace(b"wfdb16.dat", b"../wfdb16.dat"))
    assert "is not a file in its folder" in refusal(header)


def test_wfdb_signal_file_that_is_a_link(tmp_path, valid, refusal):
    path, _ = copied(valid, "wfdb16", tmp_path)
    signal = path.with_suffix(".dat")
    signal.rename(tmp_path / "other.bin")
    signal.symlink_to(tmp_path / "other.bin")
    assert read_ecg(path).signal.shape == (12, 500)
    signal.unlink()
    signal.symlink_to(valid["wfdb16"][0].with_suffix(".dat"))
    assert "a link out of its folder" in refusal(path)
    signal.unlink()
    os.mkfifo(signal)
    assert "missing" in refusal(path)


def test_a_wfdb_record_given_by_a_link_may_lie_beside_its_target(tmp_path, valid):
    target = valid["wfdb16"][0]
    for suffix in (".hea", ".dat"):
        (tmp_path / "wfdb16").with_suffix(suffix).symlink_to(target.with_suffix(suffix))
    assert read_ecg(tmp_path / "wfdb16.hea").signal.shape == (12, 500)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b".dat 16 ", b".dat 16:999999999 "),
        (b".dat 16 ", b".dat 16x99999999 "),
        (b" 12 250 500", b" 12 250 " + b"9" * 5000),
        (b" 12 250 500", b" 12 1e300 500"),
    ],
    ids=["skew", "samples in a frame", "digits", "rate"],
)
def test_wfdb_headers_with_gigantic_numbers(tmp_path, valid, refusal, old, new):
    path, _ = copied(valid, "wfdb16", tmp_path, lambda content: content.replace(old, new))
    refusal(path)


def test_a_day_in_wfdb_is_read_in_parts_only(tmp_path, valid, refusal):
    path, _ = copied(valid, "wfdb16", tmp_path, lambda content: content.replace(b" 250 500", b" 500 43200000"))
    sparse(path.with_suffix(".dat"), path.with_suffix(".dat").read_bytes(), 43_200_000 * 24)
    assert "read a part of it" in refusal(path)
    ecg = read_ecg(path, duration=1)
    assert (ecg.signal.shape, ecg.meta["duration"]) == ((12, 500), 86_400)


# --- NumPy and pickles


class _Payload:
    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("form", ["pickle", "object array", "npz"])
def test_pickles_are_never_loaded(tmp_path, refusal, form):
    payload = _Payload()
    payload.folder = tmp_path / "owned"
    path = tmp_path / "a.npy"
    if form == "pickle":
        path.write_bytes(pickle.dumps(payload))
    elif form == "object array":
        np.save(path, np.array([payload], dtype=object), allow_pickle=True)
    else:
        np.savez(tmp_path / "a.npz", np.array([payload], dtype=object))
        (tmp_path / "a.npz").rename(path)
    refusal(path, sampling_rate=500, leads=list(LEADS))
    assert not payload.folder.exists()


def test_numpy_arrays_of_a_gigantic_shape(tmp_path, valid, refusal):
    options = {"sampling_rate": 500, "leads": list(LEADS)}
    head = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (12, %d)}"
    path = tmp_path / "a.npy"
    path.write_bytes((head % 10**12).ljust(128))
    assert "cannot be read" in refusal(path, **options)
    sparse(path, (head % (7 * 10**6)).ljust(128), 128 + 48 * 7 * 10**6)
    assert "read a part of it" in refusal(path, **options)


# --- MATLAB


def _mat(variable):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + variable


def _part(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def _matrix(kind, sizes, *parts, name=b"ECG"):
    head = _part(6, struct.pack("<II", kind, 0)) + _part(5, struct.pack(f"<{len(sizes)}I", *sizes)) + _part(1, name)
    return _part(14, head + b"".join(parts))


def test_a_matlab_variable_that_unpacks_without_end(tmp_path, refusal):
    packed = zeros()
    path = tmp_path / "a.mat"
    path.write_bytes(_mat(struct.pack("<II", 15, len(packed)) + packed))
    assert "unpacks to far more" in refusal(path)


@pytest.mark.parametrize(
    "variable",
    [
        _matrix(6, (12, 2**31 - 1), _part(9, bytes(96))),
        _matrix(2, (2**31 - 1, 1), _part(5, struct.pack("<I", 8)), _part(1, b"")),
        _matrix(1, (2**31 - 1, 1)),
        _matrix(5, (12, 5000), _part(5, b""), _part(5, b""), _part(9, b"")),
        struct.pack("<II", 14, 2**32 - 1) + bytes(100),
        _matrix(6, (12, 1), _part(24, bytes(96))),
        _matrix(4, (1, 4), struct.pack("<HH4s", 24, 4, b"Male")),
        _matrix(6, (12, 1)),
        _matrix(0x0806, (12, 1), _part(9, bytes(96))) + _matrix(6, (1, 1), _part(9, bytes(8)), name=b"x"),
        _matrix(1, (1, 1), _part(9, bytes(8))),
        _matrix(19, (1, 1), _part(9, bytes(8))),
        b"".join(struct.pack("<II", 14, 10**6) for _ in range(2000)),
    ],
    ids=[
        "numbers",
        "fields",
        "cells",
        "sparse",
        "length",
        "type",
        "type of letters",
        "no data",
        "no imaginary part",
        "cell of numbers",
        "class",
        "nested",
    ],
)
def test_matlab_variables_that_are_not_what_they_declare(tmp_path, refusal, variable):
    """Types unknown to the format crashed the process (found by the fuzzer, as a flipped bit in a real file)."""
    path = tmp_path / "a.mat"
    path.write_bytes(_mat(variable + bytes(200)))
    assert "cannot be read as a MATLAB file" in refusal(path)


def test_a_matlab_file_that_begins_like_another_format(tmp_path, refusal):
    path = tmp_path / "a.mat"
    path.write_bytes(b"0       " + _mat(_matrix(6, (12, 1), _part(24, bytes(96))))[8:])
    refusal(path)


def test_variables_that_nobody_reads_may_be_of_any_kind(tmp_path, make_ecg):
    content = {"ECG": {"sex": "Male", "age": 61, "data": make_ecg(seconds=2).signal}, "other": {"a": [1, "b"]}}
    savemat(tmp_path / "a.mat", content)
    assert read_ecg(tmp_path / "a.mat").signal.shape == (12, 1000)


# --- HDF5


@pytest.fixture
def code(tmp_path):
    return tmp_path / "code.hdf5"


def test_hdf5_links_to_other_files(code, valid, refusal, limited):
    outside = str(valid["code"][0])
    with h5py.File(code, "w") as file:
        file["tracings"] = h5py.ExternalLink(outside, "tracings")
    assert "link to another file" in refusal(code)
    with h5py.File(code, "w") as file:
        file["group/away"] = h5py.ExternalLink(outside, "/")
        file["tracings"] = h5py.SoftLink("/group/away/tracings")
    assert "link to another file" in refusal(code)
    with h5py.File(code, "w") as file:
        file["data"] = np.ones((1, 500, 12))
        file["tracings"] = h5py.SoftLink("/data")
    assert limited.read(code) == ["read", ""]


def test_hdf5_datasets_kept_in_other_files(code, valid, refusal):
    outside = str(valid["code"][0])
    with h5py.File(code, "w") as file:
        file.create_dataset("tracings", (1, 500, 12), "i1", external=[("/etc/passwd", 0, 6000)])
    assert "kept in another file" in refusal(code)
    layout = h5py.VirtualLayout((2, 500, 12), "f4")
    layout[:] = h5py.VirtualSource(outside, "tracings", shape=(2, 500, 12))
    with h5py.File(code, "w") as file:
        file.create_virtual_dataset("tracings", layout)
    assert "kept in another file" in refusal(code)


def test_hdf5_datasets_of_a_gigantic_shape(code, refusal):
    with h5py.File(code, "w") as file:
        file.create_dataset("tracings", (1, 10**12, 12), "f4", chunks=(1, 1000, 12))
    assert "does not hold" in refusal(code)
    with h5py.File(code, "w") as file:
        file.create_dataset("tracings", (1, 500, 12), "f4", maxshape=(None, None, 12), chunks=(2**10, 2**14, 12))
    assert "chunks" in refusal(code)
    with h5py.File(code, "w") as file:
        file["tracings"] = np.ones((1, 500, 12))
        file.create_dataset("exam_id", (10**12,), "i8", chunks=(1000,))
    assert "samples" in refusal(code)


@pytest.mark.parametrize("dataset", ["tracings", "exam_id"])
def test_an_hdf5_chunk_that_unpacks_to_more_than_it_declares(code, refusal, dataset):
    with h5py.File(code, "w") as file:
        file.create_dataset("tracings", data=np.ones((2, 500, 12), "f4"), chunks=(1, 500, 12), compression="gzip")
        file.create_dataset("exam_id", data=np.arange(2), chunks=(2,), compression="gzip")
        file[dataset].id.write_direct_chunk((0,) * file[dataset].ndim, zeros())
    assert "unpacks to far more" in refusal(code, record=0)


def test_hdf5_filters_that_multiply_and_ids_that_are_none(code, refusal):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((1, 500, 12))
    properties.set_deflate(9)
    properties.set_deflate(9)
    with h5py.File(code, "w") as file:
        space = h5py.h5s.create_simple((1, 500, 12))
        h5py.h5d.create(file.id, b"tracings", h5py.h5t.IEEE_F32LE, space, properties)
    assert "unusual way" in refusal(code)
    with h5py.File(code, "w") as file:
        file["tracings"] = np.ones((2, 500, 12))
        file["exam_id"] = ["x" * 10] * 2
    assert "not an array of numbers" in refusal(code, record=0)


# --- DICOM


def _deflated(body):
    dataset = pydicom.dcmread(get_testdata_file("waveform_ecg.dcm"))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    path = body.parent / "whole.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_deflated_dicom(tmp_path, refusal):
    path = _deflated(tmp_path / "x")
    assert read_ecg(path).signal.shape == (12, 10_000)
    content = path.read_bytes()
    end = 144 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[:end] + zeros(-zlib.MAX_WBITS))
    assert "unpacks to far more" in refusal(path)
    path.write_bytes(content[132:end] + zeros(-zlib.MAX_WBITS))  # without its preamble
    assert "unpacks to far more" in refusal(path)


# --- the binary formats


def test_edf_headers_with_gigantic_numbers(tmp_path, valid, refusal):
    for at, width, number in ((252, 4, b"9999"), (244, 8, b"1e-300"), (244, 8, b"nan")):
        path, _ = copied(valid, "edf", tmp_path)
        content = bytearray(path.read_bytes())
        content[at : at + width] = number.ljust(width)
        path.write_bytes(content)
        refusal(path)


def test_a_day_in_edf_and_ishne_is_read_in_parts_only(tmp_path, valid, refusal):
    day = 86_400 * 12 * 250 * 2
    edf, _ = copied(valid, "edf", tmp_path, lambda content: content[:236] + b"86400   " + content[244:])
    ishne, _ = copied(valid, "ishne", tmp_path)
    for path in (edf, ishne):
        head = path.read_bytes()
        sparse(path, head, len(head) - 500 * 24 + day)
        assert "read a part of it" in refusal(path)
        assert read_ecg(path, duration=2).meta["duration"] == 86_400


def test_mfer_with_more_channels_than_any_recorder(tmp_path, refusal):
    head = b"@\x20" + b"MFR ".ljust(32) + b"\x01\x01\x00\x05\x04" + struct.pack(">I", 2 * 10**6)
    path = tmp_path / "a.mwf"
    path.write_bytes(head + b"\x1e\x84" + struct.pack(">I", 4 * 10**6) + bytes(4 * 10**6))
    assert "channels" in refusal(path)
    little = head[:36] + b"\x01\x05\x02\x00\x10"  # 16 in the other order
    path.write_bytes(little + b"\x1e\x84" + struct.pack(">I", 10**5) + bytes(10**5))
    assert "channels" in refusal(path)
    path.write_bytes(head[:37] + b"\x05\x01\xff" + (b"\x1e\x81\xff" + bytes(255)) * 10_000)
    assert "more parts" in refusal(path)
    path.write_bytes(head[:34] + b"\x67\x80" * 100_000)
    assert "nested" in refusal(path)
    sparse(path, head[:34], 250 * 2**20)
    assert "more parts" in refusal(path)


def test_scp_with_more_beats_than_any_recording(tmp_path, valid, refusal):
    def change(content):
        pointer = 22 + 10 * 3
        return content[:pointer] + struct.pack("<HII", 4, 10**6, 500) + content[pointer + 10 :]

    assert "lists beats" in refusal(copied(valid, "scp", tmp_path, change)[0])


# --- tables


def test_tables_with_a_million_columns(tmp_path, refusal):
    path = tmp_path / "a.csv"
    path.write_bytes(b"I," * 10**6 + b"\n1,2\n")
    assert "first row" in refusal(path)
    path.write_bytes(b"1" * (9 * 2**20))
    assert "first row" in refusal(path)


def test_parquet_whose_few_bytes_stand_for_many_values(tmp_path, refusal):
    column = pa.array(np.zeros(6_000_000, np.int8))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(dict.fromkeys(LEADS, column)), path)
    assert path.stat().st_size < 10**6
    assert VALUES < 12 * 6_000_000
    assert "samples" in refusal(path, sampling_rate=500, units="uV")


def test_a_long_table_is_read_in_parts_only(tmp_path, refusal):
    rows = TABLE_VALUES // len(LEADS) + 1
    text, columns = tmp_path / "a.csv", tmp_path / "a.parquet"
    text.write_text(",".join(LEADS) + "\n" + "0,1,2,3,4,5,6,7,8,9,0,1\n" * rows)
    pq.write_table(pa.table(dict.fromkeys(LEADS, pa.array(np.arange(3_000_000) % 9 / 9))), columns)
    for path in (text, columns):
        assert "read a part of it" in refusal(path, sampling_rate=500, units="mV")
    assert read_ecg(text, sampling_rate=500, units="0.1", duration=2).signal.shape == (12, 1000)
    assert read_ecg(columns, sampling_rate=500, start=5000, duration=2).signal.shape == (12, 1000)


@pytest.mark.parametrize(("name", "head", "size"), [("a.xml", b"<a>", 17), ("a.csv", b"I,II\n" * 1000, 129)])
def test_the_largest_xml_and_table(tmp_path, refusal, name, head, size):
    assert "MB that can be read of its format" in refusal(sparse(tmp_path / name, head, size * 2**20))


# --- numbers


@pytest.mark.parametrize("number", [b"1e308 ", b"-1e308", b"nan   ", b"inf   "])
def test_no_warning_of_a_library_for_absurd_calibrations(tmp_path, valid, number):
    """NumPy warned of an overflow in EDF's physical range and in Philips' resolution (found by the fuzzer)."""

    def edf(content):
        return content.replace(b"-32.768", number.ljust(7))

    def philips(content):
        return content.replace(b"<resolution>1<", b"<resolution>" + number.strip() + b"<")

    for name, change in (("edf", edf), ("philips-plain", philips)):
        path, _ = copied(valid, name, tmp_path, change)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with suppress(DBetaError):
                read_ecg(path)
        assert [one.category for one in caught if not issubclass(one.category, DBetaWarning)] == []


def test_no_warning_of_pydicom_for_an_identifier_that_is_none(tmp_path, valid):
    """The check of the transfer syntax warned, before the reader did (found by the fuzzer)."""

    def change(content):
        return content.replace(b"1.2.840.10008.1.2.1", b"1.2.840.\x0810008.1.2\x08", 1)

    path, _ = copied(valid, "dicom", tmp_path, change)
    assert path.read_bytes() != valid["dicom"][0].read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with suppress(DBetaError):
            read_ecg(path)


# --- what files say


def test_texts_from_a_file_cannot_steer_a_terminal(tmp_path, valid):
    path, _ = copied(valid, "edf", tmp_path, lambda content: content.replace(b"ECG V1", b"\x1b[2J\x07\x9b"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ecg = read_ecg(path)
    assert list(ecg.meta["missing_leads"]) == ["V1"]
    assert all(name.isprintable() for name in ecg.meta["other_channels"])
    assert all(str(one.message).isprintable() for one in caught)
    assert shown("a\x1b[2J\nb\t\x00c") == "a?[2J b ?c"
    path, _ = copied(
        valid, "ge-muse", tmp_path, lambda content: content.replace(b"Sinus rhythm", b"Sinus\x85\x9brhythm")
    )
    assert read_ecg(path).report == "Sinus ?rhythm"


def test_nothing_is_written_beside_a_file(tmp_path, valid):
    for name in valid:
        folder = tmp_path / name
        folder.mkdir()
        path, options = copied(valid, name, folder)
        before = sorted(folder.iterdir())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_ecg(path, **options)
        assert sorted(folder.iterdir()) == before


def test_what_takes_too_much_memory_is_noticed(tmp_path):
    """The test of the memory measurement itself."""
    np.save(tmp_path / "a.npy", np.zeros((12, 2**20), np.float32))
    reader = _Reader(memory=2**20)
    kind, _ = reader.read(tmp_path / "a.npy", sampling_rate=500, leads=list(LEADS))
    reader.close()
    assert kind.startswith("took")
