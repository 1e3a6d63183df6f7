"""The page that shows what a spiking network does with single samples: one HTML file with the
recorded spikes in it, which its script draws step by step."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from markupsafe import Markup

from ...display import displayed, shown
from ...evaluation.watching import LayerTrace, Watched
from ...runtime.ops import Array
from . import Answer, Figure, page

BARS = 10  # outputs shown of many: those of the ANN's and the network's largest


def watch_html(found: Watched, *, network: str, data: str, command: str = "") -> str:
    """One self-contained page; its script has no other input than what stands in it. ``command``:
    what made it, as it was typed."""
    rows = [_row(found, i) for i in range(len(found.inputs))]
    left_out = [shown(name) for name in found.left_out]
    return page(
        "watch.html.j2",
        kind="watch",
        title=f"{shown(network)}: spikes, step by step",
        answer=_answer(found),
        command=command,
        data=shown(data),
        found=found,
        rows=rows,
        left_out=left_out,
        shown_layers=len(found.layers),
        outputs=found.ann.shape[1],
        shown_outputs=min(BARS, found.ann.shape[1]),
        record=Markup(_script_json(_record(found))),
    )


def _answer(found: Watched) -> Answer:
    count = len(found.inputs)
    samples = f"{count} sample{'' if count == 1 else 's'}"
    latency = Figure(name="latency", value=f"{found.latency} steps", note=f"T={found.steps}")
    if found.decided is None or found.ann_decided is None or found.settles is None:
        said = f"{samples}, step by step; the outputs are values."
        return Answer(said=(said,), figures=(latency,))
    last = found.decided[:, -1]
    same = int((last == found.ann_decided).sum())
    settled = f"T={int(np.median(found.settles))}"
    shown_figures = [Figure(name="the ANN's answer", value=f"{same} of {count}")]
    if found.labels is not None:
        right = int((last == np.asarray(found.labels).ravel()[:count]).sum())
        shown_figures.append(Figure(name="right", value=f"{right} of {count}"))
    note = f"the last at T={int(found.settles.max())}"
    shown_figures += [Figure(name="settled, median", value=settled, note=note), latency]
    said = f"After T={found.steps}, {same} of {samples} get the ANN's answer."
    return Answer(said=(said,), figures=tuple(shown_figures))


def _row(found: Watched, sample: int) -> dict[str, Any]:
    """What is said of a sample without a script."""
    if found.decided is None or found.ann_decided is None or found.settles is None:
        return {"sample": sample, "answer": f"{found.answers[sample, -1, 0]:.4g}"} | {
            "ann": f"{found.ann[sample, 0]:.4g}",
            "label": "",
            "settles": "",
        }
    return {
        "sample": sample,
        "label": "" if found.labels is None else int(found.labels[sample]),
        "ann": int(found.ann_decided[sample]),
        "answer": int(found.decided[sample, -1]),
        "settles": int(found.settles[sample]),
    }


def _record(found: Watched) -> dict[str, Any]:
    """What the script draws. Arrays are base64 in C order."""
    classes = found.decided is not None
    return displayed(
        {
            "steps": found.steps,
            "total": found.latency,
            "first": found.latency - found.steps,
            "inputs": _pictures(found.inputs),
            "classes": classes,
            "labels": None if found.labels is None else found.labels.tolist(),
            "settles": None if found.settles is None else found.settles.tolist(),
            "samples": [_answers(found, i) for i in range(len(found.inputs))],
            "layers": [_layer(layer) for layer in found.layers],
        }
    )


def _answers(found: Watched, sample: int) -> dict[str, Any]:
    """The outputs with the largest values at the end, and how they grew."""
    last, ann = found.answers[sample, -1], found.ann[sample]
    order = np.argsort(-np.maximum(last, ann), kind="stable")[:BARS]
    which = np.sort(order)
    return {
        "outputs": which.tolist(),
        "grown": np.round(found.answers[sample][:, which], 5).tolist(),
        "ann": np.round(ann[which].astype(np.float64), 5).tolist(),
    }


def _layer(layer: LayerTrace) -> dict[str, Any]:
    binary = bool(np.isin(layer.spikes, (0, 1)).all())
    packed = np.packbits(layer.spikes.astype(np.uint8)) if binary else layer.spikes
    thresholds = layer.thresholds
    low, high = layer.potentials.min(axis=2), layer.potentials.max(axis=2)
    if thresholds is not None:
        low, high = np.minimum(low, thresholds), np.maximum(high, thresholds)
    span = np.maximum(high - low, 1e-9)[..., np.newaxis]
    levels = (layer.potentials - low[..., np.newaxis]) / span * 65535
    return {
        "name": layer.name,
        "shape": list(layer.shape),
        "neurons": layer.neurons,
        "begins": layer.begins,
        "grid": list(layer.grid),
        "indices": layer.shown.tolist(),
        "binary": binary,
        "spikes": _base64(packed),
        "traced": layer.traced.tolist() if layer.potentials.size else None,
        "potentials": _base64(levels.astype("<u2")),
        "low": low.tolist(),
        "high": high.tolist(),
        "thresholds": None if thresholds is None else thresholds.astype(float).tolist(),
    }


def _pictures(inputs: Array) -> dict[str, Any]:
    """Inputs as (height, width, 1 or 3) bytes, each between its own extremes."""
    x = inputs
    if x.ndim == 4 and x.shape[1] in (1, 3):
        x = np.moveaxis(x, 1, -1)
    elif x.ndim == 4 and x.shape[-1] not in (1, 3):
        x = x.mean(axis=1)[..., np.newaxis]
    elif x.ndim == 3:
        x = x[..., np.newaxis]
    elif x.ndim != 4:
        x = x.reshape(len(x), 1, -1, 1)
    flat = x.reshape(len(x), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    span = np.maximum(high - low, 1e-9)
    levels = (flat - low[:, np.newaxis]) / span[:, np.newaxis] * 255
    return {"shape": list(x.shape[1:]), "bytes": _base64(levels.astype(np.uint8))}


def _base64(array: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _script_json(record: dict[str, Any]) -> str:
    """JSON that may stand in a script element: nothing in it can end that."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
