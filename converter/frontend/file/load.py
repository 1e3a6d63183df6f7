"""Reading an ``.onnx`` file: bytes, external data, floating-point types, inputs and outputs.

Everything a file can do wrong is found here, before ONNX Runtime sees it, and is a ModelError:

    E301  missing or unreadable file      E304  external data that is missing or leaves the folder
    E302  not an ONNX model               E305  NaN or infinity in the weights
    E303  a graph that is inconsistent    E306  shapes that are not known or do not fit
    E311  a tensor that is too large      E312  a batch axis that is fixed, or missing
    E325  a converted network, where the model it was made from is wanted
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike as OsPath
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnx

from ....display import html_table, shown, table
from ....errors import ModelError, UnsupportedOps, UsageError
from ....runtime.file import KEY
from ....runtime.ops import Array, Shape
from ....runtime.storage.reading import read_whole
from ..refusals import CONTROL, PAIRED, RECURRENT, STANDARD, custom_operations, refused
from .batch import check_one_by_one, fixed_batch, for_any_batch
from .cleanup import Sized, clean, sized
from .domains import name_standard_domain
from .external import as_inputs, attach_external_data
from .floats import widen_floats
from .functions import check_functions
from .heavy import heavy_file
from .limits import check_sizes, check_structure, check_types
from .quantized import fold_quantization, has_pairs
from .sparse import densify
from .training import training_mode

OLDEST = 7  # operation set
HEADER = ("node", "operation", "shape", "parameters")
PathLike: TypeAlias = "str | Path"
ModelSource: TypeAlias = str | OsPath[str] | bytes | onnx.ModelProto
IN_MEMORY = "model.onnx"  # what a model that came from no file is called; beside it, its weights


@dataclass(frozen=True, eq=False, kw_only=True)
class TensorInfo:
    """A network input or output.

    Attributes:
        shape: without the batch axis where ``batched``, else the ONNX shape.
        batched: whether ONNX has a batch axis in front of ``shape``.
        dtype: NumPy name of the element type in the file ("float32", "float16", ...).
    """

    name: str
    shape: Shape
    batched: bool
    dtype: str

    @property
    def onnx_shape(self) -> Shape:
        return (1, *self.shape) if self.batched else self.shape


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LoadedModel:
    """An ONNX model in memory. Printed it is one line; ``summary()`` is the table of its nodes.

    Attributes:
        path: where it came from.
        sha256: of the file (external data not included: see ``weights_sha256``).
        original: as in the file, weights attached, 16-bit and 64-bit floats as float32.
        cleaned: what the importer reads: batch size 1, static shapes, constants folded.
        inputs, outputs: in the model's order; initializers that are also inputs are left out.
        approximated: (name, op, what is left out) of nodes that the clean-up replaced by
            something simpler, or that are read as something simpler.
        training: those of them that were exported in training mode.
        weights: values of large weights, external (``external``) or in a large file (``heavy``),
            which are inputs of both graphs; empty for models of ordinary size.
        external: the files that weights were read from, each once.
    """

    path: str
    sha256: str
    original: onnx.ModelProto
    cleaned: onnx.ModelProto
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    approximated: tuple[tuple[str, str, str], ...] = ()
    training: tuple[tuple[str, str, str], ...] = ()
    weights: Mapping[str, Array] = field(default_factory=dict)
    external: tuple[Path, ...] = ()

    @cached_property
    def weights_sha256(self) -> str | None:
        """Of the files of external weights, one after the other; None where there are none. Read
        when it is asked for: such files may be large."""
        if not self.external:
            return None
        found = hashlib.sha256()
        for path in self.external:
            with path.open("rb") as file:
                while part := file.read(1 << 24):
                    found.update(part)
        return found.hexdigest()

    def content(self) -> tuple[bytes, Mapping[str, Array], tuple[TensorInfo, ...]]:
        """All that a network made from it depends on: the graph with its weights (``sha256`` knows
        nothing of external ones), the mapped weights, inputs and outputs with the shapes that
        were chosen for them."""
        graph = self.original.SerializeToString(deterministic=True)
        return graph, self.weights, (*self.inputs, *self.outputs)

    def __repr__(self) -> str:
        ends = " -> ".join(
            ", ".join(f"{shown(info.name)} {info.shape}" for info in infos)
            for infos in (self.inputs, self.outputs)
        )
        name, nodes = shown(Path(self.path).name), len(self.cleaned.graph.node)
        return f"LoadedModel({name}, {ends}, nodes: {nodes:,})"

    def summary(self) -> str:
        """Every node as the importer reads it: its operation, output's shape and parameters."""
        return f"{self!r}\n\n{table(HEADER, self._rows())}"

    def _repr_html_(self) -> str:
        return html_table(repr(self), header=HEADER, rows=self._rows())

    def _rows(self) -> list[list[str]]:
        shapes = _declared(self.cleaned)
        sizes = {i.name: int(np.prod(i.dims)) for i in self.cleaned.graph.initializer}
        sizes |= {name: weight.size for name, weight in self.weights.items()}
        rows = []
        for node in self.cleaned.graph.node:
            held = sum(sizes.get(name, 0) for name in node.input)
            shape = str(shapes.get(node.output[0], "")) if node.output else ""
            parameters = f"{held:,}" if held else ""
            rows.append([shown(node.name), shown(node.op_type), shape, parameters])
        return rows


