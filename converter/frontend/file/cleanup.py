"""Clean-up of an ONNX model: batch size 1, static shapes, constants folded, patterns fused.

ONNX Runtime's basic optimisation (only standard operations in its output) folds constants and
shape arithmetic and fuses what it knows; onnxscript's rewrites then take what it leaves (Gemm and
BatchNormalization, Min and Max to Clip).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from ....errors import ModelError, UnsupportedOps
from ....runtime.onnx_runtime import onnx_runtime
from ....runtime.ops import Array, Shape
from ....runtime.storage.temporary import FULL, check_room, temporary_folder
from ....spelling import spelled
from ..refusals import CONTROL, RANDOM, refused
from .floats import hide_small, show, widen_floats
from .inference import inferred_shapes
from .limits import UNKNOWN, check_computed, check_inferred, without_ranges

PROBE_MEMORY = 2**30  # bytes of tensors in a session that tries something out
PROBE_CONSTANT = 2**28  # bytes of a constant that ONNX Runtime folds there
HEAVY_PROBE = 2**28  # bytes of weights from which on a session has no limit
MOST_REWRITTEN = 3000  # nodes; the rewrites take milliseconds for each, and are not needed
QUADRATIC = "SlicesSplit"  # it looks at every pair of nodes, and the importer reads slices as well
NEWEST_REWRITES = 13  # the rewrites write Clip, Squeeze, ... as this operation set has them


@dataclass(frozen=True, eq=False, kw_only=True)
class Sized:
    """A model with static input shapes; ``inputs`` are (name, ONNX shape, batched)."""

    model: onnx.ModelProto
    inputs: tuple[tuple[str, Shape, bool], ...]


def sized(
    model: onnx.ModelProto,
    input_shapes: Mapping[str, tuple[int, ...]],
    *,
    where: str,
    weights: Collection[str] = (),
) -> Sized:
    """A copy with the batch size 1 and every other input dimension as declared or given.

    ``weights`` names inputs that are weights. Any other input has a batch axis where it has two
    axes or more. A given shape is stronger than the file's sizes: networks of convolutions run on
    any, and exporters write those of their example. Raises ModelError (E306) where a dimension is
    not known, or a given shape has another number of axes.
    """
    out = onnx.ModelProto()
    out.CopyFrom(model)
    held = {t.name for t in out.graph.initializer} | set(weights)
    inputs = [v for v in out.graph.input if v.name not in held]
    unknown = set(input_shapes) - {v.name for v in inputs}
    if unknown:
        names = ", ".join(v.name for v in inputs)
        raise ModelError(
            f"no input is named {sorted(unknown)}; the inputs are {names}",
            where=where,
            code="E306",
        )
    symbols = _symbols(inputs, input_shapes)
    records = tuple(_fix(v, input_shapes.get(v.name), symbols, where) for v in inputs)
    del out.graph.value_info[:]
    for value in out.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    return Sized(model=out, inputs=records)


def _symbols(
    inputs: list[onnx.ValueInfoProto], given: Mapping[str, tuple[int, ...]]
) -> dict[str, int]:
    """Sizes of named dimensions, as the given shapes bind them."""
    return {
        d.dim_param: n
        for v in inputs
        for d, n in zip(v.type.tensor_type.shape.dim, given.get(v.name, ()), strict=False)
        if d.dim_param
    }


def _fix(
    value: onnx.ValueInfoProto,
    given: tuple[int, ...] | None,
    symbols: Mapping[str, int],
    where: str,
) -> tuple[str, Shape, bool]:
    tensor = value.type.tensor_type
    dims = [d.dim_value or symbols.get(d.dim_param, 0) for d in tensor.shape.dim]
    if given is not None:
        if len(given) != len(dims) and tensor.HasField("shape"):
            raise ModelError(
                f"input '{value.name}' has {len(dims)} axes, the given shape {given} has "
                f"{len(given)}",
                where=where,
                remedy="Give the batch axis too, as 1.",
                code="E306",
            )
        dims = list(given)
    batched = len(dims) > 1
    if batched:
        dims[0] = 1
    if (not dims and not tensor.HasField("shape")) or any(d < 1 for d in dims):
        named = "x".join(str(d.dim_value or d.dim_param or "?") for d in tensor.shape.dim)
        example = spelled("input_shapes", {value.name: _example(dims)})
        raise ModelError(
            f"the shape of input '{value.name}' is not fixed ({named or 'no shape'})",
            where=where,
            remedy=f"Give it: {example} (your sizes).",
            code="E306",
        )
    tensor.shape.ClearField("dim")
    for size in dims:
        tensor.shape.dim.add().dim_value = size
    return value.name, tuple(dims), batched


def _example(dims: list[int]) -> Shape:
    """A shape with the known sizes of ``dims``, others as images or sequences often have them."""
    usual = {4: (1, 3, 224, 224), 0: (1, 3, 224, 224)}.get(len(dims), (1, *[128] * (len(dims) - 1)))
    return tuple(d or n for d, n in zip(dims, usual, strict=True)) if dims else usual


def clean(
    model: onnx.ModelProto, *, where: str, weights: Mapping[str, Array] | None = None
) -> onnx.ModelProto:
    """The model folded, fused and with the shape of every tensor in it.

    ``weights``: values of the inputs that are weights.

    Raises ModelError (E303) where ONNX Runtime refuses the model.
    """
    # functions that ONNX Runtime inlines may compute in other floating-point types
    model = widen_floats(_rewritten(_optimized(model, where), where))
    if fold_constants(model):
        model = _rewritten(_optimized(model, where), where)
    check_inferred(model, model.graph, where, weights or ())  # before more is inferred from it
    inferred = with_shapes(model, where)
    check_inferred(inferred, inferred.graph, where, weights or ())
    if _unknown(inferred):
        if any(node.op_type in CONTROL for node in inferred.graph.node):
            # what is in it runs as often, and grows as large, as the file says
            raise UnsupportedOps(refused(inferred.graph.node), where=where)
        _measure(inferred, where, weights or {})
    check_inferred(inferred, inferred.graph, where, weights or ())
    check_computed(inferred, where)
    return inferred


def with_shapes(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """``model`` with the shapes that ONNX's inference finds."""
    out = inferred_shapes(without_ranges(model), where=where, data_prop=True)
    for node in out.graph.node:
        if node.domain == UNKNOWN:
            node.domain = ""
    kept = [o for o in out.opset_import if o.domain != UNKNOWN]
    del out.opset_import[:]
    out.opset_import.extend(kept)
    return out


