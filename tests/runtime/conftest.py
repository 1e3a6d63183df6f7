"""Fixtures of the runtime's tests."""

from importlib.util import find_spec

import pytest


@pytest.fixture(
    scope="module",
    params=[
        "without numba",
        pytest.param(
            "with numba",
            marks=pytest.mark.skipif(find_spec("numba") is None, reason="needs the extra 'fast'"),
        ),
    ],
)
def numba(request):
    """Runs a module's tests without the compiled kernels, and with them where there are any."""
    if request.param == "with numba":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onnx2snn.runtime.engine.fast.simulator.available", lambda: False)
        yield
