"""check, ops, doctor: what converts, and what is installed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from .. import api
from ..converter import frontend
from ..display import counted
from ..errors import UsageError, did_you_mean
from ..reports import documents, inspection
from ..reports import text as render
from ..results import claim_file
from ..results.marks import Kind
from . import files
from . import options as opt
from .help import Verb, glossary

PATH = click.Path(path_type=Path)
NEEDED = (
    "numpy",
    "onnx",
    "onnxruntime",
    "onnx-ir",
    "onnxscript",
    "click",
    "threadpoolctl",
    "jinja2",
)
# Package -> what it adds, and how it is installed.
OPTIONAL = {
    "matplotlib": ("pictures", "pip install 'onnx2snn[plot]'"),
    "pillow": ("folders of images as data", "pip install 'onnx2snn[images]'"),
    "numba": ("layers driven by their spikes", "pip install 'onnx2snn[fast]'"),
    "pandas": ("tables of results in Python", "pip install 'onnx2snn[tables]'"),
    "nir": ("export to and import from NIR", "pip install 'onnx2snn[nir]'"),
    "distributed": ("sweeps on a Dask cluster", "pip install 'onnx2snn[distributed]'"),
    "torch": ("the engine torch: on a GPU", "pip install 'onnx2snn[torch]'"),
    "xylosim": ("live comparison with the vendor's Xylo simulator", "see docs/placement.md"),
}

OTHERS = (
    "Every other deterministic, stateless operation of the ONNX standard runs as an analog island, "
    "in floating point, and cannot be placed on a chip; `onnx2snn check` says what becomes of each "
    "node of a model. Operations of custom domains are refused."
)


def installed(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@click.command(cls=Verb)
@opt.json_option
def doctor(as_json: bool) -> None:
    """What is installed, and what each missing extra would add. Exit 1 if something needed is
    missing."""
    from threadpoolctl import threadpool_info

    packages: list[dict[str, Any]] = [
        *({"package": p, "version": installed(p), "needed": True} for p in NEEDED),
        *({"package": p, "version": installed(p), "needed": False} for p in OPTIONAL),
    ]
    blas = [
        {k: str(info.get(k)) for k in ("internal_api", "version", "architecture", "num_threads")}
        for info in threadpool_info()
    ]
    document = {
        "schema": "onnx2snn.doctor/1",
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        "blas": blas,
    }
    opt.emit(document, as_json, _doctor_text, document, then=("demo",))
    if any(p["version"] is None and p["needed"] for p in packages):
        raise SystemExit(1)


def _doctor_text(document: dict[str, Any]) -> str:
    rows = []
    for p in document["packages"]:
        use, how = OPTIONAL.get(p["package"], ("needed", "pip install onnx2snn"))
        rows.append([p["package"], p["version"] or "missing", use, "" if p["version"] else how])
    libraries = "; ".join(
        f"{b['internal_api']} {b['version']} ({b['architecture']}, "
        f"{counted(int(b['num_threads']), 'thread')})"
        for b in document["blas"]
    )
    missing = [p for p in document["packages"] if p["version"] is None]
    needed = [p["package"] for p in missing if p["needed"]]
    extras = [p["package"] for p in missing if not p["needed"]]
    answer = f"Missing: {', '.join(needed)}." if needed else "All that is needed is installed."
    if extras:
        answer += f" Extras that are not: {', '.join(extras)}."
    return (
        f"{answer}\n\n"
        f"{render.table(['package', 'version', 'for', 'to install'], rows)}\n\n"
        f"Python {document['python']}, {document['machine']}; BLAS: {libraries or 'unknown'}"
    )


@click.command(cls=Verb)
@click.argument("model", type=PATH)
@click.option(
    "--tagged", type=files.OUTPUT, metavar="OUT.onnx", help="Write the graph with verdicts."
)
@files.force_option
@opt.shape_option
@opt.verbose_option
@opt.json_option
def check(
    *,
    model: Path,
    tagged: Path | None,
    force: bool,
    input_shapes: tuple[str, ...],
    verbose: bool,
    as_json: bool,
) -> None:
    """What becomes of every node of MODEL.onnx. Exit status 1 if it does not convert."""
    shapes = opt.parse_shapes(input_shapes)
    results = None
    if tagged is not None:
        results = claim_file(tagged, Kind.TAGGED, inputs=files.read_by([model]), force=force)
    report = frontend.check_file(model, input_shapes=shapes)
    api.refuse_infinite(report)
    chips = api.chips_for(report.graph) if report.graph is not None else {}
    if tagged is not None and results is not None:
        results.write(tagged.name, frontend.tagged_bytes(report))
    document = documents.check(report, chips)
    then = ("verify", model) if report.convertible else ("ops",)
    opt.emit(document, as_json, inspection.check_text, report, chips, verbose, then=then)
    if not report.convertible:
        raise SystemExit(1)


@click.command(cls=Verb)
@opt.json_option
def ops(as_json: bool) -> None:
    """Which ONNX operations convert, and into what; which are refused, and what to do instead."""
    table = frontend.operations()
    spiking = [[r.op, r.becomes] for r in table if r.verdict == "spiking"]
    refused = [[r.op, r.becomes, r.remedy] for r in table if r.verdict == "unsupported"]
    document = {
        "schema": "onnx2snn.ops/1",
        "operations": dict(spiking),
        "refused": [
            {"operation": op, "because": why, "instead": remedy} for op, why, remedy in refused
        ],
        "others": OTHERS,
    }
    opt.emit(document, as_json, _ops_text, spiking, refused, then=("check", "--help"))


def _ops_text(spiking: list[list[str]], refused: list[list[str]]) -> str:
    return (
        f"{render.table(['operation', 'becomes'], spiking)}\n\n"
        f"{render.table(['refused', 'because', 'instead'], refused)}\n\n{OTHERS}"
    )


@click.command(cls=Verb)
@click.argument("words", nargs=-1, metavar="[WORD...]")
@opt.json_option
def explain(words: tuple[str, ...], as_json: bool) -> None:
    """What a word of the reports means; without WORD, all of them."""
    # One term of several words, or several terms.
    whole = glossary.meant(" ".join(words))
    named = {word: glossary.meant(word) for word in words} if whole is None else {"": whole}
    for word, name in named.items():
        if name is None:
            unknown = " ".join(words) if not any(named.values()) else word
            raise UsageError(
                f"no explanation of '{unknown}'",
                remedy=did_you_mean(unknown, glossary.TERMS),
                code="E120",
            )
    chosen = [name for name in named.values() if name is not None] or list(glossary.TERMS)
    found = {name: glossary.TERMS[name] for name in chosen}
    document = {"schema": "onnx2snn.explain/1", "terms": found}
    then = ("explain",) if words else ("demo",)
    opt.emit(document, as_json, _terms_text, found, then=then)


def _terms_text(terms: dict[str, str]) -> str:
    return "\n".join(f"{name}: {text}" for name, text in terms.items())


COMMANDS: tuple[click.Command, ...] = (check, ops, explain, doctor)
