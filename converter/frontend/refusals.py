"""Operations that cannot become part of a spiking network in any form, and what to do instead.

Everything else that is deterministic and stateless runs as an analog island.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from .node import OnnxNode

CONTROL = ("If", "Loop", "Scan")
RECURRENT = ("LSTM", "GRU", "RNN")
RANDOM = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
          "Bernoulli")  # fmt: skip
SEQUENCES = ("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
             "SequenceLength", "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional",
             "OptionalGetElement", "OptionalHasElement")  # fmt: skip
STRINGS = ("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer",
           "LabelEncoder", "ImageDecoder")  # fmt: skip
INTEGER = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
PAIRED = ("QuantizeLinear", "DequantizeLinear")
OPEN_SIZE = ("NonZero", "Unique", "NonMaxSuppression", "Compress")

FLOAT_MODEL = "Export the float model, before quantization."
REASONS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(CONTROL, ("control flow", "Export with fixed sizes, without branches.")),
    **dict.fromkeys(
        RECURRENT,
        ("it keeps state over a sequence", "Use convolutions or attention."),
    ),
    **dict.fromkeys(RANDOM, ("its output is random", "Export the model after model.eval().")),
    **dict.fromkeys(SEQUENCES, ("sequences and optionals are not tensors", "Return tensors.")),
    **dict.fromkeys(STRINGS, ("strings and media are not numbers", "Do it before the model.")),
    **dict.fromkeys(INTEGER, ("quantized integer arithmetic", FLOAT_MODEL)),
    **dict.fromkeys(
        PAIRED,
        ("quantized integer arithmetic, where it is not a pair that folds to floats", FLOAT_MODEL),
    ),
    **dict.fromkeys(OPEN_SIZE, ("its output has no fixed size", "Do it after the model.")),
}
STANDARD = ("", "ai.onnx")
CUSTOM = "Replace it by standard operations, or export without it."


def refusal(node: OnnxNode) -> tuple[str, str] | None:
    """(reason, remedy) for a node that is not supported at all, None for one that may be analog."""
    if node.domain not in STANDARD:
        quantized = node.op.startswith(("QLinear", "QGemm", "QAttention", "Quantize"))
        remedy = FLOAT_MODEL if quantized else CUSTOM
        return f"an operation of the custom domain '{node.domain}'", remedy
    return REASONS.get(node.op)


def custom_operations(model: onnx.ModelProto) -> list[tuple[str, str, str]]:
    """(name, op, reason) of all nodes that are refused, where some are in a domain that neither
    ONNX nor the file defines; empty where none is."""
    local = {(f.domain, f.name) for f in model.functions}
    others = [node for node in model.graph.node if (node.domain, node.op_type) not in local]
    custom = any(node.domain not in STANDARD for node in others)
    return refused(others) if custom else []


def refused(nodes: Iterable[onnx.NodeProto]) -> list[tuple[str, str, str]]:
    """(name, op, reason) of those that are not supported at all."""
    found = []
    for proto in nodes:
        node = OnnxNode(
            name=proto.name or next((o for o in proto.output if o), proto.op_type),
            op=proto.op_type,
            domain=proto.domain,
            inputs=(),
            outputs=(),
        )
        said = refusal(node)
        if said:
            found.append((node.name, node.op, f"{said[0]}. {said[1]}"))
    return found
