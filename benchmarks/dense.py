"""Outputs that are no classes: a face detector, and a network that enlarges pictures.

    python benchmarks/public_models.py FOLDER --make
    python benchmarks/dense.py FOLDER --shared SHARED -o FOLDER2 [--only faces pictures]

UltraFace (SHARED/models) on photographs of 320 x 240 with faces, judged by its boxes against the
ANN's; the network inside superres_op18.onnx, cut out between its coders of pictures, on luminance
that was made three times smaller, judged by PSNR against the ANN and against the original.
Converted and run by the tool's own verbs; inputs as benchmarks/public_inputs.py makes them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import public_inputs as given
from PIL import Image
from public_models import outputs, verb

CALIBRATION, TEST = 12, 24
SIDE, TIMES = 64, 3  # of the small pictures; how much larger the others are
PRIORS = (((10, 16, 24), 8), ((32, 48), 16), ((64, 96), 32), ((128, 192, 256), 64))
WIDE, HIGH = 320, 240


def ultraface(found: list[np.ndarray], least: float = 0.6) -> list[np.ndarray]:
    """Its authors' decoding: places relative to priors, threshold 0.6, overlap 0.3; ``found``:
    logits and places."""
    priors = []
    for sizes, stride in PRIORS:
        rows, columns = -(-HIGH // stride), -(-WIDE // stride)
        for y in range(rows):
            for x in range(columns):
                centre = ((x + 0.5) * stride / WIDE, (y + 0.5) * stride / HIGH)
                priors += [(*centre, size / WIDE, size / HIGH) for size in sizes]
    prior = np.clip(priors, 0, 1)
    out = []
    for logits, places in zip(*found, strict=True):
        score = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        some = score > least
        centre = places[some, :2] * 0.1 * prior[some, 2:] + prior[some, :2]
        half = np.exp(places[some, 2:] * 0.2) * prior[some, 2:] / 2
        boxes = np.column_stack([centre - half, centre + half, score[some], 0 * score[some]])
        out.append(given.suppressed(boxes * [WIDE, HIGH, WIDE, HIGH, 1, 1], 0.3))
    return out


def faces(root: Path, shared: Path, own: Path) -> None:
    x = given.photos(root, CALIBRATION + TEST, WIDE)[:, :, (WIDE - HIGH) // 2 :][:, :, :HIGH]
    x = ((x - 127) / 128).astype(np.float32)
    np.savez(own / "faces_calib.npz", input=x[:CALIBRATION])
    np.savez(own / "faces_test.npz", input=x[CALIBRATION:])
    model = shared / "models" / "ultraface_slim320_simplified.onnx"
    for recipe, steps in (("graded", 4), ("graded", 8), ("signed", 16), ("binary", 32)):
        net = own / f"faces_{recipe}{steps}.snn.onnx"
        error, spikes = made(model, net, own / "faces", recipe=recipe, steps=steps)
        ann, snn = (outputs(f, {"input": x[CALIBRATION:]}, net, steps) for f in (model, net))
        boxes = given.matched(ultraface(ann), ultraface(snn))
        print(f"| UltraFace | {recipe} T={steps} | {boxes} | {error} | {spikes} |", flush=True)


def pictures(root: Path, shared: Path, own: Path) -> None:
    inner = own / "espcn.onnx"
    whole = onnx.load(shared / "models" / "superres_op18.onnx").graph
    kinds = ("Conv", "Relu", "DepthToSpace")
    nodes = [n for n in whole.node if n.op_type in kinds]
    held = [t for t in whole.initializer if any(t.name in n.input for n in nodes)]
    ends = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 1, "H", "W"])
        for name in ("_ppp5_expanded", "output")
    )
    graph = onnx.helper.make_graph(nodes, "espcn", *([end] for end in ends), held)
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), inner)
    photos = given.photos(root, CALIBRATION + TEST, SIDE * TIMES, faces=False)
    luminance = np.einsum("nchw,c->nhw", photos, np.array([0.299, 0.587, 0.114]))
    large = (luminance[:, None] / 255).astype(np.float32)
    small = np.stack([resized(picture[0], SIDE) for picture in large])[:, None]
    np.savez(own / "pictures_calib.npz", x=small[:CALIBRATION])
    np.savez(own / "pictures_test.npz", x=small[CALIBRATION:], y=large[CALIBRATION:])
    truth = large[CALIBRATION:]
    bicubic = np.stack([resized(p[0], SIDE * TIMES) for p in small[CALIBRATION:]])[:, None]
    print(f"bicubic: {psnr(bicubic, truth):.2f} dB to the original")
    shape = f"_ppp5_expanded:1x1x{SIDE}x{SIDE}"
    for recipe, steps in (("graded", 4), ("graded", 8), ("signed", 16), ("binary", 32)):
        net = own / f"pictures_{recipe}{steps}.snn.onnx"
        error, spikes = made(inner, net, own / "pictures", recipe=recipe, steps=steps, shape=shape)
        given_ = {"_ppp5_expanded": small[CALIBRATION:]}
        (ann,), (snn,) = (outputs(f, given_, net, steps) for f in (inner, net))
        found = f"{psnr(snn, truth):.2f} dB to the original (ANN {psnr(ann, truth):.2f})"
        found += f", {psnr(snn, ann):.2f} dB to the ANN's"
        print(f"| ESPCN | {recipe} T={steps} | {found} | {error} | {spikes} |", flush=True)


def resized(picture: np.ndarray, side: int) -> np.ndarray:
    image = Image.fromarray(picture, mode="F").resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over the pictures, of values 0 .. 1."""
    errors = ((np.clip(a, 0, 1) - np.clip(b, 0, 1)) ** 2).mean(axis=(1, 2, 3))
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-12))))


def made(
    model: Path, net: Path, data: Path, *, recipe: str, steps: int, shape: str = ""
) -> tuple[str, str]:
    """Convert to ``net`` and run it: error of the outputs, and spikes per neuron."""
    sized = ["--input-shape", shape] if shape else []
    kinds = ["--recipe", recipe, "-T", str(steps), "--allow-analog"]
    calib = ["--calib", f"{data}_calib.npz", "--force", "-o", str(net)]
    done, said, _ = verb("convert", str(model), *sized, *kinds, *calib)
    keys = ":x,y" if shape else ""
    run, more, _ = verb("run", str(net), "--data", f"{data}_test.npz{keys}", "--regression")
    if done is None or run is None:
        raise SystemExit(said + more)
    return f"{100 * run['error']:.1f} %", f"{run['spikes_per_neuron']:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=["faces", "pictures"])
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    print("| network | recipe | by its own measure | error of the outputs | spikes per neuron |")
    print("|---" * 5 + "|", flush=True)
    for part in asked.only:
        {"faces": faces, "pictures": pictures}[part](asked.folder, asked.shared, asked.output)
