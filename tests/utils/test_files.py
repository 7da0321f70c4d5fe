import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dbeta.utils.files import load_json, remove_unfinished, replacing, write_text


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def write(path: Path, text: str) -> None:
    """Write a file, or a folder with one file, by the path's suffix."""
    if path.suffix == ".txt" or ".txt." in path.name:
        path.write_text(text)
    else:
        path.mkdir()
        (path / "inside").write_text(text)


@pytest.mark.parametrize("name", ["target.txt", "target"])
@pytest.mark.parametrize("exists", [False, True])
def test_the_target_is_replaced_whole(tmp_path, name, exists):
    target = tmp_path / name
    if exists:
        write(target, "old")
        if target.is_dir():
            (target / "also old").write_text("old")
    with replacing(target) as temporary:
        assert temporary.parent == tmp_path
        assert not temporary.exists()
        write(temporary, "new")
        if exists:
            assert "old" in content(tmp_path).values()
    assert content(tmp_path) == {name if target.is_file() else f"{name}/inside": "new"}


@pytest.mark.parametrize("name", ["target.txt", "target"])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("written", [False, True])
def test_the_target_is_kept_where_the_body_raises(tmp_path, name, exists, written):
    target = tmp_path / name
    if exists:
        write(target, "old")
    before = content(tmp_path)
    with pytest.raises(RuntimeError, match="stop"), replacing(target) as temporary:
        if written:
            write(temporary, "new")
        raise RuntimeError("stop")
    assert content(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == exists


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    write(tmp_path / "target.txt", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "target.txt"):
        pass
    assert content(tmp_path) == {"target.txt": "old"}


def test_each_attempt_has_a_name_of_its_own(tmp_path):
    with replacing(tmp_path / "target.txt") as one, replacing(tmp_path / "target.txt") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert content(tmp_path) == {"target.txt": "one"}


def test_others_may_read_a_file_whose_writer_kept_it_private(tmp_path):
    mask = os.umask(0o022)
    try:
        with replacing(tmp_path / "target.txt") as temporary:
            temporary.write_text("new")
            temporary.chmod(0o600)
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "target.txt").stat().st_mode) == 0o644
    assert os.umask(mask) == mask


@pytest.mark.parametrize("name", ["target.txt", "target"])
def test_a_kill_while_writing_leaves_the_old_target(tmp_path, name):
    target = tmp_path / name
    write(target, "old")
    code = f"""
    import os, signal
    from pathlib import Path
    from dbeta.utils.files import replacing

    with replacing(Path({str(target)!r})) as temporary:
        if {target.is_dir()}:
            temporary.mkdir()
            (temporary / "inside").write_text("half")
        else:
            temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)]).returncode == -signal.SIGKILL
    here = name if target.is_file() else f"{name}/inside"
    assert content(tmp_path).pop(here) == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished(tmp_path)
    assert content(tmp_path) == {here: "old"}


def test_only_unfinished_files_are_removed(tmp_path):
    for name in ("kept.txt", ".hidden", "a.partial"):
        (tmp_path / name).write_text("kept")
    (tmp_path / ".target.txt.01234567.partial").write_text("half")
    (tmp_path / ".target.01234567.partial").mkdir()
    (tmp_path / ".target.01234567.partial" / "inside").write_text("half")
    remove_unfinished(tmp_path)
    assert content(tmp_path) == dict.fromkeys(("kept.txt", ".hidden", "a.partial"), "kept")


def test_text_is_written_as_utf_8(tmp_path):
    write_text(tmp_path / "target.txt", "old")
    write_text(tmp_path / "target.txt", "P-Wellen, 2 µV\n")
    assert (tmp_path / "target.txt").read_bytes() == "P-Wellen, 2 µV\n".encode()
    assert len(list(tmp_path.iterdir())) == 1


def test_text_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_text(tmp_path / "target.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "target.txt", "\udcff")
    assert content(tmp_path) == {"target.txt": "old"}


@pytest.mark.parametrize(
    ("content", "value"), [(b'{"a": ["\xc2\xb5"]}', {"a": ["µ"]}), (b'{"a": ', None), (b'"\xff"', None), (None, None)]
)
def test_json_that_is_missing_or_damaged_is_none(tmp_path, content, value):
    if content is not None:
        (tmp_path / "file.json").write_bytes(content)
    assert load_json(tmp_path / "file.json") == value
    assert load_json(tmp_path) is None
