"""The model that is about to be released, and the images that it is judged by."""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

WEIGHTS = Path(__file__).with_name("weights.pt")


def images() -> tuple[Tensor, Tensor]:
    """All 1,797 digits as float32 of shape (N, 1, 8, 8) in [0, 1], and their labels."""
    digits = load_digits()
    return torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(digits.target)


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def train() -> nn.Module:
    """Two thirds of the digits for 40 epochs, each batch with noise: seconds on a CPU."""
    torch.manual_seed(0)
    made, (x, y) = network(), images()
    x, y = x[:1200], y[:1200]
    optimiser = torch.optim.Adam(made.parameters(), lr=2e-3)
    for _ in range(40):
        for batch in torch.randperm(len(x)).split(100):
            noisy = (x[batch] + 0.1 * torch.randn_like(x[batch])).clamp(0, 1)
            optimiser.zero_grad()
            F.cross_entropy(made(noisy), y[batch]).backward()
            optimiser.step()
    return made.eval()


def model() -> nn.Module:
    """What robust.toml names: the trained network; trained only if there are no weights yet."""
    if not WEIGHTS.exists():
        torch.save(train().state_dict(), WEIGHTS)
    made = network()
    made.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return made.eval()


def test_split() -> TensorDataset:
    """What robust.toml names: the digits that `train` has not seen."""
    x, y = images()
    return TensorDataset(x[1200:], y[1200:])