def load_onnx(
    source: ModelSource, *, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> LoadedModel:
    """Read and clean up an ONNX model: a path, the bytes of a file, or a ModelProto, which stays
    as it is. External weights are looked for beside the file, of bytes and protos in the working
    folder.

    ``input_shapes`` gives the ONNX shape (batch axis included, its size is ignored) of inputs
    whose shape in the file is not fixed, or is that of the exporter's example.

    Raises ModelError (E301 to E306) where the file cannot be used, UnsupportedOps where it uses
    custom operations, UsageError for what is no model.
    """
    heavy = heavy_file(Path(source)) if isinstance(source, str | OsPath) else None
    path, data = content(source) if heavy is None else (heavy.path, heavy.rest)
    original = _parse(path, data)
    check_functions(original, str(path))
    custom = custom_operations(original)
    if custom:
        raise UnsupportedOps(custom, where=str(path))
    weights, external = attach_external_data(original, path)
    if heavy is not None:
        as_inputs(original.graph, heavy.mapped)
        weights |= heavy.mapped
    densify(original, str(path))
    check_structure(original, str(path), weights)
    declared = widen_floats(original)
    batch = fixed_batch(declared, weights)
    widened = declared if batch is None else for_any_batch(declared, batch)
    if has_pairs(widened):  # whose constants are computed
        probe = _sized(widened, input_shapes or {}, where=str(path), weights=weights)
        check_sizes(probe.model, str(path), weights)
    folded, notes = fold_quantization(widened)
    training = tuple(training_mode(original))
    check_types(original, str(path), weights)
    fixed = _sized(folded, input_shapes or {}, where=str(path), weights=weights)
    check_sizes(fixed.model, str(path), weights)
    if batch is not None:
        as_declared = sized(declared, input_shapes or {}, where=str(path), weights=weights)
        check_one_by_one(as_declared.model, fixed, batch, str(path), weights)
    try:
        cleaned = clean(fixed.model, where=str(path), weights=weights)
    except ModelError as error:
        raise _in_words(original, input_shapes or {}, error) from error
    shapes = _declared(cleaned)
    inputs = tuple(
        TensorInfo(
            name=name,
            shape=shape[batched:],
            batched=batched,
            dtype=_dtype(original.graph.input, name),
        )
        for name, shape, batched in fixed.inputs
    )
    batched = any(i.batched for i in inputs)
    values = (*original.graph.output, *cleaned.graph.output)
    outputs = tuple(
        _output(values, value.name, shapes[value.name], batched) for value in cleaned.graph.output
    )
    return LoadedModel(
        path=str(path),
        sha256=hashlib.sha256(data).hexdigest() if heavy is None else heavy.sha256,
        original=widened,
        cleaned=cleaned,
        inputs=inputs,
        outputs=outputs,
        approximated=(*training, *notes),
        training=training,
        weights=weights,
        external=external,
    )


def _sized(
    model: onnx.ModelProto,
    given: Mapping[str, tuple[int, ...]],
    *,
    where: str,
    weights: Mapping[str, Array],
) -> Sized:
    """``sized``; where it asks for a shape and none would make ``model`` convert, raises
    UnsupportedOps instead. What lies in branches may go, and pairs of quantization may fold."""
    try:
        return sized(model, given, where=where, weights=weights)
    except ModelError:
        maybe = (*CONTROL, *PAIRED)
        found = refused(node for node in model.graph.node if node.op_type not in maybe)
        if found and not given:
            raise UnsupportedOps(found, where=where) from None
        raise


def _in_words(
    model: onnx.ModelProto, given: Mapping[str, tuple[int, ...]], error: ModelError
) -> ModelError | UnsupportedOps:
    """``error`` of a clean-up that failed, by its cause where that is known."""
    if error.code not in ("E303", "E306"):
        return error
    found = refused(n for n in model.graph.node if n.op_type in (*CONTROL, *RECURRENT))
    if found:
        return UnsupportedOps(found, where=error.where)
    for value in model.graph.input:
        own = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        asked = given.get(value.name, own)
        if any(a and a != b for a, b in zip(own[1:], asked[1:], strict=True)):
            return ModelError(
                f"input '{value.name}' is fixed at {own} in the file, and with {asked} the model "
                f"does not run ({error.what})",
                where=error.where,
                remedy="Leave its shape out, or export the model with that one.",
                code="E306",
            )
    return _of_old_operations(model, error)


def _of_old_operations(model: onnx.ModelProto, error: ModelError) -> ModelError:
    """``error``, with the reason where ONNX Runtime refuses operations that are too old for it."""
    version = max((o.version for o in model.opset_import if o.domain in STANDARD), default=OLDEST)
    if version >= OLDEST or error.code != "E303":
        return error
    return ModelError(
        f"its operation set {version} is older than {OLDEST}, the oldest that ONNX Runtime runs "
        f"({error.what})",
        where=error.where,
        remedy="Convert it with onnx.version_converter.convert_version(model, 13) and save it.",
        code="E303",
    )


def content(source: ModelSource) -> tuple[Path, bytes]:
    """A model's name and its file's bytes. Raises as ``load_onnx`` does."""
    match source:
        case str() | OsPath():
            return Path(source), _read(Path(source))
        case bytes():
            return Path(IN_MEMORY), source
        case onnx.ModelProto():
            return Path(IN_MEMORY), _serialized(source)
    raise UsageError(
        f"a model is a path, bytes or an onnx.ModelProto, not of type {type(source).__name__}",
        remedy="Export it first: torch.onnx.export, tf2onnx.",
    )


def _serialized(model: onnx.ModelProto) -> bytes:
    try:
        return model.SerializeToString()
    except Exception as error:  # protobuf's own kinds differ between versions
        raise ModelError(
            "the ModelProto is larger than a protobuf message may be",
            remedy="Save it with onnx.save(..., save_as_external_data=True), and give the path.",
            code="E302",
        ) from error


def _read(path: Path) -> bytes:
    try:
        return read_whole(path)
    except OSError as error:
        raise ModelError(
            f"cannot read the model: {error.strerror or error}",
            where=str(path),
            remedy="Check the path.",
            code="E301",
        ) from error


def _parse(path: Path, data: bytes) -> onnx.ModelProto:
    """The model. A file that is cut off or something else fails in protobuf or has no graph."""
    remedy = "Check that it is a complete .onnx file."
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise ModelError(
            "not an ONNX model (protobuf cannot read it)",
            where=str(path),
            remedy=remedy,
            code="E302",
        ) from error
    if any(entry.key == KEY for entry in model.metadata_props):
        raise ModelError(
            "this is a converted network, not the model that it was made from",
            where=str(path),
            remedy="Give the .onnx file that was converted. Converted networks are for `run`, "
            "`place`, and `diagnose MODEL.onnx NET.snn.onnx` as its second file.",
            code="E325",
        )
    if not model.graph.node or not model.opset_import or not _readable(model.graph):
        raise ModelError(
            "not an ONNX model (no readable graph in it)",
            where=str(path),
            remedy=remedy,
            code="E302",
        )
    name_standard_domain(model)
    return model


def _readable(graph: onnx.GraphProto) -> bool:
    """Whether all names are text in UTF-8."""
    try:
        for node in graph.node:
            names = [node.name, node.op_type, node.domain, *node.input, *node.output]
            "".join((*names, *(a.name for a in node.attribute))).encode()
        "".join(v.name for v in (*graph.input, *graph.output, *graph.initializer)).encode()
    except (UnicodeError, TypeError):  # protobuf gives bytes where it is not text
        return False
    return True


def _declared(model: onnx.ModelProto) -> dict[str, Shape]:
    return {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    }


def _dtype(values: Iterable[onnx.ValueInfoProto], name: str) -> str:
    """Of the first of ``values`` that has this name and a type: outputs need not say it."""
    for value in values:
        kind = value.type.tensor_type.elem_type
        if value.name == name and kind != onnx.TensorProto.UNDEFINED:
            return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)))
    return "float32"


def _output(
    values: Iterable[onnx.ValueInfoProto], name: str, shape: Shape, batched: bool
) -> TensorInfo:
    """An output has a batch axis where the inputs have one and its first axis is 1."""
    has_batch = batched and len(shape) > 1 and shape[0] == 1
    return TensorInfo(
        name=name, shape=shape[has_batch:], batched=has_batch, dtype=_dtype(values, name)
    )
