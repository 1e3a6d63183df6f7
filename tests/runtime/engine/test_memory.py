"""What a simulation allocates, measured by tracing allocations."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from onnx2snn.runtime.engine import ENGINES, simulate
from onnx2snn.runtime.engine.fast.buffers import zeros
from onnx2snn.runtime.engine.fast.simulator import Simulator
from runtime.engine.test_against_naive import float_network

pytestmark = pytest.mark.usefixtures("engines")


def peak(work):
    """Bytes allocated at most at once by ``work``, above what was there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def images(count):
    return np.random.default_rng(0).uniform(0, 1, (count, 3, 12, 12)).astype(np.float32)


def test_memory_does_not_grow_with_the_number_of_steps():
    graph, x = float_network(), images(8)
    short = peak(lambda: Simulator(graph, threads=1).run(x, 32, at=[32]))
    long = peak(lambda: Simulator(graph, threads=1).run(x, 512, at=[512]))
    assert short > 100_000
    assert long < 1.1 * short


def test_a_plan_used_again_allocates_nothing_of_a_signals_size():
    simulator, x = Simulator(float_network(), threads=1), images(8)
    simulator.run(x, 16)
    one_step_of_a_layer = 8 * 12 * 12 * 8 * 4
    again = peak(lambda: simulator.run(x, 16, at=[16]))
    # But for the first layer's constant current, once per tile: inputs, columns of a 3 x 3 kernel
    # on three channels and sums in double precision.
    constant = 2 * x.nbytes + 27 * 8 * 12 * 12 * 8 + 3 * 2 * one_step_of_a_layer
    assert again < x.nbytes + one_step_of_a_layer + constant


def test_buffers_begin_at_a_cache_line_and_are_zero():
    for shape in [(3,), (5, 7), (1, 2, 3)]:
        for kind in (np.int8, np.float32, np.float64):
            buffer = zeros(shape, kind)
            assert buffer.ctypes.data % 64 == 0
            assert buffer.shape == shape
            assert not buffer.any()


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engines_memory_stays_the_same_over_steps_beyond_a_block(engine):
    if engine == "torch":
        pytest.importorskip("torch")
    graph, x = float_network(), images(8)

    def work(steps):
        simulate(graph, x, steps, engine=engine, threads=1, block=8, at=[steps])

    work(1)  # what is imported on first use
    peaks = [peak(lambda steps=steps: work(steps)) for steps in (16, 64, 256)]
    assert max(peaks) < 1.1 * min(peaks)
