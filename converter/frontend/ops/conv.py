"""Conv and ConvTranspose over one to three spatial axes."""

from __future__ import annotations

from ....runtime import ops
from ....runtime.ops import Array, Shape
from ..builder import GraphBuilder
from ..node import NoSpikingForm, OnnxNode
from ..registry import handles

LONGEST = 2**20  # cells of padding: beyond it a file is damaged


def window(node: OnnxNode, kernel: Shape, *, spatial: Shape) -> tuple[Shape, Shape, Shape]:
    """strides, dilations and pads (begins, then ends) of a convolution or pooling node.

    ``auto_pad`` SAME gives ceil(n / stride) windows; the odd cell of padding is at the end for
    SAME_UPPER, at the beginning for SAME_LOWER.
    """
    rank = len(kernel)
    if len(spatial) != rank:
        raise NoSpikingForm(f"a kernel of {rank} axes over {len(spatial)} spatial axes")
    strides = node.ints("strides") or (1,) * rank
    dilations = node.ints("dilations") or (1,) * rank
    mode = node.text("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = node.ints("pads") or (0,) * (2 * rank)
        if min(pads) < 0 or max(pads) > LONGEST:
            raise NoSpikingForm(f"pads {pads}")
        return strides, dilations, pads
    if mode == "VALID":
        return strides, dilations, (0,) * (2 * rank)
    totals = [
        max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        for n, k, s, d in zip(spatial, kernel, strides, dilations, strict=True)
    ]
    small = tuple(t // 2 for t in totals)
    large = tuple(t - t // 2 for t in totals)
    return strides, dilations, (small + large if mode == "SAME_UPPER" else large + small)


def _weight_and_bias(graph: GraphBuilder, node: OnnxNode) -> tuple[Array, Array | None]:
    weight = graph.constant(node.input(1))
    if weight is None:
        raise NoSpikingForm("its weight is computed from the data")
    if not 3 <= weight.ndim <= 5:
        raise NoSpikingForm(f"{weight.ndim - 2} spatial axes, 1 to 3 are supported")
    if not node.input(2):
        return weight, None
    bias = graph.constant(node.input(2))
    if bias is None:
        raise NoSpikingForm("its bias is computed from the data")
    return weight, bias.reshape(-1, *(1,) * (weight.ndim - 2))


@handles("Conv", becomes="Conv synapse; bias is the neuron's current")
def conv(graph: GraphBuilder, node: OnnxNode) -> None:
    weight, bias = _weight_and_bias(graph, node)
    x = graph.with_batch(graph.value(node.input(0)))
    strides, dilations, pads = window(node, tuple(weight.shape[2:]), spatial=x.shape[1:])
    layer = ops.Conv(
        weight=weight,
        strides=strides,
        dilations=dilations,
        pads=pads,
        groups=int(node.attrs.get("group", 1)),
    )
    graph.finish(node, graph.emit(node, layer, [x], bias=bias))


@handles("ConvTranspose", becomes="ConvTranspose synapse; bias is the neuron's current")
def conv_transpose(graph: GraphBuilder, node: OnnxNode) -> None:
    weight, bias = _weight_and_bias(graph, node)
    x = graph.with_batch(graph.value(node.input(0)))
    rank = weight.ndim - 2
    strides = node.ints("strides") or (1,) * rank
    dilations = node.ints("dilations") or (1,) * rank
    extra = node.ints("output_padding") or (0,) * rank
    full = tuple(
        s * (n - 1) + d * (k - 1) + 1 + e
        for n, k, s, d, e in zip(
            x.shape[1:], weight.shape[2:], strides, dilations, extra, strict=True
        )
    )
    pads, more = _transposed_pads(node, spatial=x.shape[1:], strides=strides, full=full)
    layer = ops.ConvTranspose(
        weight=weight,
        strides=strides,
        dilations=dilations,
        pads=pads,
        output_padding=tuple(a + b for a, b in zip(extra, more, strict=True)),
        groups=int(node.attrs.get("group", 1)),
    )
    graph.finish(node, graph.emit(node, layer, [x], bias=bias))


def _transposed_pads(
    node: OnnxNode, *, spatial: Shape, strides: Shape, full: Shape
) -> tuple[Shape, Shape]:
    """What is cropped (begins, ends), and how much the full output grows where it is too small."""
    rank = len(full)
    mode = node.text("auto_pad", "NOTSET")
    wanted = node.ints("output_shape")
    if wanted is not None:
        wanted = wanted[-rank:]
    elif mode.startswith("SAME"):
        wanted = tuple(n * s for n, s in zip(spatial, strides, strict=True))
    else:
        pads = (0,) * (2 * rank) if mode == "VALID" else node.ints("pads") or (0,) * (2 * rank)
        return pads, (0,) * rank
    totals = [f - w for f, w in zip(full, wanted, strict=True)]
    crop = [max(t, 0) for t in totals]
    small = tuple(t // 2 for t in crop)
    large = tuple(t - t // 2 for t in crop)
    # ONNX: the odd cell is cropped at the end for SAME_UPPER, else at the beginning
    pads = small + large if mode == "SAME_UPPER" else large + small
    return pads, tuple(max(-t, 0) for t in totals)
