"""Several robust.toml in one run: each judges what lies beside it, and nothing of another folder's."""

from __future__ import annotations

import json

import pytest

# pytester forgets what a suite imports: NumPy and torch cannot be loaded twice, and ART takes seconds each time.
import pytest_robust.attacks.pgd
import pytest_robust.gate.run  # noqa: F401

#: The images are dark or bright, and so says the network, or the contrary.
NETS = """
import torch
from torch import nn

class Net(nn.Sequential):
    pass

def net():
    made = Net(nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        made[1].weight.copy_({sign} * torch.tensor([[-1.0] * 16, [1.0] * 16]))
        made[1].bias.copy_({sign} * torch.tensor([8.0, -8.0]))
    return made.eval()
"""
DATA = """
def data():
    import torch
    y = torch.arange({n}) % 2
    noise = torch.rand({n}, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return 0.2 + 0.5 * y.float().view(-1, 1, 1, 1) + 0.1 * noise, y
"""
IMPORTED = {
    "in the file itself": "",
    "from a file beside it": "from nets import net",
    "from a folder beside it": "from lib.nets import net",
    "when the model is made": "def net():\n    import nets\n    return nets.net()",
}
GATE = '[gate]\nmodel = "{module}:net"\ndata = "{module}:data"\n[[require]]\nat_least = 0.9\n'
COUNTS = {"a": 200, "b": 100, ".": 150}


@pytest.fixture
def folder(pytester):
    """``folder(name, right=…)`` makes a folder with a robust.toml, whose release.py is right or wrong on all images."""

    def make(name, *, right, imported="", module="release"):
        root = pytester.path / name
        nets, data = NETS.format(sign="1" if right else "-1"), DATA.format(n=COUNTS[name])
        release = root / f"{module.replace('.', '/')}.py"
        for path in (root / "lib", release.parent):
            path.mkdir(parents=True, exist_ok=True)
        release.write_text((imported or nets) + data, encoding="utf-8")
        for path in (root / "nets.py", root / "lib" / "nets.py"):
            path.write_text(nets, encoding="utf-8")
        (root / "robust.toml").write_text(GATE.format(module=module), encoding="utf-8")

    return make


@pytest.fixture
def judged(pytester, monkeypatch):
    """``judged(*options)`` runs pytest: the figures by folder, of all images."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)

    def run(*options):
        pytester.runpytest("-p", "no:cacheprovider", "--robust-cache=cache", "--robust-report=report", *options)
        rows = json.loads((pytester.path / "report" / "results.json").read_text(encoding="utf-8"))["requirements"]
        return {row["file"].rpartition("/")[0] or ".": row["measured"].split()[1][1:-1] for row in rows}

    return run


@pytest.mark.parametrize("imported", IMPORTED)
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_two_folders_with_a_module_of_the_same_name_are_judged_apart(folder, judged, order, imported):
    folder("a", right=True, imported=IMPORTED[imported])
    folder("b", right=False, imported=IMPORTED[imported])
    assert judged(*order) == {"a": "200/200", "b": "0/100"}


@pytest.mark.parametrize("module", ["release", "mine.release"])
@pytest.mark.parametrize("workers", ["-n1", "-n2"])
def test_they_are_in_the_workers_of_xdist_too(folder, judged, workers, module):
    folder("a", right=True, module=module)
    folder("b", right=False, module=module)
    assert judged("a", "b", workers) == {"a": "200/200", "b": "0/100"}


def test_a_module_of_that_name_that_a_conftest_has_imported_is_not_judged(pytester, folder, judged):
    folder(".", right=True)
    folder("b", right=False)
    pytester.makeconftest("import release")
    assert judged("b") == {"b": "0/100"}
    assert judged(".", "b") == {".": "150/150", "b": "0/100"}


def test_a_folder_without_the_module_is_not_lent_another_ones(pytester, folder, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    folder("a", right=True)
    folder("b", right=True)
    (pytester.path / "b" / "release.py").unlink()
    result = pytester.runpytest("-p", "no:cacheprovider", "--robust-cache=cache", "a", "b")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*b/robust.toml:3: *there is no module 'release' in *b nor on Python's path; *"])
