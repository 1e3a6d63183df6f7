"""Writing in one step: the old content or the new, and nothing besides."""

from __future__ import annotations

import os
import stat

import pytest

from onnx2snn.errors import DataError
from onnx2snn.runtime.storage import atomic
from onnx2snn.runtime.storage.atomic import destination, write_atomically


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("broken", ["fsync", "replace", "chmod"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken, error):
    path = tmp_path / "result"
    path.write_bytes(b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else DataError):
        write_atomically(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("result", b"old")]


def test_a_new_file_has_the_permissions_of_the_umask_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "result"
    before = os.umask(0o027)
    try:
        write_atomically(path, b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        write_atomically(path, b"2")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604 and path.read_bytes() == b"2"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to chown")
def test_an_old_file_keeps_its_owner(tmp_path):
    path = tmp_path / "result"
    path.write_bytes(b"1")
    os.chown(path, 12345, 54321)
    write_atomically(path, b"2")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@pytest.mark.parametrize("exists", [True, False])
def test_links_are_written_through(tmp_path, exists):
    (tmp_path / "far").mkdir()
    real, first, second = tmp_path / "far" / "real", tmp_path / "first", tmp_path / "second"
    if exists:
        real.write_bytes(b"old")
    first.symlink_to("far/real")
    second.symlink_to(first)
    write_atomically(second, b"new")
    assert second.is_symlink() and first.is_symlink() and not real.is_symlink()
    assert real.read_bytes() == b"new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["far", "first", "second"]
    assert [p.name for p in (tmp_path / "far").iterdir()] == ["real"]


def test_other_names_of_a_replaced_file_keep_its_old_content(tmp_path):
    (tmp_path / "one").write_bytes(b"old")
    os.link(tmp_path / "one", tmp_path / "two")
    write_atomically(tmp_path / "one", b"new")
    assert (tmp_path / "two").read_bytes() == b"old"


def test_what_is_no_regular_file_stays(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    wanted = {"pipe": "E222", "null": "E222", "folder": "E220", "loop": "E220"}
    for name, code in wanted.items():
        with pytest.raises(DataError) as caught:
            write_atomically(tmp_path / name, b"new")
        assert caught.value.code == code
    assert stat.S_ISFIFO(os.lstat(tmp_path / "pipe").st_mode)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(wanted)


def test_folders_are_made_on_request_only(tmp_path):
    path = tmp_path / "a" / "b" / "result"
    with pytest.raises(DataError, match="cannot write") as caught:
        write_atomically(path, b"new")
    assert caught.value.code == "E220" and not (tmp_path / "a").exists()
    write_atomically(path, b"new", make_folders=True)
    assert path.read_bytes() == b"new"


def test_a_name_as_long_as_the_system_takes_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(DataError) as caught:
        destination(tmp_path / ("n" * 300))
    assert caught.value.code == "E220"


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("sync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("name"), replace(*names)))
    atomic.write_atomically(tmp_path / "result", b"new")
    assert done == ["sync", "name", "sync"]  # the file, its name, the folder that holds the name


@pytest.mark.skipif(not atomic.CAN_LOCK, reason="no locks here")
def test_what_a_killed_process_left_goes_what_one_at_work_has_stays(tmp_path):
    left = tmp_path / atomic.TEMPORARY.format("0" * 16)
    left.write_bytes(b"half")
    (tmp_path / ".onnx2snn-notes.tmp").write_bytes(b"mine")
    path, file = atomic._temporary(tmp_path)
    with file:
        write_atomically(tmp_path / "f", b"1")
        assert sorted(tmp_path.iterdir()) == sorted(
            [path, tmp_path / "f", tmp_path / ".onnx2snn-notes.tmp"]
        )
    write_atomically(tmp_path / "f", b"2")
    assert not path.exists()
