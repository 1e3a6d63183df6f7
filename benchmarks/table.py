"""The tables of docs/performance.md from the results of ``all.py``.

python benchmarks/table.py FOLDER
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ENGINES = ("numpy", "fast", "fast+numba", "torch")
PEERS = ("spikingjelly", "spikingjelly-multi", "spikingjelly-compiled", "sinabs")


def read(folder: Path, name: str) -> dict:
    for suffix in ("", ".partial"):
        path = folder / f"{name}.json{suffix}"
        if path.exists():
            return json.loads(path.read_text())
    return {}


def line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def speed(folder: Path) -> list[str]:
    names = ("resnet20", "resnet20_T128", "small", "kws", "vgg", "recipes")
    rows = [row for name in names for row in read(folder, name).get("results", [])]
    head = ("network", "batch", "T", "ANN, ms per image", *ENGINES, *PEERS, "fastest peer")
    out = [line(*head), line(*["---"] * len(head))]
    for row in sorted(rows, key=lambda r: (r["network"], r["T"])):
        ratios = row["ratio_to_T_times_ann"]
        cells = [
            f"{ratios[n]:.2f} ({min(row['all_ratios'][n]):.2f} to {max(row['all_ratios'][n]):.2f})"
            if n in ratios
            else "-"
            for n in (*ENGINES, *PEERS)
        ]
        peers = [ratios[n] for n in PEERS if n in ratios]
        there = [n for n in ENGINES if n in ratios and peers]
        gain = ", ".join(f"{min(peers) / ratios[n]:.2f} x {n}" for n in there) or "-"
        ann = row["ms_per_image_and_step"]["ann"]
        lag = f"lag {row['lag']}" if "lag" in row else "binary"
        name = f"{row['network']} {row.get('recipe', lag)}"
        out.append(line(name, row["batch"], row["T"], f"{ann:.4f}", *cells, gain))
    out.append("")
    for row in rows:
        same = ", ".join(f"{n} {a:.3f}" for n, a in row["accuracy"].items())
        out.append(f"{row['network']} T={row['T']}: accuracy {same}, repeats {row['repeats']}")
    return out


def memory(folder: Path) -> list[str]:
    head = ("engine", "batch", "T", "peak MiB", "before", "forked", "together")
    out = [line(*head), line(*["---"] * len(head))]
    for row in read(folder, "memory").get("results", []):
        peak, before = row["peak"] / 2**20, row["before"] / 2**20
        forked = row.get("forked", 0) / 2**20
        cells = (f"{number:.0f}" for number in (peak, before, forked, peak + forked))
        out.append(line(row["engine"], row["batch"], row["T"], *cells))
    return out


def layers(folder: Path) -> list[str]:
    found = read(folder, "layers")
    out = [json.dumps(found.get("machine", {}), indent=1), ""]
    head = (
        "network and engine",
        "us per image and step",
        "products",
        "copies",
        "neurons",
        "counts",
    )
    out += [line(*head, "GFLOP/s"), line(*["---"] * (len(head) + 1))]
    for name, row in found.get("profiles", {}).items():
        parts = [row[part] for part in ("synapse", "copies", "neuron", "counting")]
        shares = [f"{part / row['total_us']:.0%}" for part in parts]
        rates = [layer["gflops"] for layer in row["layers"] if layer["gflops"] > 1]
        span = f"{min(rates):.0f} to {max(rates):.0f}"
        out.append(line(name, f"{row['total_us']:.1f}", *shares, span))
    for name, row in found.get("profiles", {}).items():
        if name.startswith("resnet20"):
            out += ["", name]
            for layer in row["layers"]:
                parts = [f"{layer[p]:.1f}" for p in ("synapse", "copies", "neuron", "counting")]
                out.append(line(layer["layer"], *parts, f"{layer['gflops']:.0f}"))
    return out


def rest(folder: Path) -> list[str]:
    out = []
    for name in ("early_exit", "sweep", "sparsity", "scaling", "machine"):
        document = read(folder, name)
        out += ["", f"## {name}", json.dumps(document, indent=None)]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    loads = {p.stem: json.loads(p.read_text()).get("load_before") for p in folder.glob("*.json")}
    print("load before each part:", loads)
    print(json.dumps(read(folder, "resnet20").get("versions", {})))
    for part in (speed, memory, layers, rest):
        print("\n".join(part(folder)), "\n")


if __name__ == "__main__":
    main()
