"""A small vision transformer, trained here, whose matrix products are all driven by spikes.

    python benchmarks/vit.py --shared FOLDER -o FOLDER [--epochs N] [--samples N]

Trains (PyTorch; some minutes on two quiet cores) on the 512 calibration images of MNIST, shifted,
turned and scaled, and exports it: patches of 7 x 7, 17 tokens of 64, four blocks with four heads,
LayerNorm, GELU. Converts it on 128 of these images with ``islands="spikes"`` and runs it on test
images, which are looked at for this table only. Judge the difference between ANN and SNN.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as fn

import onnx2snn

ROWS = (("graded", 4), ("graded", 8), ("differential", 4), ("differential", 8), ("signed", 8),
        ("few-spike", 5), ("binary", 32))  # fmt: skip
TOKENS, WIDTH, HEADS, BLOCKS, BATCH = 17, 64, 4, 4, 64


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, size = x.shape[0], WIDTH // HEADS
        split = self.qkv(self.norm1(x)).reshape(batch, TOKENS, 3, HEADS, size)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        heads = (q @ k.transpose(-2, -1) * size**-0.5).softmax(-1) @ v
        x = x + self.out(heads.transpose(1, 2).reshape(batch, TOKENS, WIDTH))
        return x + self.narrow(fn.gelu(self.wide(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 7, 7)
        self.first = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(torch.randn(1, TOKENS, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


def varied(x: torch.Tensor) -> torch.Tensor:
    """Every image turned, scaled, sheared and shifted by a little."""
    turn, scale, shear = ((torch.rand(len(x)) - 0.5) * most for most in (0.5, 0.3, 0.4))
    shift = (torch.rand(2, len(x)) - 0.5) * 0.3
    cos, sin = (1 + scale) * turn.cos(), (1 + scale) * turn.sin()
    rows = (torch.stack([cos, shear - sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1))
    grid = fn.affine_grid(torch.stack(rows, 1), x.shape, align_corners=False)
    return fn.grid_sample(x, grid, align_corners=False)


def trained(data: Any, epochs: int) -> Vit:
    torch.manual_seed(0)
    x = torch.tensor(data["x_calib"].astype(np.float32) / 255).reshape(-1, 1, 28, 28)
    y, model = torch.tensor(data["y_calib"].astype(np.int64)), Vit()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=epochs * 32)
    for epoch in range(epochs):
        for _ in range(32):
            some = torch.randint(0, len(x), (BATCH,))
            loss = fn.cross_entropy(model(varied(x[some])), y[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--samples", type=int, default=1000)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    source, path = asked.shared / "data" / "mnist.npz", asked.output / "vit.onnx"
    if not path.exists():
        names = {"input_names": ["input"], "output_names": ["logits"]}
        axes = {"input": {0: "N"}, "logits": {0: "N"}}
        model = trained(np.load(source), asked.epochs)
        example = (torch.zeros(1, 1, 28, 28),)
        torch.onnx.export(
            model, example, path, dynamic_axes=axes, opset_version=17, dynamo=False, **names
        )
    pre = onnx2snn.Preprocessing(scale=255, layout="NHWC")
    print("recipe, T, latency, ANN %, SNN %, agreement %, spikes/neuron, synops/ANN, MACs/ANN")
    for recipe, steps in ROWS:
        network = onnx2snn.convert(
            path, f"{source}:x_calib", recipe=recipe, steps=steps, islands="spikes", limit=128,
            preprocessing=pre,
        )  # fmt: skip
        done = onnx2snn.evaluate(network, f"{source}:x_test,y_test", ann=path, limit=asked.samples)
        point = done.points[-1]
        shares = (done.ann_accuracy, point.accuracy, point.agreement)
        costs = (point.spikes_per_neuron, point.synops_to_ann, point.macs_to_ann)
        found = [f"{100 * (x or 0):.2f}" for x in shares] + [f"{x or 0:.2f}" for x in costs]
        print(", ".join([recipe, str(steps), str(point.latency), *found]), flush=True)


if __name__ == "__main__":
    main()
