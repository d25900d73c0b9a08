"""An attack as people write it: words of the field, budgets as fractions, steps that can reach them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.catalogue import Registries
from pytest_robust.errors import SettingsError
from pytest_robust.gate.attacks import attack_of, norm_name, number

ATTACKS = Registries().attacks


def made(name, eps=None, norm=None, **params):
    return attack_of(ATTACKS, name, eps, norm, params)


def test_an_attack_without_further_words_is_the_registered_one():
    assert made("pgd") is ATTACKS.get("pgd")


def test_the_words_of_the_field_are_those_of_art():
    attack = made("pgd", "8/255", "linf", steps=10, restarts=3, step_size=2 / 255)
    expected = {"norm": "inf", "eps": 8 / 255, "max_iter": 10, "num_random_init": 3, "eps_step": 2 / 255}
    assert {k: attack.params[k] for k in expected} == expected
    assert made("square", restarts=2).params["nb_restarts"] == 2
    assert made("pgd", max_iter=7, eps=0.1).params["max_iter"] == 7


@given(st.floats(1e-3, 1.0), st.integers(1, 200))
def test_steps_that_nobody_sized_can_cross_the_ball(eps, steps):
    attack = made("pgd", eps, steps=steps)
    step = attack.params["eps_step"]
    assert step <= eps
    assert step * steps >= min(eps * 2.5, eps * steps) * (1 - 1e-9)


@pytest.mark.parametrize("name", ["pgd", "bim", "apgd"])
@given(eps=st.floats(1e-3, 1.0))
def test_the_registered_proportion_of_step_to_budget_is_kept(name, eps):
    registered = ATTACKS.get(name)
    proportion = registered.params["eps_step"] / registered.eps
    assert made(name, eps).params["eps_step"] >= proportion * eps * (1 - 1e-9)


@pytest.mark.parametrize(("text", "value"), [("8/255", 8 / 255), ("0.5", 0.5), (" 1 / 4 ", 0.25), (1, 1.0), (0.3, 0.3)])
def test_budgets_are_numbers_or_fractions(text, value):
    assert number(text, "eps") == value


@pytest.mark.parametrize("text", ["", "8/0", "eight", True, None, float("nan"), "inf", [1]])
def test_other_budgets_are_refused_with_how_to_write_them(text):
    with pytest.raises(SettingsError, match=r"write 0.03 or '8/255'"):
        number(text, "eps")


@pytest.mark.parametrize(
    ("written", "norm"),
    [("linf", "linf"), ("Linf", "linf"), ("inf", "linf"), (float("inf"), "linf"), ("L∞", "linf"), (2, "l2"),
     (2.0, "l2"), ("l2", "l2"), ("1", "l1"), ("l0", "l0"), (0, "l0")],
)  # fmt: skip
def test_norms_are_what_people_write(written, norm):
    assert norm_name(written) == norm


def test_another_norm_needs_its_own_budget():
    assert made("pgd", 0.5, "l2").norm == "l2"
    assert made("pgd", 0.5, "l2").params["norm"] == 2
    assert made("pgd", norm="linf").eps == ATTACKS.get("pgd").eps
    with pytest.raises(SettingsError, match=r"'pgd' in l2 needs its budget: its eps=0.1 is one in linf"):
        made("pgd", norm="l2")


def test_a_norm_that_an_attack_does_not_have_is_refused():
    assert made("deepfool", norm="l2").norm == "l2"
    with pytest.raises(SettingsError, match="'deepfool' works in l2, not in linf"):
        made("deepfool", norm="linf")
    with pytest.raises(SettingsError, match="'pgd' works in linf, not in l0"):
        made("pgd", 3.0, norm="l0")
    with pytest.raises(SettingsError, match="norm='max' is no norm"):
        made("pgd", norm="max")


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("pgd", {"batch_size": 0}, "'pgd': batch_size=0 must be a whole number from 1."),
        ("square", {"restarts": 0}, "'square': restarts=0 would attack nothing: write 1 or more."),
        ("pgd", {"restarts": 0}, "restarts=0 would attack nothing: write 1 or more, or num_random_init=0 to start"),
        ("pgd", {"steps": -1}, "'pgd': steps=-1 must be a whole number from 1."),
        ("pgd", {"seed": "x"}, "seed='x' is no number: write 1, without"),
        ("pgd", {"seed": -1}, "seed=-1 must be a whole number from 0."),
        ("pgd", {"steps": [1, 2]}, "steps=[1, 2] is no number: write 40, without quotes or brackets."),
        ("pgd", {"restarts": [2]}, "restarts=[2] is no number: write 1, without quotes or brackets."),
        ("square", {"p_init": "3"}, "p_init='3' is no number"),
        ("pgd", {"step_size": "small"}, "'pgd': step_size='small' is no number: write 0.03 or '8/255'."),
        ("pgd", {"step_size": [0.1]}, "step_size=[0.1] is no number: write 0.01, without quotes or brackets."),
        ("pgd", {"steps": 2.5}, "steps=2.5 must be a whole number from 1."),
        ("pgd", {"steps": None}, "steps=None is no number: write 40"),
    ],
)
def test_counts_of_nothing_and_what_is_no_number_are_refused(name, params, said):
    with pytest.raises(SettingsError) as raised:
        made(name, **params)
    assert said in str(raised.value)


def test_a_step_size_is_a_number_or_a_fraction_as_a_budget_is():
    assert made("pgd", step_size="2/255").params["eps_step"] == made("pgd", step_size=2 / 255).params["eps_step"]


def test_attacks_may_still_start_from_the_image_itself():
    assert made("pgd", num_random_init=0).params["num_random_init"] == 0
    assert made("pgd", batch_size=None).params["batch_size"] is None
