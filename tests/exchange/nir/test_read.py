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


def test_grouped_maps_delays_and_thresholds_of_another_tool(tmp_path: Path) -> None:
    """Against a loop: a grouped convolution that keeps its size, a comparison without memory, a
    delay of two steps of 0.5, and a LIF whose time constant is one step."""
    first, last = ends((2, 3, 3), (4, 3, 3))
    rng = np.random.default_rng(2)
    weight = rng.integers(-4, 5, (4, 1, 3, 3)).astype(np.float32) / 8
    bias = np.array([0.5, -0.25, 0, 0.125], np.float32)
    maps = np.ones((4, 3, 3), np.float32)
    graph = chain(
        first=first,
        conv=nir.Conv2d(
            input_shape=(3, 3), weight=weight, stride=1, padding="same", dilation=1, groups=2,
            bias=bias,
        ),
        sign=nir.Threshold(threshold=maps / 2),
        late=nir.Delay(delay=maps),
        lif=nir.LIF(tau=maps / 2, r=maps * 3, v_leak=-maps, v_threshold=maps * 2),
        last=last,
    )  # fmt: skip
    nir.write(tmp_path / "n.nir", graph)
    network = onnx2snn.import_network(tmp_path / "n.nir", steps=5, dt=0.5)
    x = (rng.integers(0, 9, (2, 2, 3, 3)) / 8).astype(np.float32)
    padded, current = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)]), np.zeros((2, 4, 3, 3))
    for o, i, j in np.ndindex(4, 3, 3):
        part = padded[:, o // 2, i : i + 3, j : j + 3]
        current[:, o, i, j] = (part * weight[o, 0]).sum(axis=(1, 2)) + bias[o]
    above = current >= 0.5
    assert 0 < above.sum() < above.size and "stateless" in network["sign"].neuron.traits  # type: ignore[union-attr]
    done = count(network, {"first": x}, 5)
    np.testing.assert_array_equal(done.spikes["sign"], above * 5)
    np.testing.assert_array_equal(done.spikes["lif"], above * 5)  # 3 - 1 >= 2, two steps later
    onnx2snn.save(network, tmp_path / "n.snn.onnx")  # which runs it in ONNX Runtime
    again = onnx2snn.export(onnx2snn.load(tmp_path / "n.snn.onnx"), tmp_path / "m.nir",
                            to="nir", approximate=True)  # fmt: skip
    kinds = [type(node).__name__ for node in nir.read(again.files[0], False).nodes.values()]
    assert kinds.count("Threshold") == 2  # the LIF, whose potential nothing remembers, is another


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


def _maps() -> Any:
    """A convolution of maps, an average pool and Flatten, neurons, a delay."""
    first, last = ends((1, 4, 4), (4,))
    conv = nir.Conv2d(
        input_shape=(4, 4), weight=np.ones((1, 1, 1, 1), np.float32), stride=1, padding=0,
        dilation=1, groups=1, bias=np.zeros(1, np.float32),
    )  # fmt: skip
    two, four = np.array([2, 2]), np.ones(4, np.float32)
    pool = nir.AvgPool2d(kernel_size=two, stride=two, padding=np.array([0, 0]))
    flat = nir.Flatten(start_dim=0, end_dim=-1, input_type={"input": np.array([1, 2, 2])})
    lif = nir.LIF(tau=four * 8, r=four, v_leak=four, v_threshold=four)
    delay = nir.Delay(delay=four * 3)
    nodes = {"first": first, "conv": conv, "pool": pool, "flat": flat, "lif": lif, "delay": delay}
    return chain(**nodes, last=last)


def _maps_with(path: str, value: Any) -> Callable[[Path], None]:
    return _stored(_replaced(path, value), _maps())


def _metadata(text: str, **arrays: Any) -> Callable[[Path], None]:
    def change(node: Any) -> None:
        node.create_dataset("metadata/onnx2snn", data=text)
        for name, value in arrays.items():
            node.create_dataset(f"metadata/onnx2snn.{name.replace('__', '.')}", data=value)

    return _stored(change)


def _told(**fields: Any) -> Callable[[Path], None]:
    return _metadata(json.dumps({"nodes": {"cells": fields}}))


def _version(path: Path) -> None:
    nir.write(path, small())
    with h5py.File(path, "r+") as file:
        del file["version"]
        file["version"] = "2.0"


def _nested(path: Path) -> None:
    first, last = ends((3,), (2,))
    nir.write(path, chain(first=first, inner=small(), last=last))


def _zero(kernel: Any) -> Callable[[Any], None]:
    return _replaced("nodes/conv/weight", kernel)


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
        "node 'cells': the metadata .* say 'evil' for 'reset'",
    ),
    "another version of NIR": (_version, "of version 2.0 of NIR"),
    "a graph in a graph": (_nested, "node 'inner': groups in groups"),
    "a current with a time of its own": (
        lambda p: nir.write(
            p,
            chain(
                first=ends((2,), (2,))[0],
                cuba=nir.CubaLIF(
                    **dict.fromkeys(
                        ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), np.ones(2)
                    )
                ),
                last=ends((2,), (2,))[1],
            ),
        ),
        "node 'cuba': 'CubaLIF' is not among .*its synaptic current decays",
    ),
    "a data set for a node": (
        _stored(lambda n: (n.__delitem__("nodes/fc"), n.__setitem__("nodes/fc", 1.0))),
        "node 'fc': no node",
    ),
    "edges of numbers": (
        _stored(lambda n: (n.__delitem__("edges"), n.__setitem__("edges", np.zeros((3, 2))))),
        "no pairs of names",
    ),
    "edges of three": (
        _stored(_edges([("a", "b", "c")])),  # type: ignore[list-item]
        "no pairs of names",
    ),
    "too large for a float32": (
        _stored(_replaced("nodes/cells/v_threshold", np.full(2, 1e300))),
        "node 'cells': 'v_threshold' has values",
    ),
    "biases that add up": (
        _maps_with("nodes/conv/bias", np.full(1, 3e38, np.float32)),
        "node 'pool': biases that add up",
    ),
    "another output": (
        _stored(_replaced("nodes/last/shape", np.array([7]))),
        "node 'last': it takes .7,., and reads .2,.",
    ),
    "no kernel": (
        _stored(_zero(np.ones((1, 1, 0, 0), np.float32)), _maps()),
        "node 'conv': a weight of",
    ),
    "half an input": (
        _maps_with("nodes/first/shape", np.array([1.5, 4, 4])),
        "node 'first': an input of shape",
    ),
    "no stride": (
        _maps_with("nodes/conv/stride", np.array([0, 0])),
        "node 'conv': a damaged Conv2d",
    ),
    "half a window": (_maps_with("nodes/pool/kernel_size", [1.5, 2]), "node 'pool': .*not whole"),
    "windows without end": (
        _stored(
            lambda n: (
                _replaced("nodes/pool/kernel_size", [6000, 6000])(n),
                _replaced("nodes/pool/padding", [3500, 3500])(n),
            ),
            _maps(),
        ),
        "node 'pool': windows of .* too much to run",
    ),
    "flat from another shape": (
        _maps_with("nodes/flat/input_type", np.array([2, 2, 2])),
        "node 'flat': it takes",
    ),
    "no time": (_maps_with("nodes/lif/tau", np.zeros(4)), "node 'lif': neurons with several tau"),
    "late": (_maps_with("nodes/delay/delay", np.full(4, 5000.0)), "node 'delay': 5,000 steps late"),
    "delays of more": (_maps_with("nodes/delay/delay", np.ones(9)), "node 'delay'"),
    "metadata without end": (_metadata("[" * 9999), "metadata 'onnx2snn' are damaged"),
    "metadata of another version": (_metadata('{"nodes": {}, "version": 9}'), "of version 9"),
    "no T": (_metadata('{"nodes": {}, "T": 1e999}'), "say inf for 'T'"),
    "no source": (_metadata('{"nodes": {}, "source": 5}'), "'source' is 5, not an object"),
    "no grid": (_metadata('{"nodes": {}}', grid__fc=np.ones(7)), "node 'fc': 'grid' of"),
    "no number": (_metadata('{"nodes": {}}', v_init__cells=[np.nan, 0]), "node 'cells': .*v_init"),
    "many levels": (_told(levels=10**30), "node 'cells': .*levels"),
    "a long wait": (_told(refractory=10**20), "node 'cells': .*refractory"),
    "a word for a number": (_told(signed="no"), "node 'cells': .*signed"),
    "an unknown word": (_told(evil=1), "node 'cells': .*evil"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_with_one_message_that_names_the_node(
    case: str, tmp_path: Path
) -> None:
    write, said = BAD[case]
    write(tmp_path / "n.nir")
    with pytest.raises(ModelError, match=said) as error:
        onnx2snn.import_network(tmp_path / "n.nir", dt=1.0)
    assert error.value.code == "E340"
    output = tmp_path / "out.snn.onnx"
    done = CliRunner().invoke(
        main, ["import", str(tmp_path / "n.nir"), "-o", str(output), "--dt", "1"]
    )
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
