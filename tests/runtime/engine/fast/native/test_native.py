"""Compiled kernels: made once by another process, loaded without their compiler."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest

from onnx2snn.runtime.engine.fast import native
from onnx2snn.runtime.engine.fast.events.choice import available

needs_numba = pytest.mark.skipif(not available(), reason="needs the extra 'fast'")

SIMULATE = """
import sys
import numpy as np
from onnx2snn.runtime.engine import simulate
from onnx2snn.runtime.graph import Input, Population, Readout, SpikingGraph, Synapse
from onnx2snn.runtime.neurons import NeuronParams
from onnx2snn.runtime.ops import Linear
neuron = NeuronParams(v_threshold=np.ones((), np.float32), v_init=np.zeros((), np.float32))
weight = np.full((3, 4), 0.25, np.float32)
graph = SpikingGraph(nodes=(
    Input(name="x", shape=(4,)),
    Synapse(name="s", shape=(3,), inputs=("x",), op=Linear(weight=weight)),
    Population(name="p", shape=(3,), inputs=("s",), neuron=neuron),
    Readout(name="y", shape=(3,), inputs=("p",)),
))
result = simulate(graph, np.full((2, 4), 0.5, np.float32), 6, events="always")
print(result.readouts["y"][-1].tolist(), "numba" in sys.modules, "llvmlite" in sys.modules)
"""


@needs_numba
def test_a_simulation_does_not_load_the_compiler():
    done = subprocess.run(
        [sys.executable, "-c", SIMULATE], capture_output=True, text=True, check=True
    )
    # 0.5 per step against a threshold of one: three spikes in six steps, a mean of a half.
    assert done.stdout.split(maxsplit=6)[-1].split() == ["False", "True"], done.stdout
    assert done.stdout.startswith("[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]")


@needs_numba
class TestFolders:
    @pytest.fixture
    def compilations(self, monkeypatch):
        """Counts compilations, which are replaced by a copy of what there is: they take seconds."""
        versions = [native.version(package) for package in native.COMPILERS]
        code, made = native._machine_code(versions), []

        def compiled() -> bytes:
            made.append(code)
            return code

        monkeypatch.setattr(native, "_compiled", compiled)
        return made

    def test_code_is_kept(self, compilations, monkeypatch, tmp_path):
        monkeypatch.setattr(native.native_cache, "folders", lambda: iter([tmp_path / "kept"]))
        first, second = native._machine_code(["1", "2"]), native._machine_code(["1", "2"])
        assert first == second and len(compilations) == 1
        assert [p.suffix for p in (tmp_path / "kept").iterdir()] == [".bin"]  # nothing half-written

    def test_another_version_is_compiled_again(self, compilations, monkeypatch, tmp_path):
        monkeypatch.setattr(native.native_cache, "folders", lambda: iter([tmp_path]))
        native._machine_code(["1", "2"])
        native._machine_code(["1", "3"])
        assert len(compilations) == 2 and len(list(tmp_path.iterdir())) == 2

    def test_changed_kernels_are_compiled_again(self, monkeypatch):
        before = native._key(["1", "2"])
        monkeypatch.setattr(native, "SOURCES", native.SOURCES[:-1])
        assert native._key(["1", "2"]) != before

    def test_all_that_the_kernels_are_made_of_counts(self):
        folder = Path(native.__file__).parent
        imported = {
            folder / f"{node.module}.py"
            for path in native.SOURCES
            if path.parent == folder and path.name != "__init__.py"  # elsewhere: only constants
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
        }
        assert folder / "vectors.py" in imported and imported <= set(native.SOURCES)

    def test_a_folder_that_cannot_be_written_is_passed_over(
        self, compilations, monkeypatch, tmp_path
    ):
        (tmp_path / "file").write_text("in the way")
        folders = [tmp_path / "file" / "inside", tmp_path / "next"]
        monkeypatch.setattr(native.native_cache, "folders", lambda: iter(folders))
        native._machine_code(["1", "2"])
        native._machine_code(["1", "2"])
        assert len(list((tmp_path / "next").iterdir())) == 1 and len(compilations) == 1

    def test_without_any_folder_the_code_is_used_and_that_is_said(
        self, compilations, monkeypatch, tmp_path
    ):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setattr(
            native.native_cache, "folders", lambda: iter([tmp_path / "file" / "inside"])
        )
        with pytest.warns(UserWarning, match=r"compiled anew by every process.*inside: Not a dir"):
            assert native._machine_code(["1", "2"]) == native._machine_code(["1", "2"])
        assert len(compilations) == 2

    @pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: b"", lambda c: c[:40] + c[41:]])
    def test_cut_code_is_compiled_again(self, compilations, monkeypatch, tmp_path, damage):
        monkeypatch.setattr(native.native_cache, "folders", lambda: iter([tmp_path]))
        code = native._machine_code(["1", "2"])
        (kept,) = tmp_path.iterdir()
        whole = kept.read_bytes()
        kept.write_bytes(damage(whole))
        assert native._machine_code(["1", "2"]) == code and len(compilations) == 2
        assert kept.read_bytes() == whole and list(tmp_path.iterdir()) == [kept]


class TestFailures:
    def test_without_the_extra_there_are_no_kernels_and_no_warning(self, monkeypatch):
        def missing(package):
            raise PackageNotFoundError(package)

        monkeypatch.setattr(native, "version", missing)
        assert native.kernels.__wrapped__() is None

    @needs_numba
    def test_a_compilation_that_fails_is_said(self, monkeypatch, tmp_path):
        monkeypatch.setattr(native.native_cache, "folders", lambda: iter([tmp_path]))
        monkeypatch.setattr(native, "BOOTSTRAP", "import no_such")
        with pytest.warns(UserWarning, match=r"extra 'fast' cannot be used .*No.*no_such"):
            assert native.kernels.__wrapped__() is None
        assert list(tmp_path.iterdir()) == []

    @needs_numba
    def test_code_without_the_kernels_is_refused(self, monkeypatch):
        from llvmlite import binding

        machine = native.target_machine()
        other = binding.parse_assembly("define void @other() {\n ret void\n}")
        monkeypatch.setattr(native, "_machine_code", lambda _: machine.emit_object(other))
        with pytest.warns(UserWarning, match="extra 'fast' cannot be used"):
            assert native.kernels.__wrapped__() is None


KEPT_IN = """
import os, sys
from pathlib import Path
from onnx2snn.runtime.engine.fast.native import cache as native_cache
native_cache.folders = lambda: iter([Path(sys.argv[1])])
os.environ["PYTHONPATH"] = os.getcwd()
"""
ANSWER = "[[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]"


def started(script: str, folder: Path, working: Path) -> subprocess.Popen[str]:
    """A process that keeps kernels in ``folder`` and runs in ``working``, which it does not import
    from itself, but for which PYTHONPATH and numba's variables would win in what it starts."""
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error::UserWarning", "-c", KEPT_IN + script, str(folder)],
        cwd=working,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@needs_numba
