"""What is read back from the folders where compiled kernels are kept, and what is not."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

from onnx2snn.runtime.engine.fast.native import cache as native_cache

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of POSIX")
CODE = random.Random(1).randbytes(20_000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With CODE kept in it under "key"; the only one."""
    folder = tmp_path / "kept"
    monkeypatch.setattr(native_cache, "folders", lambda: iter([folder]))
    native_cache.keep("key", CODE)
    assert native_cache.kept("key") == CODE
    return folder


@pytest.fixture
def file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


def test_a_changed_bit_anywhere_is_noticed(file: Path) -> None:
    content = file.read_bytes()
    positions = random.Random(2).sample(range(8 * len(content)), 120)
    for bit in [0, 8 * len(content) - 1, *positions]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        assert native_cache.kept("key") is None, f"bit {bit}"


def test_a_cut_or_longer_file_is_noticed(file: Path) -> None:
    content = file.read_bytes()
    for other in (b"", content[:16], content[:32], content[:-1], content + b"\0"):
        file.write_bytes(other)
        assert native_cache.kept("key") is None
    native_cache.keep("key", CODE)
    assert native_cache.kept("key") == CODE


def test_code_for_something_else_is_noticed(file: Path) -> None:
    file.rename(file.with_name(file.name.replace("key", "other")))
    assert native_cache.kept("other") is None


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("which", ["folder", "file"])
def test_what_others_can_write_is_not_read(folder: Path, file: Path, which: str, mode: int) -> None:
    path = folder if which == "folder" else file
    path.chmod(path.stat().st_mode | mode)
    assert native_cache.kept("key") is None
    if which == "folder":
        with pytest.raises(OSError, match=f"{folder}: others can write to it"):
            native_cache.keep("key", CODE)
    else:
        native_cache.keep("key", CODE)  # replaces it
        assert native_cache.kept("key") == CODE


@pytest.mark.parametrize("which", ["folder", "file"])
def test_what_belongs_to_another_user_is_not_read(
    folder: Path, file: Path, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        os.chown(folder if which == "folder" else file, 12345, -1)
    else:  # all of it is another user's
        other = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
    assert native_cache.kept("key") is None
    if which == "folder":
        with pytest.raises(OSError, match=f"{folder}: belongs to another user"):
            native_cache.keep("key", CODE)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs root's files")
def test_roots_files_are_read_by_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert native_cache.kept("key") == CODE
    assert file.stat().st_mode & 0o777 == 0o644


def test_links_and_pipes_are_not_read(file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)
    assert native_cache.kept("key") is None
    file.unlink()
    os.mkfifo(file)  # opening it would wait for a writer
    assert native_cache.kept("key") is None
    native_cache.keep("key", CODE)
    assert native_cache.kept("key") == CODE


def test_a_folder_that_is_not_trusted_is_passed_over(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.chmod(0o777)
    monkeypatch.setattr(native_cache, "folders", lambda: iter([folder, tmp_path / "next"]))
    native_cache.keep("key", CODE)
    assert native_cache.kept("key") == CODE and len(list((tmp_path / "next").iterdir())) == 1


def test_leftovers_are_removed_once_nobody_can_be_writing_them(folder: Path, file: Path) -> None:
    old, new = folder / ".kernels-old.part", folder / ".kernels-new.part"
    for path, age in ((old, 2 * native_cache.STALE), (new, 0)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    native_cache.keep("key", CODE)
    assert set(folder.iterdir()) == {file, new}


def test_a_write_that_fails_leaves_nothing(folder: Path, file: Path) -> None:
    file.unlink()
    file.mkdir()  # in the way
    with pytest.raises(OSError, match="irectory"):
        native_cache.keep("key", CODE)
    assert list(folder.iterdir()) == [file]


def test_folders_do_not_depend_on_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", ".")
    (only,) = native_cache.folders()
    assert only == Path(native_cache.__file__).parent / "__pycache__"
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert list(native_cache.folders())[1] == Path("/some/cache/onnx2snn")
