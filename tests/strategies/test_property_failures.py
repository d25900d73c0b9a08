"""A failing property in a user's own suite: what pytest shows and where the images are, and life without Hypothesis."""

from __future__ import annotations

import subprocess
import sys

import pytest

SUITE = """
import torch
from hypothesis import given, settings
from pytest_robust.strategies import assert_invariant, brightness

def model(x):
    return torch.stack([0.55 - x.mean((1, 2, 3)), x.mean((1, 2, 3)) - 0.55], 1)

@settings(derandomize=True, database=None, deadline=None)
@given(brightness(0.5))
def test_brightness(perturbation):
    assert_invariant(model, torch.full((3, 8, 8), 0.5), perturbation)
"""
HIDE = "import sys\nsys.modules['hypothesis'] = None\n"


def run(pytester, *options):
    pytester.makepyfile(test_user=SUITE)
    # The plugin of Hypothesis brings its own import of it; a process of its own, as torch cannot be imported twice.
    return pytester.runpytest_subprocess("-p", "no:xdist", *options)


@pytest.mark.parametrize(
    ("options", "folder"),
    [((), ".pytest_cache/d/robust-properties"), (("--robust-report=out",), "out/robust-properties")],
    ids=["cache", "report"],
)
def test_the_failure_shows_the_smallest_and_its_images(pytester, options, folder):
    result = run(pytester, *options)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "Brightness(factor=1.1" in text
    assert "L∞ 0.05" in text
    assert "images: " in text
    assert "_logits(model" not in text  # this package's own lines are not the user's concern
    files = sorted(path.suffix for path in (pytester.path / folder).iterdir())
    assert files == [".png", ".safetensors"]


def test_without_a_folder_it_says_so(pytester):
    result = run(pytester, "-p", "no:cacheprovider")
    assert "images: not saved" in result.stdout.str()
    assert not list(pytester.path.rglob("*.png"))


def test_without_hypothesis_the_import_says_what_to_install():
    code = HIDE + "import pytest_robust, pytest_robust.plugin\nimport pytest_robust.strategies"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stderr.strip().splitlines()[-1] == (
        "ModuleNotFoundError: pytest_robust.strategies needs Hypothesis, which is not installed: "
        "pip install 'pytest-robust[properties]'."
    )


def test_it_imports_neither_art_nor_torchvision():
    code = "import sys, pytest_robust.strategies\nprint({'art', 'torchvision', 'sklearn'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
