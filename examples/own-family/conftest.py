"""Registers the family, so that --family=small-imagenet means it too."""


def pytest_robust_register(registries):
    from models import models

    registries.families.register("small-imagenet", models)
