"""Fixtures of the runtime's tests."""

import pytest

from onnx2snn.runtime.engine import DEFAULT, ENGINES

BARE = f"{DEFAULT}, without numba"


TORCH = pytest.param("torch", marks=pytest.mark.slow)  # quick tests of it: runtime/engine/torch


@pytest.fixture(scope="module", params=[*(e for e in ENGINES if e != "torch"), BARE, TORCH])
def engines(request):
    """Runs a module's tests with every engine in the default one's place, and with that as it is
    where the compiled kernels cannot be used."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            pytest.importorskip("torch")
        if request.param == BARE:
            patch.setattr("onnx2snn.runtime.engine.fast.simulator.available", lambda: False)
        else:
            patch.setitem(ENGINES, DEFAULT, ENGINES[request.param])
        yield request.param
