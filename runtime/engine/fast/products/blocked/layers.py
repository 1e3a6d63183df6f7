"""Which layers ONNX Runtime's channel-blocked kernels compute on this machine."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from .....facts import GraphFacts
from ..large import has_large_weight
from ..terms import Term, convolution_terms
from . import SIZES, BlockedSessions, block_size, fits
from .models import blocked_models


@dataclass(frozen=True)
class BlockedLayers:
    """Layers computed in blocks of ``size`` channels: their terms by name, and the sessions."""

    size: int
    terms: Mapping[str, tuple[Term, ...]]
    sessions: BlockedSessions


def blocked_layers(facts: GraphFacts, dtype: np.dtype, others: Container[str]) -> BlockedLayers:
    """The populations, ``others`` apart, whose whole input this machine's ONNX Runtime computes in
    blocks: there its reordering passes and the addition to the potentials cost nothing, which no
    other product did where it applies (docs/performance.md)."""
    found = {}
    if dtype == np.float32:
        terms_of = convolution_terms(facts)
        found = {name: terms for name, terms in terms_of.items() if name not in others}
    sessions = BlockedSessions(blocked_models(found.values()))
    size = block_size(sessions, found.values())
    if size is None:
        return BlockedLayers(SIZES[0], {}, sessions)
    shapes = facts.shapes
    terms = {
        name: terms
        for name, terms in found.items()
        if shapes[name][0] % size == 0 and all(fits(c, size) for t in terms for c in t.convs)
    }
    large = {
        chain.sink
        for chain in facts.chains
        if any(has_large_weight(n.op, shapes[n.inputs[0]]) for n in chain.nodes)
    }
    terms = {name: several for name, several in terms.items() if name not in large}
    read = {term.source for several in terms.values() for term in several}
    terms = {name: several for name, several in terms.items() if several or name in read}
    return BlockedLayers(size, terms, sessions)