def session(
    model: onnx.ModelProto, *, threads: int = 1, optimize: str = "basic", bounded: bool = True
) -> Any:
    """An ONNX Runtime session on the CPU; it prints no warnings. ``bounded``: see ``_options``."""
    return _session(model, _options(threads, optimize, bounded and _is_light(model)))


def _is_light(model: onnx.ModelProto) -> bool:
    """Whether ``PROBE_MEMORY`` is far more than the model's own weights."""
    return sum(len(t.raw_data) for t in model.graph.initializer) < HEAVY_PROBE


@cache
def _bounded_memory() -> str:
    """Where all bounded sessions of this process have their tensors, together. No child process is
    needed: ONNX Runtime refuses the allocation with an error. (What a kernel allocates for itself
    is not counted.)"""
    ort = onnx_runtime()
    info = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    as_requested = 1
    settings = {"max_mem": PROBE_MEMORY, "arena_extend_strategy": as_requested}
    ort.create_and_register_allocator(info, ort.OrtArenaCfg(settings))
    return "1"


def _options(threads: int, optimize: str, bounded: bool) -> Any:
    """``bounded``: for a graph of unknown sizes, whose tensors then have ``PROBE_MEMORY``; not
    for the user's own work, which may need as much as the machine has."""
    ort = onnx_runtime()

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    levels = {
        "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }
    options.graph_optimization_level = levels[optimize]
    if bounded:  # entries that this version of ONNX Runtime does not know are nothing to it
        options.add_session_config_entry("session.use_env_allocators", _bounded_memory())
        options.add_session_config_entry(
            "optimization.constant_folding_max_output_size_in_bytes", str(PROBE_CONSTANT)
        )
    return options


def _session(model: onnx.ModelProto, options: Any) -> Any:
    ort = onnx_runtime()

    return ort.InferenceSession(
        model.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,  # the fallback prints
    )


def _optimized(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    options = _options(1, "basic", _is_light(model))
    with temporary_folder(model.ByteSize()) as folder:
        file = folder / "optimized.onnx"
        options.optimized_model_filepath = str(file)
        try:
            _session(model, options)
            return onnx.load(str(file))
        except Exception as error:
            check_room(folder, FULL)
            raise ModelError(
                f"ONNX Runtime refuses the model: {first_line(error)}",
                where=where,
                remedy="Check it with onnx.checker.check_model and export it again.",
                code="E303",
            ) from error


def first_line(error: Exception) -> str:
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0].rstrip(".")[:300]


def _rewritten(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """onnxscript's rewrites; operation sets before 13 are left to the importer.

    The importer reads the graph as well without them, so a rewrite that fails changes nothing.
    """
    version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if version < NEWEST_REWRITES or len(model.graph.node) > MOST_REWRITTEN:
        return model
    from onnxscript import rewriter

    typed = inferred_shapes(model, where=where)
    hidden = hide_small(typed.graph)
    rules = getattr(rewriter, "_DEFAULT_REWRITE_RULES", None)  # None: all of them, and slower
    try:
        rewritten: onnx.ModelProto = rewriter.rewrite(
            typed, rules and [rule for rule in rules if rule.name != QUADRATIC]
        )
    except Exception:
        return model
    show(rewritten.graph, hidden)
    return rewritten


def fold_constants(model: onnx.ModelProto) -> bool:
    """Compute, in place, every node whose inputs are all constant and that the optimizers left.

    Returns whether there was any. Nodes that ONNX Runtime cannot run alone stay.
    """
    held = {t.name for t in model.graph.initializer}
    held |= {o for n in model.graph.node if n.op_type == "Constant" for o in n.output}
    chosen: list[onnx.NodeProto] = []
    for node in model.graph.node:
        closed = not any(a.HasField("g") for a in node.attribute)
        if closed and node.input and node.op_type not in RANDOM and held.issuperset(
            {name for name in node.input if name}
        ):  # fmt: skip
            chosen.append(node)
            held.update(node.output)
    if not chosen:
        return False
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.node[:], probe.graph.input[:], probe.graph.output[:]
    probe.graph.node.extend(n for n in model.graph.node if n.op_type == "Constant")
    probe.graph.node.extend(chosen)
    made = [o for node in chosen for o in node.output if o]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in made)
    try:
        arrays = session(probe).run(made, {})
    except Exception:
        return False
    for node in chosen:
        model.graph.node.remove(node)
    model.graph.initializer.extend(
        numpy_helper.from_array(a, name) for a, name in zip(arrays, made, strict=True)
    )
    return True


def _unknown(model: onnx.ModelProto) -> list[str]:
    """Tensors whose shape inference left open."""
    known = {
        v.name
        for v in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        if v.type.tensor_type.HasField("shape")
        and all(d.HasField("dim_value") for d in v.type.tensor_type.shape.dim)
    }
    return [o for node in model.graph.node for o in node.output if o and o not in known]


def _measure(model: onnx.ModelProto, where: str, weights: Mapping[str, Array]) -> None:
    """Fill in open shapes by running the model on zeros and on ones.

    Raises ModelError (E306) where it does not run, or a shape depends on the data.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    wanted = _unknown(model)
    have = {o.name for o in probe.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted if n not in have)
    try:
        runner = session(probe)
        arrays, others = (
            runner.run(
                wanted,
                {
                    i.name: weights.get(i.name, np.full(i.shape, fill, numpy_name(i.type)))
                    for i in runner.get_inputs()
                },
            )
            for fill in (0, 1)
        )
    except Exception as error:
        raise ModelError(
            f"the shapes of {wanted[:3]} cannot be inferred: {first_line(error)}",
            where=where,
            remedy=f"Export with fixed sizes, or give {spelled('input_shapes')}.",
            code="E306",
        ) from error
    moving = [
        n
        for n, a, b in zip(wanted, arrays, others, strict=True)
        if a.shape != b.shape or not a.size
    ]
    if moving:
        raise ModelError(
            f"the shapes of {moving[:3]} depend on the data",
            where=where,
            remedy="Export with fixed sizes.",
            code="E306",
        )
    declared = {v.name: v for v in (*model.graph.value_info, *model.graph.output)}
    for name, array in zip(wanted, arrays, strict=True):
        made = onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        if name in declared:
            declared[name].CopyFrom(made)
        else:
            model.graph.value_info.append(made)


def numpy_name(kind: str) -> str:
    """NumPy's name of a type as ONNX Runtime writes it: "tensor(float)" is "float32"."""
    names = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool"}
    return names.get(kind, kind.removeprefix("tensor(").removesuffix(")"))
