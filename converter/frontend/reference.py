"""The ANN itself: ONNX Runtime on the original model, over any number of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ...errors import DataError, ModelError
from ...runtime.ops import Array
from ...spelling import spelled
from .file.cleanup import first_line, session
from .file.load import LoadedModel, PathLike, TensorInfo, load_onnx


class Reference:
    """Runs the original model; every result has one leading axis over the samples.

    A model with a dynamic batch axis runs on all samples at once; one with a fixed batch of one,
    without a batch axis, or that mixes samples runs on one after the other.
    """

    def __init__(self, source: PathLike | LoadedModel, *, threads: int = 1) -> None:
        self.model = source if isinstance(source, LoadedModel) else load_onnx(source)
        self._threads = threads
        self._sessions: dict[tuple[str, ...], Any] = {}
        self._fits: dict[tuple[str, ...], bool] = {}

    def stays_finite(self) -> bool:
        """Whether the outputs are finite numbers on some positive input, which every operation
        takes; True, too, where it does not run on what is drawn.

        Raises ModelError (E303) where ONNX Runtime does not take the model at all.
        """
        self._session(())
        rng = np.random.default_rng(0)
        for low in (0.1, 1.0):
            drawn = {
                info.name: rng.random((1, *info.shape)) * 0.9 + low for info in self.model.inputs
            }
            try:
                found = self.run(drawn)
            except ModelError:
                return True
            if all(np.isfinite(a).all() for a in found.values() if a.dtype.kind == "f"):
                return True
        return False

    def run(
        self, inputs: Array | Mapping[str, Array], tensors: Sequence[str] = ()
    ) -> dict[str, Array]:
        """The outputs, and the tensors named, for (samples, *sample shape) per input.

        Each result is (samples, *ONNX shape without its batch axis of one). Raises DataError
        where the inputs do not fit the model, ModelError for a tensor that is not in it.
        """
        feeds = self._feeds(inputs)
        names = tuple(dict.fromkeys((*(o.name for o in self.model.outputs), *tensors)))
        runner = self._session(tuple(tensors))
        single = self._one(runner, names, feeds, 0)
        count = len(next(iter(feeds.values())))
        if count == 1:
            return {name: array[None] for name, array in single.items()}
        if self._fits.get(names, True):
            batch = self._all(runner, names, feeds)
            self._fits[names] = batch is not None and _agrees(batch, single=single, count=count)
            if batch is not None and self._fits[names]:
                return batch
        rows = [single, *(self._one(runner, names, feeds, i) for i in range(1, count))]
        return {name: np.stack([row[name] for row in rows]) for name in names}

    def _feeds(self, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
        infos = self.model.inputs
        if not isinstance(inputs, Mapping):
            if len(infos) != 1:
                names = [info.name for info in infos]
                raise DataError(f"the model has {len(infos)} inputs, name them: {names}")
            inputs = {infos[0].name: inputs}
        missing = [info.name for info in infos if info.name not in inputs]
        if missing:
            raise DataError(f"no data for the inputs {missing}")
        return {info.name: _checked(info, np.asarray(inputs[info.name])) for info in infos}

    def _session(self, tensors: tuple[str, ...]) -> Any:
        if tensors not in self._sessions:
            exposed = _exposed(self.model, tensors)
            try:
                self._sessions[tensors] = session(
                    exposed, threads=self._threads, optimize="all", bounded=False
                )
            except Exception as error:
                raise self._cannot_run(error) from error
        return self._sessions[tensors]

    def _one(
        self, runner: Any, names: Sequence[str], feeds: Mapping[str, Array], index: int
    ) -> dict[str, Array]:
        batched = {info.name: info.batched for info in self.model.inputs}
        feed = dict(self.model.weights) | {
            n: x[index : index + 1] if batched[n] else x[index] for n, x in feeds.items()
        }
        drop = any(batched.values())
        try:
            arrays = runner.run(names, feed)
        except Exception as error:
            raise self._cannot_run(error) from error
        return {
            name: a[0] if drop and a.ndim > 1 and a.shape[0] == 1 else a
            for name, a in zip(names, arrays, strict=True)
        }

    def _cannot_run(self, error: Exception) -> ModelError:
        return ModelError(
            f"ONNX Runtime cannot run the model: {first_line(error)}",
            where=self.model.path,
            remedy="Run it once with onnxruntime where it was exported.",
            code="E303",
        )

    def _all(
        self, runner: Any, names: Sequence[str], feeds: Mapping[str, Array]
    ) -> dict[str, Array] | None:
        if not all(info.batched for info in self.model.inputs):
            return None
        try:
            return dict(zip(names, runner.run(names, {**self.model.weights, **feeds}), strict=True))
        except Exception:
            return None  # a fixed batch of one: run one by one


def _checked(info: TensorInfo, array: Array) -> Array:
    """The array as float32 (or the model's integer type). Raises DataError for another shape."""
    if array.shape[1:] != info.shape or not len(array):
        raise DataError(
            f"input '{info.name}' takes samples of shape {info.shape}, the data has "
            f"{array.shape[1:]} ({len(array) if array.ndim else 0} samples)",
            remedy=f"Check {spelled('layout')} and {spelled('input_shapes')}.",
        )
    kind = np.dtype(info.dtype)
    return np.ascontiguousarray(array, dtype=kind if kind.kind in "iub" else np.float32)


def _exposed(model: LoadedModel, tensors: tuple[str, ...]) -> onnx.ModelProto:
    """The original model with more outputs, its batch axes free and its other sizes as fixed."""
    graph = model.original.graph
    known = {o for node in graph.node for o in node.output} | {i.name for i in graph.input}
    unknown = [name for name in tensors if name not in known]
    if unknown:
        raise ModelError(f"no tensor is named {unknown}", where=model.path)
    out = onnx.ModelProto()
    out.CopyFrom(model.original)
    have = {o.name for o in graph.output}
    out.graph.output.extend(onnx.ValueInfoProto(name=n) for n in tensors if n not in have)
    sizes = {info.name: info for info in model.inputs}
    for value in out.graph.input:
        if value.name in sizes:
            info = sizes[value.name]
            dims = value.type.tensor_type.shape
            dims.ClearField("dim")
            for size in info.onnx_shape:
                dims.dim.add().dim_value = size
            if info.batched:
                dims.dim[0].dim_param = "onnx2snn_batch"
    for value in out.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    del out.graph.value_info[:]
    return out


def _agrees(batch: Mapping[str, Array], *, single: Mapping[str, Array], count: int) -> bool:
    """Whether the first axis of every result is the samples', and samples do not mix."""
    return all(
        batch[name].shape == (count, *one.shape)
        and np.allclose(
            batch[name][0], one, rtol=1e-3, atol=1e-4 * (1 + np.abs(one, dtype=np.float64).max())
        )
        for name, one in single.items()
    )
