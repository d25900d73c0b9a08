"""A bench without torch, for suites that pytester runs: it counts what it is asked for and can be told to fail."""

from __future__ import annotations

from collections.abc import Callable

# pytester forgets what a suite imports: NumPy cannot be loaded a second time, and what these tests replace must be
# the module that the suites see.
import numpy  # noqa: F401
import pytest

import pytest_robust.catalogue  # noqa: F401

FAKE_BENCH = """
import sys
import types

from pytest_robust import errors


class Ledger:
    def __init__(self):
        self.new = []

    def drain(self):
        new, self.new = self.new, []
        return new


class Bench:
    def __init__(self, settings, registries, progress=None):
        self.settings, self.registries, self.ledger = settings, registries, Ledger()

    @property
    def dataset(self):
        if self.settings.dataset == "mnist":
            raise errors.MissingDataError("mnist is not under the data root: run with --download.")
        return f"the images of {self.settings.dataset}"

    @property
    def classifier(self):
        self.ledger.new.append({"event": "trained", "name": "undefended", "key": "k", "seconds": 2.0})
        return FakeClassifier("undefended")

    @property
    def surrogate(self):
        return FakeClassifier("surrogate")

    def defend(self, defense):
        self.ledger.new.append({"event": "crafted", "name": str(defense), "key": "k", "seconds": 1.0})
        return f"defended by {defense}"


class FakeClassifier(str):
    def art_estimator(self):
        return f"estimator of {self}"


class FakeAttack(str):
    def build(self, classifier):
        return f"{self} on {classifier}"


class FakeClaim:
    def __init__(self, claim="1A", verdict="holds", **changes):
        self.fields = {
            "paper": "dustbin17", "claim": claim, "statement": "the defense rejects", "defense": "shield",
            "dataset": "digits", "scale": "quick", "attack": "fgsm", "threat_model": "transfer",
            "measured": "0.378 (378/1000, 95% CI 0.348\\u20130.409)", "value": 0.378, "lower": 0.348, "upper": 0.409,
            "n": 1000, "comparison": ">=", "threshold": "0.3", "paper_figure": "0.41",
            "verdict": verdict, "reason": "", **changes,
        }

    def as_dict(self):
        return self.fields


def pytest_robust_register(registries):
    for name in ("shield", "wall"):
        registries.defenses.register(name, lambda name=name: name)
    for name in ("poke", "push"):
        registries.attacks.register(name, FakeAttack(name))


bench = types.ModuleType("pytest_robust.bench.bench")
bench.Bench, bench.FakeClaim = Bench, FakeClaim
settings = types.ModuleType("pytest_robust.bench.settings")
settings.Settings, settings.resolve_device = types.SimpleNamespace, lambda name: "cpu"
sys.modules.update({bench.__name__: bench, settings.__name__: settings})
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """``suite(tests, *options)`` runs test code in a folder whose conftest.py brings the fake bench."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeconftest(FAKE_BENCH)

    def run(tests: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=f"from pytest_robust.bench.bench import FakeClaim\n{tests}")
        # pytest-xdist reads this in the worker that itself runs this test.
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
        return pytester.runpytest(*options)

    return run


@pytest.fixture(params=["no xdist", "-n0", "-n2"])
def xdist_args(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The three ways to run a suite that must give one summary."""
    return ("-p", "no:xdist") if request.param == "no xdist" else (request.param,)


@pytest.fixture(scope="session")
def everything_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """pytester forgets what a suite was the first to import, and much of what attacks need cannot be loaded twice."""
    from pytest_robust.attacks.common_checks import toy_classifier, toy_split
    from pytest_robust.bench.bench import Bench
    from pytest_robust.bench.settings import Settings
    from pytest_robust.gate.robust import Robust

    robust = Robust(Bench(Settings(cache=tmp_path_factory.mktemp("cache"), device="cpu")))
    for attack in ("pgd", "apgd"):
        robust.evaluate(toy_classifier(), toy_split(4, seed=3), attack, eps=0.1).explain()
