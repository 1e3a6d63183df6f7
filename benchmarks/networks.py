"""Networks for the benchmarks: ANN (as an ONNX file), its spiking network, and samples.

Real ones come from a folder with ``models/*.onnx`` and ``data/*.npz`` (``--shared``); the bundled
digit networks and the random ones need nothing.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from accuracy import CIFAR, IMAGENET, MNIST
from onnx import TensorProto, helper, numpy_helper

import onnx2snn
from onnx2snn import Preprocessing
from onnx2snn.runtime.graph import SpikingGraph

REAL = {
    "resnet20": ("resnet20.onnx", "cifar10.npz", CIFAR),
    "resnet32": ("resnet32.onnx", "cifar10.npz", CIFAR),
    "lenet": ("mnist_lenet_avgpool.onnx", "mnist.npz", MNIST),
    "mlp": ("mnist_mlp.onnx", "mnist.npz", MNIST),
    "kws": ("kws_dscnn.onnx", "kws_dscnn.npz", Preprocessing()),
}
LARGE = {"efficientnet": ("efficientnet_lite0.onnx", "imagenet_sample.npz", IMAGENET)}  # if named
STEPS = 32  # that networks are converted for
RANDOM = ("vgg16_random", "resnet20_random")
BUNDLED = Path(__file__).parents[1] / "models"


@dataclass(frozen=True, eq=False)
class Network:
    """``model``: the ANN's file; ``x`` (samples, *shape) preprocessed; ``labels`` or None."""

    name: str
    model: Path
    graph: SpikingGraph
    x: np.ndarray
    labels: np.ndarray | None


def available(shared: Path | None) -> list[str]:
    return [*(REAL if shared else ()), *RANDOM]


def load(
    name: str, batch: int, shared: Path | None, steps: int = STEPS, tune: bool = False, **options
) -> Network:
    """One network with ``batch`` samples, thresholds chosen for ``steps`` steps (MMSE), or
    calibrated in the spiking loop (``tune``), which changes numbers but not the work of a step.
    ``options`` of the conversion: recipe, lag, copies."""
    # One neuron per value everywhere: what the peers simulate.
    options = {"copies": 1, **options, "steps": steps, "tune": tune}
    if name in RANDOM:
        return _random(name, batch, options)
    if shared is None:
        raise SystemExit(f"'{name}' needs --shared FOLDER with models/ and data/")
    file, data, preprocessing = {**REAL, **LARGE}[name]
    path, data_path = shared / "models" / file, shared / "data" / data
    model = onnx2snn.load_onnx(path)
    calibration = onnx2snn.load_samples(f"{data_path}:x_calib", model, preprocessing, limit=256)
    graph = onnx2snn.convert(model, calibration, **options)
    test = onnx2snn.load_samples(f"{data_path}:x_test,y_test", model, preprocessing, limit=batch)
    return Network(name, path, graph, next(iter(test.whole().values())), test.labels)


def _random(name: str, batch: int, options: dict) -> Network:
    path = Path(tempfile.mkdtemp()) / f"{name}.onnx"
    layers = VGG16 if name.startswith("vgg16") else RESNET20
    onnx.save(random_network(layers), path)
    x = np.random.default_rng(1).normal(size=(batch + 64, 3, 32, 32)).astype(np.float32)
    graph = onnx2snn.convert(onnx2snn.load_onnx(path), x[batch:], **options)
    return Network(name, path, graph, x[:batch], None)


VGG16 = [64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P"]
RESNET20 = [16, *["R16"] * 3, "S32", *["R32"] * 2, "S64", *["R64"] * 2, "P8"]


def random_network(layers: list, size: int = 32, channels: int = 3, seed: int = 0):
    """An ONNX model with He-initialised weights. 64: conv + ReLU; "P": average pool of 2 (or
    "P8": of 8); "R64": residual block of two convs; "S64": conv of stride 2 + ReLU."""
    net = _Emitter(seed)
    x, shape = "input", (channels, size, size)
    for layer in layers:
        text = str(layer)
        if text[0] == "P":
            window = int(text[1:] or 2)
            x = net.add("AveragePool", [x], kernel_shape=[window] * 2, strides=[window] * 2)
            shape = (shape[0], shape[1] // window, shape[2] // window)
        elif text[0] == "R":
            inner = net.add("Relu", [net.conv(x, shape[0], int(text[1:]))])
            total = net.add("Add", [net.conv(inner, int(text[1:]), int(text[1:]), gain=0.5), x])
            x = net.add("Relu", [total])
        else:
            stride = 2 if text[0] == "S" else 1
            out = int(text.lstrip("S"))
            x = net.add("Relu", [net.conv(x, shape[0], out, stride=stride)])
            shape = (out, shape[1] // stride, shape[2] // stride)
    flat = net.add("Flatten", [x])
    weight = net.constant((10, int(np.prod(shape))), np.prod(shape))
    net.nodes.append(helper.make_node("Gemm", [flat, weight], ["logits"], transB=1))
    return net.model((channels, size, size))


class _Emitter:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list = []
        self.constants: list = []

    def add(self, op: str, inputs: list[str], **attributes) -> str:
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], name=out, **attributes))
        return out

    def constant(self, shape, fan_in, gain: float = 1.0) -> str:
        name = f"w{len(self.constants)}"
        values = self.rng.normal(0, gain * (2 / fan_in) ** 0.5, shape).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def conv(self, x: str, inside: int, out: int, stride: int = 1, gain: float = 1.0) -> str:
        weight = self.constant((out, inside, 3, 3), inside * 9, gain)
        return self.add("Conv", [x, weight], pads=[1] * 4, strides=[stride] * 2)

    def model(self, shape):
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
