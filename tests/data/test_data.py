from pathlib import Path

import numpy as np
import pytest

from onnx2snn.data import Preprocessing, load_samples
from onnx2snn.errors import DataError, UsageError

SHAPES = {"input": (3, 4, 5)}


def save(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path / "d.npz", **arrays)
    return str(path / "d.npz")


def test_images_are_scaled_normalized_and_moved_to_channels_first(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
    pre = Preprocessing(scale=255, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), layout="NHWC")
    file = save(tmp_path, a=x, b=np.arange(6))
    samples = load_samples(f"{file}:a,b", SHAPES, pre, limit=5)
    expected = (x[:5] / 255.0 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    np.testing.assert_allclose(samples.whole()["input"], expected.transpose(0, 3, 1, 2), rtol=1e-5)
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2, 3, 4]


def test_preprocessing_survives_json() -> None:
    pre = Preprocessing(scale=255, mean=(0.1, 0.2), std=(0.5,), layout="NHWC")
    again = Preprocessing.from_json(pre.to_json())
    assert again.to_json() == pre.to_json()


def test_npy_files_and_single_arrays_need_no_key(tmp_path: Path) -> None:
    x = np.ones((2, 3, 4, 5), np.float32)
    np.save(tmp_path / "x.npy", x)
    for spec in (str(tmp_path / "x.npy"), save(tmp_path, only=x)):
        np.testing.assert_array_equal(
            load_samples(spec, SHAPES, Preprocessing()).whole()["input"], x
        )


def test_x_and_y_need_no_key(tmp_path: Path) -> None:
    x = np.ones((2, 3, 4, 5), np.float32)
    samples = load_samples(save(tmp_path, x=x, y=np.array([1, 0])), SHAPES, Preprocessing())
    assert samples.labels is not None and samples.labels.tolist() == [1, 0]


def test_of_test_and_calibration_data_none_is_guessed(tmp_path: Path) -> None:
    x = np.ones((2, 3, 4, 5), np.float32)
    with pytest.raises(DataError, match="holds several arrays") as caught:
        load_samples(save(tmp_path, x_test=x, x_calib=x), SHAPES, Preprocessing())
    assert caught.value.code == "E203"


def test_several_inputs_are_read_by_name(tmp_path: Path) -> None:
    file = save(tmp_path, a=np.zeros((2, 3)), b=np.ones((2, 4)))
    samples = load_samples(file, {"a": (3,), "b": (4,)}, Preprocessing())
    assert {k: v.shape for k, v in samples.whole().items()} == {"a": (2, 3), "b": (2, 4)}


def test_a_limit_keeps_the_first_or_is_spread_over_all(tmp_path: Path) -> None:
    shape = (1, 2, 2)
    x = np.arange(10, dtype=np.float32)[:, None, None, None] * np.ones(shape, np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(10))
    for spread, kept in ((False, [0, 1, 2, 3]), (True, [0, 3, 6, 9])):
        spec = str(tmp_path / "d.npz")
        found = load_samples(spec, {"i": shape}, Preprocessing(), limit=4, spread=spread)
        assert found.labels is not None and found.labels.tolist() == kept
        assert found.arrays["i"][:, 0, 0, 0].tolist() == kept


def test_a_folder_of_class_folders_is_a_data_set(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for i, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        for j in range(2):
            picture = image.new("RGB", (10, 8), (i * 100, j, 0))
            picture.save(tmp_path / name / f"{j}.png")
    samples = load_samples(str(tmp_path), SHAPES, Preprocessing(layout="NHWC"))
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 0, 1, 1]
    assert samples.whole()["input"][2:, 0].min() == 100


BAD = {
    "missing key": ("{f}:nope", "E203"),
    "missing label key": ("{f}:images,nope", "E203"),
    "several arrays, no key": ("{f}", "E203"),
    "wrong shape": ("{f}:small", "E212"),
    "text": ("{f}:text", "E206"),
    "no samples": ("{f}:empty", "E213"),
    "labels of another length": ("{f}:images,labels", "E207"),
    "no file": ("{f}.missing:images", "E201"),
    "nothing": ("", "E201"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_data_is_refused_with_a_code_and_where(case: str, tmp_path: Path) -> None:
    file = save(
        tmp_path,
        images=np.zeros((2, 3, 4, 5)),
        labels=np.zeros(3),
        small=np.zeros((2, 3)),
        text=np.array(["a"]),
        empty=np.zeros((0, 3, 4, 5)),
    )
    spec, code = BAD[case]
    with pytest.raises(DataError) as error:
        load_samples(spec.format(f=file), SHAPES, Preprocessing())
    assert error.value.code == code
    assert error.value.where
    assert error.value.remedy or code in ("E206", "E213", "E207")


def test_a_wrong_layout_is_named_in_the_remedy(tmp_path: Path) -> None:
    file = save(tmp_path, x=np.zeros((2, 4, 5, 3)))
    with pytest.raises(DataError, match='Try layout="NHWC"'):
        load_samples(f"{file}:x", SHAPES, Preprocessing())


def test_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = Path(save(tmp_path, x=np.zeros((2, 3, 4, 5)))).read_bytes()
    for content in (whole[: len(whole) // 2], b"not an archive", b""):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataError) as error:
            load_samples(f"{tmp_path / 'bad.npz'}:x", SHAPES, Preprocessing())
        assert error.value.code == "E202"


def test_values_that_are_not_finite_are_refused_when_used(tmp_path: Path) -> None:
    x = np.zeros((4, 3, 4, 5), np.float32)
    x[3, 0, 0, 0] = np.nan
    samples = load_samples(f"{save(tmp_path, x=x)}:x", SHAPES, Preprocessing())
    samples.batch(0, 3)
    with pytest.raises(DataError, match="NaN or infinite"):
        samples.batch(2, 4)


def test_nonsense_preprocessing_is_refused() -> None:
    with pytest.raises(UsageError):
        Preprocessing(scale=0)
    with pytest.raises(DataError, match="2 values, the data has 3 channels"):
        Preprocessing(mean=(1, 2)).apply(np.zeros((1, 3, 2, 2)))
