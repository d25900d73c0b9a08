"""A paper's TOML file: complete for what the tests ask, and clear about what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_robust.claims.claim import Claim, all_of, with_checks
from pytest_robust.claims.paper import Paper
from pytest_robust.errors import ClaimError
from pytest_robust.evaluation.verdict import Judgement, Verdict

DUSTBIN = Path(__file__).parents[2] / "robustness_tests" / "claims" / "dustbin.toml"
ATTACKS = ("fgsm", "fgsm_targeted", "bim", "deepfool", "cw_l2")


@pytest.fixture
def paper(tmp_path: Path) -> Paper:
    path = tmp_path / "toy.toml"
    path.write_text(
        """
        [paper]
        key = "toy"
        [like]
        digits = "mnist"
        [setup.mnist.attacks]
        fgsm = { eps = 0.2, norm = "inf" }
        [scale.quick.attacks]
        fgsm = { eps = 0.1 }
        [claims.1D]
        statement = "falls"
        [figures.mnist]
        error = { pgd_more = 0.5, fgsm = 0.25 }
        [[contradicted]]
        claim = "1D"
        attack = "fgsm"
        dataset = "mnist"
        scale = "paper"
        measured = "0.3 -> 0.4"
        """
    )
    return Paper.read(path)


def test_scale_changes_only_what_it_names(paper: Paper) -> None:
    assert paper.attack_params("mnist", "paper", "fgsm") == {"eps": 0.2, "norm": "inf"}
    assert paper.attack_params("mnist", "quick", "fgsm") == {"eps": 0.1, "norm": "inf"}


def test_another_data_set_shows_whose_figures_these_are(paper: Paper) -> None:
    assert paper.cite("mnist", paper.figure("mnist", "error", "fgsm")) == "25 %"
    assert paper.cite("digits", paper.figure("digits", "error", "fgsm")) == "25 % (mnist)"


def test_a_table_is_read_in_the_files_order(paper: Paper) -> None:
    assert paper.figures("digits", "error") == [0.5, 0.25]


def test_missing_entries_are_named(paper: Paper) -> None:
    with pytest.raises(ClaimError, match=r"toy\.toml has no \[figures\.mnist\.error\.pgd\]"):
        paper.figure("mnist", "error", "pgd")


@pytest.mark.parametrize("content", [None, "not = [toml"])
def test_unreadable_files_are_one_sentence(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClaimError, match=r"broken\.toml"):
        Paper.read(path)


def test_contradiction_needs_every_key_to_agree(paper: Paper) -> None:
    where = {"claim": "1D", "attack": "fgsm", "dataset": "mnist", "scale": "paper", "step": "any"}
    reason = paper.contradiction(**where)
    assert reason is not None
    assert "0.3 -> 0.4" in reason
    for key, other in (("claim", "2D"), ("attack", "bim"), ("dataset", "digits"), ("scale", "quick")):
        assert paper.contradiction(**{**where, key: other}) is None


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_dustbins_table_adds_up(dataset: str) -> None:
    """The printed mean errors are the means of the printed errors, so no figure was mistyped (within rounding)."""
    paper = Paper.read(DUSTBIN)
    for column in ("naive", "augmented", "interpolated"):
        mean = sum(paper.figure(dataset, "error", attack, column) for attack in ATTACKS) / len(ATTACKS)
        assert mean == pytest.approx(paper.figure(dataset, "mean_error", column), abs=3e-4)
        for attack in ATTACKS:
            kinds = ("accuracy", "error", *(("rejected",) if column != "naive" else ()))
            whole = sum(paper.figure(dataset, kind, attack, column) for kind in kinds)
            assert whole == pytest.approx(1, abs=2e-4), (attack, column)


def test_every_contradicted_entry_has_a_figure() -> None:
    for entry in Paper.read(DUSTBIN).data.get("contradicted", []):
        assert any(character.isdigit() for character in entry["measured"])


def test_a_raised_check_makes_any_verdict_unreliable() -> None:
    judged = with_checks(Judgement(Verdict.HOLDS), ["zero gradients", "zero gradients"])
    assert judged == Judgement(Verdict.UNRELIABLE, "zero gradients")
    assert with_checks(Judgement(Verdict.HOLDS), []).verdict is Verdict.HOLDS


def test_a_chain_is_as_good_as_its_worst_link() -> None:
    links = [Judgement(Verdict.HOLDS), Judgement(Verdict.INCONCLUSIVE, "few"), Judgement(Verdict.FAILS, "no")]
    assert all_of(links).verdict is Verdict.FAILS
    assert all_of(links[:2]) == Judgement(Verdict.INCONCLUSIVE, "few")
    assert all_of(links[:1]).verdict is Verdict.HOLDS


def test_a_claim_is_plain_data_without_nan() -> None:
    claim = Claim(
        "p", "1D", "s", "d", "digits", "quick", "", "", "m", float("nan"), None, 1.0, 3, ">", "0", "", Verdict.FAILS
    )
    assert claim.as_dict()["value"] is None
    assert claim.as_dict()["verdict"] == "fails"
