"""Registers the defense: from here on every fixture, attack and report knows it by name."""


def pytest_robust_register(registries):
    from confidence import Confidence

    registries.defenses.register("confidence", Confidence)
