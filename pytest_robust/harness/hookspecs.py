"""The hook that a user's conftest.py or another plugin implements to register things of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_robust.catalogue import Registries


@pytest.hookspec(historic=True)
def pytest_robust_register(registries: Registries) -> None:
    """Register data sets, architectures, attacks, defenses and families for this session.

    Called once per implementation, when a name is first needed; an implementation in a conftest.py that pytest
    loads later is called when it is loaded. Names given on the command line must be registered by the conftest.py
    files that pytest loads at its start, or by plugins::

        def pytest_robust_register(registries):
            registries.defenses.register("mine", MyDefense)

    Args:
        registries: ``.datasets``, ``.architectures``, ``.attacks``, ``.defenses``, ``.families``, each with
            ``register(name, obj)``.
    """
