"""The learning rules as loops over single spikes and synapses, in Python's own numbers.

These are double precision, as the product's, and every sum is taken in the same order, inputs from
the first to the last: results are equal to the last bit, nothing is compared "nearly".
"""

from __future__ import annotations

from math import sqrt

from onnx2snn.runtime.plasticity import PrototypeRule, StdpRule


def stdp(rule: StdpRule, w, threshold, spikes):
    """``w[i][k]`` and ``threshold[k]`` are changed; which neuron fired in every step, or None."""
    inputs, neurons = len(w), len(threshold)
    x, y, v = [0.0] * inputs, [0.0] * neurons, [0.0] * neurons
    fired = []
    for row in spikes:
        for i in range(inputs):
            x[i] = x[i] * (1 - rule.x_decay) + row[i]
        for k in range(neurons):
            y[k] = y[k] * (1 - rule.y_decay)
            v[k] = v[k] * (1 - rule.leak)
        for i in range(inputs):
            if row[i]:
                for k in range(neurons):
                    v[k] += w[i][k] * row[i]
                    w[i][k] *= max(1 - rule.depression * y[k] * row[i], 0.0)
        winner = _winner(v, threshold)
        fired.append(winner)
        if winner is None:
            continue
        v = [0.0 if k == winner else min(v[k], 0.0) for k in range(neurons)]
        for i in range(inputs):
            up = x[i] * (1 - w[i][winner]) - rule.offset * w[i][winner]
            w[i][winner] += rule.potentiation * up
        y[winner] += 1
        threshold[winner] += rule.rise
    for k in {k for k in fired if k is not None}:
        total = 0.0
        for i in range(inputs):
            total += w[i][k]
        for i in range(inputs):
            w[i][k] *= rule.total / total
    for k in range(neurons):
        threshold[k] -= rule.recovery * (threshold[k] - rule.threshold)
    return fired


def prototype(rule: PrototypeRule, w, threshold, labels, spikes, label):
    """As ``stdp``; ``labels[k]`` are changed too, -1 for a neuron that stands for nothing."""
    inputs, neurons = len(w), len(threshold)
    v, x, count = [0.0] * neurons, [0.0] * inputs, [0] * neurons
    fired = []
    for row in spikes:
        for i in range(inputs):
            x[i] += row[i]
            if row[i]:
                for k in range(neurons):
                    v[k] += (w[i][k] - rule.novelty / sqrt(inputs)) * row[i]
        winner = _winner(v, threshold)
        fired.append(winner)
        if winner is not None:
            for k in range(neurons):
                if k != winner and v[k] > 0:
                    v[k] = max(v[k] - rule.inhibition, 0.0)
            v[winner] -= threshold[winner]
            count[winner] += 1
    squares = 0.0
    for value in x:
        squares += value * value
    if not squares:
        return fired
    x = [value / sqrt(squares) for value in x]
    winner = count.index(max(count))
    right = count[winner] > 0 and labels[winner] == label
    if count[winner] and (right or rule.penalty):
        _move(w, winner, x, rule.rate * (1.0 if right else -rule.penalty))
    own = [k for k in range(neurons) if labels[k] == label]
    free = [k for k in range(neurons) if labels[k] == -1]
    if not right and free and not (rule.most and len(own) >= rule.most):
        labels[free[0]] = label
        threshold[free[0]] = rule.threshold
        for i in range(inputs):
            w[i][free[0]] = x[i]
    elif not right and own:
        near = [_similar(w, k, x) for k in own]
        _move(w, own[near.index(max(near))], x, rule.rate)
    return fired


def _winner(v, threshold):
    above = [potential - limit for potential, limit in zip(v, threshold, strict=True)]
    winner = above.index(max(above))
    return winner if above[winner] >= 0 else None


def _similar(w, k, x):
    y = 0.0
    for i, value in enumerate(x):
        y += w[i][k] * value
    return y


def _move(w, k, x, rate):
    y = _similar(w, k, x)
    for i, value in enumerate(x):
        w[i][k] += rate * (value - w[i][k] * y)
