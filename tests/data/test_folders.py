"""Folders of pictures: what is a class, what a label, and what was done to the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx2snn.data.folders import read_folder
from onnx2snn.errors import DataError

image = pytest.importorskip("PIL.Image")
GREY, COLOUR = (1, 4, 6), (3, 4, 6)


def pictures(folder: Path, names: str, *, size: tuple[int, int] = (6, 4), mode: str = "L") -> Path:
    """Two pictures for each class; those of the class at place k have the value k."""
    for k, name in enumerate(names.split()):
        (folder / name).mkdir(parents=True)
        for i in range(2):
            image.new("L", size, k).convert(mode).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    "names, labels",
    [
        ("cat dog", {"cat": 0, "dog": 1}),
        ("0 1 2 10", {"0": 0, "1": 1, "2": 2, "10": 10}),
        ("3", {"3": 3}),
        ("01 1", {"01": 0, "1": 1}),  # the same number twice: no numbers
    ],
)
def test_names_of_folders_are_classes_and_numeric_ones_the_labels(
    tmp_path: Path, names: str, labels: dict[str, int]
) -> None:
    found = read_folder(pictures(tmp_path, names), GREY)
    assert found.classes == labels and found.labels is not None
    values = dict(zip(found.labels.tolist(), found.pictures[:, 0, 0, 0].tolist(), strict=True))
    assert values == {labels[name]: k for k, name in enumerate(names.split())}
    assert "classes by folder" in found.said[0]
    assert len(found.said) == 1  # nothing else was done


def test_hidden_and_empty_folders_are_no_classes_and_said(tmp_path: Path) -> None:
    pictures(tmp_path, ".ipynb_checkpoints __MACOSX cat dog")
    (tmp_path / "aaa").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("x")
    (tmp_path / "cat" / "._0.png").write_text("x")
    found = read_folder(tmp_path, GREY)
    assert found.classes == {"cat": 0, "dog": 1} and len(found.pictures) == 4
    said = " ".join(found.said)
    assert all(name in said for name in (".ipynb_checkpoints", "__MACOSX", "aaa"))
    assert "not read" not in said
    pictures(tmp_path / "cat", "below")
    (tmp_path / "cat" / "below" / "0.png").rename(tmp_path / "0.png")
    said = " ".join(read_folder(tmp_path, GREY).said)
    assert "not read: 1 picture beside the class folders" in said
    assert "not read: 1 picture in folders below the class folders" in said


def test_one_folder_with_a_name_tells_of_no_class(tmp_path: Path) -> None:
    found = read_folder(pictures(tmp_path, "all"), GREY)
    assert found.labels is None and found.classes == {} and "'all'" in found.said[0]


@pytest.mark.parametrize("shape, to", [(GREY, "grey"), (COLOUR, "colour")])
def test_what_is_done_to_pictures_is_counted(
    tmp_path: Path, shape: tuple[int, ...], to: str
) -> None:
    pictures(tmp_path / "d", "0 1", size=(12, 8), mode="RGBA")
    found = read_folder(tmp_path / "d", shape)
    assert found.pictures.shape == (4, 4, 6, shape[0])
    said = " ".join(found.said)
    assert "4 of 4 pictures are resized to 6x4 (most from 12x8)" in said
    assert f"4 of 4 pictures are converted to {to}" in said and "4 of mode RGBA" in said


def test_a_picture_that_cannot_be_read_is_named_and_skipped_by_choice(tmp_path: Path) -> None:
    broken = pictures(tmp_path, "0 1") / "1" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path, GREY)
    assert caught.value.code == "E245" and str(broken) in str(caught.value)
    found = read_folder(tmp_path, GREY, skip_unreadable=True)
    assert found.labels is not None and found.labels.tolist() == [0, 0, 1]
    assert "1/1.png" in " ".join(found.said)


def test_a_limit_takes_from_all_classes_in_turn(tmp_path: Path) -> None:
    found = read_folder(pictures(tmp_path, "0 1 2"), GREY, limit=4)
    assert found.labels is not None and np.bincount(found.labels).tolist() == [2, 1, 1]


def test_a_folder_is_refused_where_it_gives_no_picture(tmp_path: Path) -> None:
    for shape, says in (((16,), "no image"), (GREY, "no class folders")):
        with pytest.raises(DataError, match=says) as caught:
            read_folder(tmp_path, shape)
        assert caught.value.code == "E205"
