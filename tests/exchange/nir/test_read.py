"""NIR files in: ours come back as they were, others mean what NIR says, bad ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import onnx2snn
from exchange.nir.nets import hard, residual
from exchange.nir.test_write import PARAMS
from onnx2snn.cli import main
from onnx2snn.errors import ModelError, Onnx2SnnError, UsageError
from onnx2snn.exchange.counts import count
from onnx2snn.runtime import graph as snn

nir = pytest.importorskip("nir")
h5py = pytest.importorskip("h5py")


@pytest.mark.parametrize("params", [*PARAMS, "hard"])
def test_a_file_of_ours_comes_back_and_does_the_same(params: str, tmp_path: Path) -> None:
    made = residual(np.random.default_rng(8), **PARAMS.get(params, {}))
    network = hard(made) if params == "hard" else made
    onnx2snn.export(network, tmp_path / "n.nir", to="nir", approximate=params != "hard")
    again = onnx2snn.import_network(tmp_path / "n.nir")
    x = np.random.default_rng(0).random((3, 1, 6, 6), np.float32)
    wanted, found = (count(n, {"x": x}, 6) for n in (network, again))
    assert again.meta["T"] == 6 and again["x"].encoding == network["x"].encoding  # type: ignore[union-attr]
    for name, spikes in wanted.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], spikes, err_msg=name)
    np.testing.assert_array_equal(found.answers["out"], wanted.answers["out"])


def chain(**nodes: Any) -> Any:
    """A graph of these nodes one after the other, between an input and an output."""
    names = list(nodes)
    return nir.NIRGraph(nodes=nodes, edges=list(pairwise(names)), type_check=False)


def ends(inputs: tuple[int, ...], outputs: tuple[int, ...]) -> tuple[Any, Any]:
    return (
        nir.Input(input_type={"input": np.array(inputs)}),
        nir.Output(output_type={"output": np.array(outputs)}),
    )


def neurons(count: int, **more: Any) -> Any:
    one = np.ones(count, np.float32)
    return nir.IF(**{"r": one, "v_threshold": one, "v_reset": 0 * one, **more})


def test_a_file_of_another_tool_means_what_nir_says(tmp_path: Path) -> None:
    """Against a loop: LIF with a resistance and a leak voltage behind an affine map, and IF behind
    an average pool."""
    first, last = ends((1, 4, 4), (2,))
    two = np.ones(2, np.float32)
    weight = (np.arange(8).reshape(2, 4) / 8 - 0.25).astype(np.float32)
    bias = np.array([0.5, -0.25], np.float32)
    pair = np.array([2, 2])
    graph = chain(
        first=first,
        pool=nir.AvgPool2d(kernel_size=pair, stride=pair, padding=np.array([0, 0])),
        flat=nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array([1, 2, 2])}),
        fc=nir.Affine(weight=weight, bias=bias),
        lif=nir.LIF(tau=two * 4, r=two * 2, v_leak=two / 2, v_threshold=two / 2, v_reset=two / 8),
        last=last,
    )
    nir.write(tmp_path / "n.nir", graph)
    with pytest.raises(UsageError, match=r"'lif' has a time.*dt"):
        onnx2snn.import_network(tmp_path / "n.nir")
    network = onnx2snn.import_network(tmp_path / "n.nir", steps=12, dt=1.0)
    x = np.random.default_rng(1).random((2, 1, 4, 4), np.float32)
    current = x.reshape(2, 2, 2, 2, 2).mean(axis=(2, 4)).reshape(2, 4) @ weight.T + bias
    v, fired = np.full((2, 2), 1 / 8), np.zeros((2, 2))
    for _ in range(12):
        v = v + (0.5 - v + 2 * current) / 4
        spikes = v >= 0.5
        v, fired = np.where(spikes, 1 / 8, v), fired + spikes
    done = count(network, {"first": x}, 12)
    np.testing.assert_array_equal(done.spikes["lif"], fired)
    assert 0 < fired.sum() < fired.size * 12
    np.testing.assert_allclose(done.answers["last"], fired / 12)


def small(**changed: Any) -> Any:
    first, last = ends((3,), (2,))
    weight = np.ones((2, 3), np.float32)
    zero = np.zeros(2, np.float32)
    return chain(
        first=first, fc=nir.Affine(weight=weight, bias=zero), cells=neurons(2, **changed), last=last
    )


def _stored(change: Callable[[Any], None], graph: Any = None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        nir.write(path, graph or small())
        with h5py.File(path, "r+") as file:
            change(file["node"])

    return write


def _edges(pairs: list[tuple[str, str]]) -> Callable[[Any], None]:
    def change(node: Any) -> None:
        del node["edges"]
        node["edges"] = np.array(pairs, dtype=h5py.string_dtype())

    return change


def _replaced(path: str, value: Any = None, **how: Any) -> Callable[[Any], None]:
    def change(node: Any) -> None:
        del node[path]
        node.create_dataset(path, data=value, **how)

    return change


def _linked(node: Any) -> None:
    del node["nodes/fc/weight"]
    node["nodes/fc/weight"] = h5py.ExternalLink("elsewhere.h5", "/x")


def _padded(pad: int) -> Any:
    first, last = ends((1, 4, 4), (1, 4, 4))
    conv = nir.Conv2d(
        input_shape=(4, 4), weight=np.ones((1, 1, 1, 1), np.float32), stride=2**40, padding=pad,
        dilation=1, groups=1, bias=np.zeros(1, np.float32),
    )  # fmt: skip
    return chain(first=first, conv=conv, last=last)


GOOD = [("first", "fc"), ("fc", "cells"), ("cells", "last")]
NAN = np.array([np.nan, 1], np.float32)
BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "not hdf5": (lambda p: p.write_bytes(b"\x89HDF" + bytes(100)), "not HDF5"),
    "another hdf5": (lambda p: h5py.File(p, "w").close(), "no graph"),
    "unknown kind": (_stored(_replaced("nodes/cells/type", "Cuba2")), "node 'cells': 'Cuba2'"),
    "known but not read": (_stored(_replaced("nodes/cells/type", "CubaLIF")), "node 'cells'"),
    "cycle": (_stored(_edges([*GOOD, ("cells", "fc")])), "node '(fc|cells)': on a cycle"),
    "no such node": (_stored(_edges([*GOOD, ("none", "fc")])), "node 'none': an edge"),
    "loose": (_stored(_edges([GOOD[0], GOOD[2]])), "node 'cells': nothing leads to it"),
    "twice": (_stored(_edges([*GOOD, GOOD[0]])), "node 'fc': reads 'first' by two"),
    "no edges": (_stored(_edges([])), "node 'cells'|node 'fc'|node 'last'"),
    "wrong shape": (
        _stored(_replaced("nodes/fc/weight", np.ones((2, 5), np.float32))),
        "node 'fc': Linear takes 5 features",
    ),
    "neurons of another shape": (
        _stored(_replaced("nodes/cells/v_threshold", np.ones(7, np.float32))),
        "node 'cells'",
    ),
    "not finite": (_stored(_replaced("nodes/fc/bias", NAN)), "node 'fc': 'bias' has values"),
    "text": (_stored(_replaced("nodes/fc/bias", "evil")), "node 'fc'"),
    "no weight": (
        _stored(lambda n: n.__delitem__("nodes/fc/weight")),
        "node 'fc': a damaged Affine",
    ),
    "short bias": (
        _stored(_replaced("nodes/fc/bias", np.ones(1, np.float32))),
        "node 'fc': a bias",
    ),
    "huge": (
        _stored(
            _replaced("nodes/fc/weight", None, shape=(2**20, 2**20), dtype="f4", chunks=(1, 64))
        ),
        "node 'fc': 'weight' of shape .* is too large",
    ),
    "huge input": (
        _stored(_replaced("nodes/first/shape", np.array([2**30, 2**30]))),
        "node 'first'",
    ),
    "a type, no data": (
        _stored(lambda n: n.__setitem__("nodes/fc/more", np.dtype("f4"))),
        "node 'fc': 'more' is neither",
    ),
    "huge padding": (
        lambda p: nir.write(p, _padded(2**40)),
        "node 'conv': padding of",
    ),
    "elsewhere": (_stored(_linked), "node 'fc': 'weight' is a link"),
    "no threshold": (
        lambda p: nir.write(p, small(v_threshold=np.zeros(2, np.float32))),
        "node 'cells'",
    ),
    "several resets": (
        lambda p: nir.write(p, small(v_reset=np.array([0, 0.5], np.float32))),
        "node 'cells': neurons with several v_reset",
    ),
    "damaged metadata": (
        _stored(lambda n: n.create_dataset("metadata/onnx2snn", data="{")),
        "metadata 'onnx2snn' are damaged",
    ),
    "metadata of none": (
        _stored(lambda n: n.create_dataset("metadata/onnx2snn", data='{"nodes": {"z": {}}}')),
        "node 'z'",
    ),
    "a wrong word": (
        _stored(
            lambda n: n.create_dataset(
                "metadata/onnx2snn", data=json.dumps({"nodes": {"cells": {"reset": "evil"}}})
            )
        ),
        "node 'cells': reset must be",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_one_message_that_names_the_node(
    case: str, tmp_path: Path
) -> None:
    write, said = BAD[case]
    write(tmp_path / "n.nir")
    with pytest.raises(ModelError, match=said) as error:
        onnx2snn.import_network(tmp_path / "n.nir")
    assert error.value.code == "E340"
    output = tmp_path / "out.snn.onnx"
    done = CliRunner().invoke(main, ["import", str(tmp_path / "n.nir"), "-o", str(output)])
    assert done.exit_code == 2 and len(done.stderr.splitlines()) == 1, done.output
    assert done.stderr.startswith("error E340: ") and not output.exists()


def test_a_cut_or_changed_file_is_refused_or_read_and_never_a_bug(tmp_path: Path) -> None:
    nir.write(tmp_path / "n.nir", small())
    content = (tmp_path / "n.nir").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(content), 60):
        changed = bytearray(content)
        changed[at] ^= int(rng.integers(1, 256))
        (tmp_path / "m.nir").write_bytes(
            bytes(changed[: len(content) - int(rng.integers(0, 2)) * 100])
        )
        try:
            onnx2snn.import_network(tmp_path / "m.nir")
        except Onnx2SnnError:
            refused += 1
    assert refused > 20


def test_it_is_a_converted_file_then(tmp_path: Path) -> None:
    nir.write(tmp_path / "n.nir", small())
    output = tmp_path / "out.snn.onnx"
    command = ["import", str(tmp_path / "n.nir"), "-o", str(output), "-T", "4", "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) | {"output": ""} == {
        **{"schema": "onnx2snn.import/1", "output": "", "neurons": 2, "populations": 1, "T": 4},
    }
    network = onnx2snn.load(output)
    assert isinstance(network["cells"], snn.Population) and network.meta["T"] == 4
