"""What fine-tuning makes small: how far answers are from labels or from the ANN's, how far the
populations' mean activations are from the ANN's, and what spikes cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch.nn import functional

from .settings import Settings

Tensor: TypeAlias = torch.Tensor
EPSILON = 1e-6


@dataclass(frozen=True, eq=False, kw_only=True)
class Loss:
    """Of a batch, means per sample: ``task`` (answers), ``match`` (activations), ``spikes`` (per
    neuron); ``total`` is what is made small, ``judged`` what held-back samples are judged by."""

    total: Tensor
    judged: Tensor
    task: Tensor
    match: Tensor
    spikes: Tensor


def cross_entropy(answers: Tensor, *, labels: Tensor) -> Tensor:
    """Of class numbers ``labels`` (samples,). One number per answer is the logit of class 1."""
    return functional.cross_entropy(_scores(answers), labels)


def distillation(answers: Tensor, *, ann: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from the ANN's classes, times the temperature squared (Hinton et
    al. 2015)."""
    ours, theirs = (functional.log_softmax(_scores(x) / temperature, 1) for x in (answers, ann))
    found = functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
    return found * temperature**2


def relative_error(answers: Tensor, *, wanted: Tensor, power: float) -> Tensor:
    """Mean square of the difference, relative to ``power``."""
    return (answers - wanted).square().mean() / (power + EPSILON)


def matching(
    decoded: Mapping[str, Tensor], *, wanted: Mapping[str, Tensor], powers: Mapping[str, float]
) -> Tensor:
    """Mean over the populations of the relative error of mean activations."""
    errors = [relative_error(decoded[k], wanted=wanted[k], power=powers[k]) for k in wanted]
    return torch.stack(errors).mean() if errors else torch.zeros(())


def together(task: Tensor, *, match: Tensor, spikes: Tensor, settings: Settings) -> Loss:
    over = (spikes - settings.spike_target).clamp(min=0)
    judged = task + settings.spike_penalty * over
    return Loss(
        total=judged + settings.match * match,
        judged=judged,
        task=task,
        match=match,
        spikes=spikes,
    )


def _scores(x: Any) -> Tensor:
    flat = x.flatten(1)
    return torch.cat([torch.zeros_like(flat), flat], 1) if flat.shape[1] == 1 else flat