class TestProcesses:
    """With the real compiler, which takes seconds."""

    def test_nothing_in_the_working_directory_is_used_and_a_wrong_bit_is_compiled_again(
        self, tmp_path
    ):
        kept, working = tmp_path / "kept", tmp_path / "working"
        working.mkdir()
        executed = tmp_path / "executed"
        for name in ("numba", "types", "random", "llvmlite", "onnx2snn", "tempfile", "json"):
            (working / f"{name}.py").write_text(f"open({str(executed)!r}, 'a').write(__name__)\n")
        (working / ".numba_config.yaml").write_text("disable_jit: 1\n")

        out, err = started(SIMULATE, kept, working).communicate()
        assert out.startswith(ANSWER), err
        (file,) = kept.iterdir()
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
        out, err = started(SIMULATE, kept, working).communicate()
        assert out.startswith(ANSWER), err
        assert list(kept.iterdir()) == [file] and file.read_bytes() != content
        assert not executed.exists()

    @pytest.mark.parametrize("victim", ["compiler", "its parent"])
    def test_a_killed_compilation_leaves_nothing(self, tmp_path, victim):
        psutil = pytest.importorskip("psutil")
        kept, temporary = tmp_path / "kept", tmp_path / "temporary"
        kept.mkdir()
        temporary.mkdir()
        script = "import tempfile; tempfile.tempdir = '.'\n" + SIMULATE
        parent = started(script, kept, temporary)
        children: list[psutil.Process] = []
        while not children and parent.poll() is None:
            time.sleep(0.02)
            children = psutil.Process(parent.pid).children()
        assert children, parent.communicate()
        time.sleep(0.5)  # into the compilation
        (children[0] if victim == "compiler" else parent).kill()
        _, err = parent.communicate()
        if victim == "compiler":
            assert "extra 'fast' cannot be used (slower ones are): exit status -9" in err
        psutil.wait_procs(
            children, timeout=60
        )  # it may outlive its parent; then nobody reads what it makes
        assert list(kept.iterdir()) == list(temporary.iterdir()) == []


@needs_numba
def test_kernels_run_side_by_side_in_threads():
    """They hold no lock, and what they are given is theirs alone."""
    from concurrent.futures import ThreadPoolExecutor

    kernels = native.loaded()

    def spikes(seed):
        current = np.random.default_rng(seed).normal(0.4, 1, (1, 4096)).astype(np.float32)
        v, sent = np.zeros_like(current), np.zeros_like(current)
        theta, out = np.ones(4096, np.float32), np.zeros((2, 4096), np.int8)
        held = [a.ctypes.data for a in (v, sent, current, theta, *out)]
        total = np.zeros(4096)
        for _ in range(50):
            kernels.burst(*held, 1, 4096, 3.0, 1)
            total += out[0]
        return total

    alone = [spikes(seed) for seed in range(8)]
    assert all(total.sum() > 0 for total in alone)
    with ThreadPoolExecutor(4) as pool:
        np.testing.assert_array_equal(list(pool.map(spikes, range(8))), alone)
