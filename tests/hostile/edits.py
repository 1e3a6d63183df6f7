"""Hostile edits of text files: a converted file's record (JSON in its metadata), a chip's TOML.

``edited_network(seed, file)`` and ``edited_chip(seed, text)`` are the same for the same arguments.
"""

from __future__ import annotations

import json
import random
from typing import Any

import onnx

from hostile.mutants import FLOATS, INTEGERS, TEXTS, mutant

ODD: tuple[Any, ...] = (None, True, False, [], {}, *INTEGERS, *FLOATS, *TEXTS)


def edited_network(seed: int, files: list[bytes]) -> bytes:
    """A converted file with one to three values of its record changed, or its ONNX part."""
    rng = random.Random(seed)
    if rng.random() < 0.3:
        return mutant(seed, files)
    model = onnx.ModelProto.FromString(rng.choice(files))
    entry = next(e for e in model.metadata_props if e.key == "onnx2snn.graph")
    document = json.loads(entry.value)
    for _ in range(rng.choice([1, 1, 2, 3])):
        _change(rng, document)
    entry.value = json.dumps(document)
    return model.SerializeToString()


def _change(rng: random.Random, document: Any) -> None:
    """A random value at any depth: another one, gone, twice, or under another name."""
    at = document
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.9:
            at = at[key]
            continue
        match rng.randrange(6):
            case 0:
                del at[key]
            case 1 if isinstance(at, list):
                at.append(at[key])
            case 1:
                at[rng.choice(TEXTS)] = at.pop(key)
            case 2:
                other = rng.choice(keys)
                at[key], at[other] = at[other], at[key]
            case _:
                at[key] = rng.choice([*ODD, *_near(rng, at[key])])
        return


def _near(rng: random.Random, value: Any) -> list[Any]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return [[value]]
    if isinstance(value, str):
        return [value + "_", value[:-1], value.upper(), [value]]
    return [value + 1, value - 1, -value, str(value), value * 1e30, float(value)]


VALUES = ('""', '"x"', "0", "-1", "1e308", "inf", "nan", "true", "[]", "{}", "[1, 2]", "1.5")
VALUES += ("9223372036854775807", "1979-05-27", '"""a\nb"""', "0x10", '"\\u0000"', "{ value = 1 }")


def edited_chip(seed: int, texts: list[str]) -> bytes:
    """A target file with lines changed, gone, twice or elsewhere, or bytes changed."""
    rng = random.Random(seed)
    lines = rng.choice(texts).splitlines()
    for _ in range(rng.choice([1, 1, 2, 4])):
        i = rng.randrange(len(lines))
        match rng.randrange(7):
            case 0:
                del lines[i]
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[i])
            case 2:
                lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]
            case _ if "=" in lines[i]:
                key, _, old = lines[i].partition("=")
                inner = old.find("value =")
                if inner >= 0 and rng.random() < 0.7:
                    end = min(k for k in (old.find(",", inner), old.find("}", inner)) if k > 0)
                    old = f"{old[: inner + 7]} {rng.choice(VALUES)}{old[end:]}"
                else:
                    old = rng.choice(VALUES)
                lines[i] = f"{key}= {old}"
    data = "\n".join(lines).encode()
    if rng.random() < 0.1:
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(2) + data[place + 2 :]
    return data
