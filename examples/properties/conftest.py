"""A small network for the digits that scikit-learn ships, trained in a second or two, and a few test images."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset


@pytest.fixture(scope="session")
def digits():
    table = load_digits()
    return torch.tensor(table.images / 16, dtype=torch.float32)[:, None], torch.tensor(table.target)


@pytest.fixture(scope="session")
def model(digits):
    """Trained on brighter and darker digits, so that it has a reason to ignore that."""
    x, y = digits[0][:1500], digits[1][:1500]
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(1024, 10)
    )
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(300):
        rows = torch.randint(len(x), (128,))
        batch = x[rows] * (0.7 + 0.6 * torch.rand(128, 1, 1, 1))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(batch.clamp(0, 1)), y[rows]).backward()
        optimiser.step()
    return network.eval()


@pytest.fixture(scope="session")
def images(digits, model):
    """Ten test images that the model gets right by a clear margin."""
    x, y = digits[0][1500:], digits[1][1500:]
    with torch.no_grad():
        best, answer = model(x).topk(2)
    sure = (answer[:, 0] == y) & (best[:, 0] - best[:, 1] > 3)
    return TensorDataset(x[sure][:10], y[sure][:10])  # Hypothesis prints arguments; this one prints no pixels
