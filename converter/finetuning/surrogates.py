"""Surrogate gradients: what stands for the derivative of a neuron's step where it is needed.

A neuron fires where u = (v - threshold) / threshold >= 0, a step whose derivative is 0 almost
everywhere. Going backwards it is taken for h(u), a bump around 0 (Neftci et al. 2019): forwards
nothing changes. All have h(0) = 1 and one parameter, ``width``, where h has about fallen to half:

    triangle   max(0, 1 - |u| / (2 width))          Bellec et al. 2018, Rathi et al. 2020
    arctan     1 / (1 + (u / width)^2)              Fang et al. 2021
    sigmoid    4 s (1 - s), s = sigmoid(1.76 u / width)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import pi
from typing import Any, TypeAlias

HALF = 1.762747  # where 4 s (1 - s) = 1/2

Surrogate: TypeAlias = Callable[[Any, float], Any]  # (u, a tensor; width) -> h(u)


def arctan(u: Any, width: float) -> Any:
    x = u / width
    return x.mul_(x).add_(1).reciprocal_()


def triangle(u: Any, width: float) -> Any:
    return (1 - u.abs() / (2 * width)).clamp(min=0)


def sigmoid(u: Any, width: float) -> Any:
    s = (u * (HALF / width)).sigmoid()
    return 4 * s * (1 - s)


SURROGATES: Mapping[str, Surrogate] = {
    "arctan": arctan,
    "triangle": triangle,
    "sigmoid": sigmoid,
}
# The area under h, in widths: pi for the arctan (the integral of 1 / (1 + x^2)).
AREAS: Mapping[str, float] = {"arctan": pi, "triangle": 2.0, "sigmoid": 4 / HALF}
