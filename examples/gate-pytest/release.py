"""What is released: a small network that reads digits, and the images that it is tested on."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

TRAINING_IMAGES = 1200


def images():
    """8×8 digits in [0, 1], and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)


def held_out():
    """The images that were not trained on."""
    x, y = images()
    return x[TRAINING_IMAGES:], y[TRAINING_IMAGES:]


def model():
    """Trained on images that are moved a little against it, as adversarial training does."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10)
    )
    x, y = (part[:TRAINING_IMAGES] for part in images())
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(12):
        for batch in torch.randperm(len(x)).split(64):
            moved = x[batch].requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(network(moved), y[batch]), moved)
            moved = (moved + 0.1 * gradient.sign()).clamp(0, 1).detach()
            optimizer.zero_grad()
            F.cross_entropy(network(moved), y[batch]).backward()
            optimizer.step()
    return network.eval()
