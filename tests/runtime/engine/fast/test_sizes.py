"""Tiles share the samples evenly among threads, and stay within what they are given."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2snn.errors import UsageError
from onnx2snn.runtime.engine.fast.planning.sizes import MOST_LANES, choose_sizes
from onnx2snn.runtime.facts import GraphFacts
from runtime.engine.test_against_naive import float_network

FACTS = GraphFacts(float_network())


def sizes(samples, threads=2, **given_sizes):
    options = {"tile": None, "block": None, "mem_limit": None} | given_sizes
    return choose_sizes(FACTS, samples, steps=32, threads=threads, itemsize=4, **options)


@given(st.integers(1, 3000), st.integers(1, 4))
def test_no_thread_waits_for_more_than_one_tile_of_lanes(samples, threads):
    lanes = sizes(samples, threads).lanes
    assert 1 <= lanes <= MOST_LANES
    done = ceil(ceil(samples / lanes) / threads) * lanes  # lanes that the busiest thread computes
    share = samples / threads
    assert done <= share + lanes


def test_a_hundred_samples_leave_no_lane_unused_where_they_can_be_shared():
    for threads in (1, 2):
        lanes = sizes(100, threads).lanes
        assert ceil(100 / lanes) % threads == 0
        assert ceil(100 / lanes) * lanes <= 104


def test_two_threads_share_a_hundred_samples_in_tiles_without_unused_lanes():
    assert sizes(100, 2).lanes in (50, 25)


def test_what_is_given_stands_and_a_limit_makes_tiles_smaller():
    assert (sizes(100, tile=7).lanes, sizes(100, block=5).block) == (7, 5)
    large, small = sizes(1000), sizes(1000, mem_limit=3_000_000)
    assert small.lanes < large.lanes or small.block < large.block
    with pytest.raises(UsageError, match="too small"):
        sizes(1000, mem_limit=1000)
