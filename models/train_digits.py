"""Train the two bundled demo networks on scikit-learn's digits and write the files beside it.

The demos exist so that every documented command can be run without a download: `load_digits` is
shipped inside scikit-learn, the networks are small enough to commit, and the data file holds just
the rows a user needs (a test set and a calibration set that never overlap).

Everything is seeded and single threaded, so a second run on the same machine with the same
package versions gives the same bytes. The test split is never used to pick anything: the number of
epochs is fixed beforehand and the test accuracy is only measured at the end, on the exported file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from onnx2snn.runtime.onnx_runtime import onnx_runtime

ort = onnx_runtime()
SCALE = 16.0  # the digits hold integers 0..16; the networks expect value / SCALE
TEST_ROWS = 360
CALIB_ROWS = 320
OPSET = 17


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity skip, so that the demo has a real addition."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class DigitsCNN(nn.Module):
    """A small CNN with max pooling, a residual block and average pooling, one of each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.block = ResidualBlock(24)
        self.tail = nn.Sequential(
            nn.Conv2d(24, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(32 * 2 * 2, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.tail(self.block(self.stem(x)))
        return logits


def digits_mlp() -> nn.Module:
    """A 64-64-32-10 perceptron that flattens the image itself, so both demos share one input."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def make_splits(seed: int) -> dict[str, NDArray[np.generic]]:
    """Split the digits by class into train and test, and draw calibration rows from train."""
    digits = load_digits()
    images = digits.images.astype(np.uint8)[..., None]  # NHWC, as an image file would be read
    labels = digits.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=TEST_ROWS, stratify=labels, random_state=seed
    )
    _, x_calib, _, y_calib = train_test_split(
        x_train, y_train, test_size=CALIB_ROWS, stratify=y_train, random_state=seed
    )
    return {
        "x_train": x_train,
        "y_train": y_train,
        "x_test": x_test,
        "y_test": y_test,
        "x_calib": x_calib,
        "y_calib": y_calib,
    }


def to_input(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Turn uint8 NHWC images into the float32 NCHW batch that the networks take."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(SCALE)


def shift_batch(x: Tensor, generator: torch.Generator) -> Tensor:
    """Move each image by -1, 0 or +1 pixels on both axes, to teach tolerance to position."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (x.shape[0], 2), generator=generator)
    rows = offsets[:, 0, None] + torch.arange(8)
    cols = offsets[:, 1, None] + torch.arange(8)
    index = torch.arange(x.shape[0])[:, None, None]
    return padded[index, 0, rows[:, :, None], cols[:, None, :]].unsqueeze(1)


def train(model: nn.Module, x: Tensor, y: Tensor, *, epochs: int, lr: float, seed: int) -> None:
    """Fit the model with AdamW and a one-cycle rate; half of each batch is shifted."""
    generator = torch.Generator().manual_seed(seed)
    batch = 64
    steps = len(x) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, epochs=epochs, steps_per_epoch=steps
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            half = batch // 2
            xb = torch.cat([shift_batch(x[rows[:half]], generator), x[rows[half:]]])
            optimizer.zero_grad()
            loss_of(model(xb), y[rows]).backward()
            optimizer.step()
            schedule.step()
    model.eval()


def export(model: nn.Module, path: Path) -> None:
    """Write one self-contained file with a free batch axis, and let the ONNX checker read it."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 8, 8),),
        str(path),
        dynamo=False,  # the only exporter that writes opset 17 natively, without a conversion
        opset_version=OPSET,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
    )
    onnx.checker.check_model(onnx.load(str(path)), full_check=True)


def accuracy(path: Path, images: NDArray[np.generic], labels: NDArray[np.generic]) -> float:
    """Measure top-1 accuracy of the file itself, by ONNX Runtime, not of the torch module."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"input": to_input(images)})[0]
    return float((np.asarray(logits).argmax(axis=1) == labels).mean())


def main() -> None:
    """Make digits.npz, digits_cnn.onnx and digits_mlp.onnx in the output folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)

    data = make_splits(args.seed)
    saved = {k: v for k, v in data.items() if not k.endswith("train")}
    np.savez_compressed(args.out / "digits.npz", **saved)
    x = torch.from_numpy(to_input(data["x_train"]))
    y = torch.from_numpy(data["y_train"])
    for name, build, epochs, lr in (
        ("digits_cnn", DigitsCNN, 40, 4e-3),
        ("digits_mlp", digits_mlp, 150, 4e-3),
    ):
        torch.manual_seed(args.seed)
        model = build()
        train(model, x, y, epochs=epochs, lr=lr, seed=args.seed)
        path = args.out / f"{name}.onnx"
        export(model, path)
        correct = accuracy(path, data["x_test"], data["y_test"])
        print(f"{path.name}: {path.stat().st_size} bytes, test accuracy {correct:.2%}")


if __name__ == "__main__":
    main()
