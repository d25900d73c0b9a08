"""The strategies: each draws a strength in steps from zero first and what it is the strength of after that.

Hypothesis shrinks towards fewer and smaller choices, earlier ones first. Strengths are integers that count steps from
no perturbation, so that a failing example ends at the smallest one at which this pattern, place or direction still
fails; lists of pixels get shorter. No strategy needs to know the images' shape.
"""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from pytest_robust.errors import SettingsError
from pytest_robust.strategies.balls import L0, L2, Linf
from pytest_robust.strategies.everyday import Blur, Brightness, Contrast, Occlusion, Rotation, Translation
from pytest_robust.strategies.perturbation import check_number, check_whole

#: Steps of a strength: shrinking ends within a thousandth of the limit.
STEPS = 1000
#: Blocks per side of a pattern, the simplest first.
GRIDS = (1, 2, 4, 8, 16, 32)
#: Patterns per grid. A short seed is easy to read, and there are more than anybody draws.
SEEDS = 10_000


def linf(eps: float) -> SearchStrategy[Linf]:
    """Patterns of blocks in the L∞ ball of radius `eps`, at most 1.

    Raises:
        SettingsError: `eps` is negative, more than 1 or no number.
    """
    if isinstance(eps, (int, float)) and 1 < eps <= 255:
        raise SettingsError(f"eps of linf is {eps:g}, but images are in [0, 1]: write {eps:g}/255.")
    check_number(eps, "eps of linf", 0, 1)
    return st.builds(Linf, size=_strength(eps), grid=st.sampled_from(GRIDS), seed=st.integers(0, SEEDS - 1))


def l2(eps: float) -> SearchStrategy[L2]:
    """Patterns of blocks in the L2 ball of radius `eps`, in units of [0, 1] images.

    Raises:
        SettingsError: `eps` is negative or no number.
    """
    check_number(eps, "eps of l2", 0)
    return st.builds(L2, size=_strength(eps), grid=st.sampled_from(GRIDS), seed=st.integers(0, SEEDS - 1))


def l0(pixels: int) -> SearchStrategy[L0]:
    """Changes of at most so many pixels, by any amount.

    A pixel is all its channels; `Perturbation.norms` counts values, so that of an RGB image it gives up to three times
    `pixels`.

    Raises:
        SettingsError: `pixels` is negative or no whole number.
    """
    check_whole(pixels, "the number of pixels of l0", 0)
    place = st.integers(0, STEPS - 1).map(lambda step: step / STEPS)
    change = st.integers(-255, 255).map(lambda step: step / 255)
    chosen = st.lists(st.tuples(place, place, change), max_size=pixels)
    return st.builds(L0, pixels=chosen.map(tuple))


def brightness(limit: float) -> SearchStrategy[Brightness]:
    """Factors from 1 - `limit` to 1 + `limit`, none below 0, as torchvision's ``ColorJitter(brightness=limit)``.

    Raises:
        SettingsError: `limit` is negative or no number.
    """
    check_number(limit, "the limit of brightness", 0)
    return st.builds(Brightness, factor=_factor(limit))


def contrast(limit: float) -> SearchStrategy[Contrast]:
    """Factors from 1 - `limit` to 1 + `limit`, none below 0, as torchvision's ``ColorJitter(contrast=limit)``.

    Raises:
        SettingsError: `limit` is negative or no number.
    """
    check_number(limit, "the limit of contrast", 0)
    return st.builds(Contrast, factor=_factor(limit))


def rotation(degrees: float) -> SearchStrategy[Rotation]:
    """Angles from -`degrees` to `degrees`.

    Raises:
        SettingsError: `degrees` is negative, more than 360 or no number.
    """
    check_number(degrees, "the angle of rotation", 0, 360)
    return st.builds(Rotation, degrees=_signed(degrees))


def translation(pixels: int) -> SearchStrategy[Translation]:
    """Shifts by up to `pixels` to each side, up and down.

    Raises:
        SettingsError: `pixels` is negative or no whole number.
    """
    check_whole(pixels, "the pixels of translation", 0)
    shift = st.integers(-pixels, pixels)
    return st.builds(Translation, dx=shift, dy=shift)


def blur(sigma: float) -> SearchStrategy[Blur]:
    """Gaussian blurs of a standard deviation of up to `sigma` pixels.

    Raises:
        SettingsError: `sigma` is negative or no number.
    """
    check_number(sigma, "sigma of blur", 0)
    return st.builds(Blur, sigma=_strength(sigma))


def occlusion(size: int, fill: float = 0.5) -> SearchStrategy[Occlusion]:
    """Squares of up to `size` pixels a side, anywhere in the image, of the value `fill`.

    Raises:
        SettingsError: `size` is negative or no whole number, or `fill` is not in [0, 1].
    """
    check_whole(size, "the size of occlusion", 0)
    check_number(fill, "the fill of occlusion", 0, 1)
    place = st.integers(0, STEPS).map(lambda step: step / STEPS)
    return st.builds(Occlusion, size=st.integers(0, size), row=place, column=place, fill=st.just(fill))


def _strength(limit: float) -> SearchStrategy[float]:
    """From 0 to `limit`, shrinking to 0."""
    return st.integers(0, STEPS).map(lambda step: limit * (step / STEPS))


def _signed(limit: float) -> SearchStrategy[float]:
    """From -`limit` to `limit`, shrinking to 0."""
    return st.integers(-STEPS, STEPS).map(lambda step: limit * (step / STEPS))


def _factor(limit: float) -> SearchStrategy[float]:
    """From 1 - `limit` or 0 to 1 + `limit`, shrinking to 1."""
    lowest = -STEPS if limit <= 1 else -math.floor(STEPS / limit)
    return st.integers(lowest, STEPS).map(lambda step: max(0.0, 1 + limit * (step / STEPS)))
