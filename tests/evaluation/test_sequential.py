"""A confidence sequence is the mixture it says it is, is an interval, and stops a loop that looks after every batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, binom

from pytest_robust.errors import SettingsError
from pytest_robust.evaluation.rate import Rate
from pytest_robust.evaluation.sequential import CONCENTRATION, SequentialRate, SequentialTest, decide, log_evidence
from pytest_robust.evaluation.verdict import Verdict, at_least, at_most

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
confidences = st.sampled_from([0.8, 0.95, 0.99])
thresholds = st.floats(0.01, 0.99)


@pytest.mark.parametrize(("k", "n", "rate"), [(0, 1, 0.5), (30, 40, 0.5), (95, 100, 0.9), (40, 40, 0.99), (3, 60, 0.2)])
def test_evidence_is_the_mixture_of_likelihood_ratios(k: int, n: int, rate: float) -> None:
    prior = beta(CONCENTRATION * rate, CONCENTRATION * (1 - rate))
    mixture = quad(lambda p: prior.pdf(p) * binom.pmf(k, n, p), 0, 1, points=[rate, k / n], limit=200)[0]
    assert float(log_evidence(k, n, rate)) == pytest.approx(math.log(mixture / binom.pmf(k, n, rate)), abs=1e-5)


@given(st.integers(1, 300), thresholds)
def test_evidence_against_the_true_rate_is_1_on_average(n: int, rate: float) -> None:
    """The martingale's own property, from which every error rate follows."""
    k = np.arange(n + 1)
    assert np.exp(binom.logpmf(k, n, rate) + log_evidence(k, n, rate)).sum() == pytest.approx(1)


@given(st.integers(0, 400), st.integers(1, 400), thresholds)
def test_evidence_is_a_martingale_step_by_step(k: int, n: int, rate: float) -> None:
    k = min(k, n)
    now, success, miss = np.exp(log_evidence([k, k + 1, k], [n, n + 1, n + 1], rate) - log_evidence(k, n, rate))
    assert rate * success + (1 - rate) * miss == pytest.approx(now)


@given(counts, confidences)
def test_interval_holds_the_value_and_mirrors(kn: tuple[int, int], confidence: float) -> None:
    k, n = kn
    rate, mirrored = SequentialRate(k, n, confidence), SequentialRate(n - k, n, confidence)
    assert 0 <= rate.lower <= rate.value <= rate.upper <= 1
    assert rate.lower == pytest.approx(1 - mirrored.upper, abs=1e-9)


@given(counts, confidences)
def test_interval_grows_with_k(kn: tuple[int, int], confidence: float) -> None:
    k, n = kn
    fewer, more = SequentialRate(max(0, k - 1), n, confidence), SequentialRate(k, n, confidence)
    assert fewer.lower <= more.lower + 1e-12
    assert fewer.upper <= more.upper + 1e-12


@given(counts, confidences, st.lists(thresholds, min_size=20, max_size=20))
def test_the_interval_is_all_of_what_is_not_rejected(
    kn: tuple[int, int], confidence: float, rates: list[float]
) -> None:
    sequence = SequentialRate(*kn, confidence)
    for rate in rates:
        if min(abs(rate - sequence.lower), abs(rate - sequence.upper)) > 1e-9:
            assert sequence.rejects(rate) == (not sequence.lower <= rate <= sequence.upper)


@given(counts)
def test_it_is_wider_than_an_interval_for_one_look(kn: tuple[int, int]) -> None:
    """Than the shortest that holds for one side at a time: how the sequence divides its error is its own affair."""
    sequence, once = SequentialRate(*kn), Rate(*kn, confidence=0.9)
    assert sequence.lower <= once.lower + 1e-9
    assert sequence.upper >= once.upper - 1e-9


@pytest.mark.parametrize("k", [0, 1000])
def test_all_or_none_still_leaves_room(k: int) -> None:
    rate = SequentialRate(k, 1000)
    assert (rate.lower == 0) == (k == 0)
    assert (rate.upper == 1) == (k == 1000)
    assert 0.002 < rate.upper - rate.lower < 0.05


def test_no_images_say_nothing() -> None:
    rate = SequentialRate(0, 0)
    assert math.isnan(rate.value)
    assert (rate.lower, rate.upper) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n", "confidence"), [(2, 1, 0.95), (-1, 5, 0.95), (1, 5, 1.0), (1.5, 5, 0.95)])
def test_impossible_rates_are_refused(k: float, n: int, confidence: float) -> None:
    with pytest.raises(SettingsError, match="no rate"):
        SequentialRate(k, n, confidence)  # type: ignore[arg-type]


def test_prints_as_people_read_it() -> None:
    assert str(SequentialRate(950, 1000)) == "0.950 (950/1000, 95% at every n 0.926–0.969)"


def outcomes(rate: float, n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)) < rate


@pytest.mark.parametrize(
    ("rate", "rule", "expected"),
    [
        (0.7, at_least, Verdict.HOLDS),
        (0.3, at_least, Verdict.FAILS),
        (0.3, at_most, Verdict.HOLDS),
        (0.7, at_most, Verdict.FAILS),
    ],
)
def test_stops_with_the_verdict_of_its_own_interval(rate: float, rule: object, expected: Verdict) -> None:
    assert rule in (at_least, at_most)
    stopped = decide(outcomes(rate, 5000).split(50), 0.5, at_least if rule is at_least else at_most)
    assert stopped.judgement.verdict is expected
    assert stopped.rate.n == 50 * stopped.looks < 400
    assert not stopped.rate.lower < 0.5 < stopped.rate.upper


def test_takes_no_batch_more_than_needed() -> None:
    taken = []

    def batches() -> object:
        for batch in outcomes(0.9, 5000).split(100):
            taken.append(len(batch))
            yield batch

    stopped = decide(batches(), 0.5)  # type: ignore[arg-type]
    assert sum(taken) == stopped.rate.n < 5000
    assert not SequentialRate(int(outcomes(0.9, 5000)[: stopped.rate.n - 100].sum()), stopped.rate.n - 100).rejects(0.5)


def test_images_that_run_out_leave_it_open_and_say_how_many_would_tell() -> None:
    stopped = decide(outcomes(0.51, 1000).split(50), 0.5)
    assert stopped.judgement.verdict is Verdict.INCONCLUSIVE
    assert stopped.rate.n == 1000
    assert "would" in stopped.judgement.reason


def test_no_batches_leave_it_open() -> None:
    stopped = decide([], 0.5)
    assert (stopped.judgement.verdict, stopped.looks) == (Verdict.INCONCLUSIVE, 0)


def test_a_decided_test_takes_no_more() -> None:
    test = SequentialTest(0.5)
    assert test.update(torch.ones(200, dtype=torch.bool))
    with pytest.raises(SettingsError, match="certain after 200 images"):
        test.update(torch.ones(1, dtype=torch.bool))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, 45.0])
def test_a_threshold_that_is_no_rate_is_refused(threshold: float) -> None:
    with pytest.raises(SettingsError, match=r"threshold in \[0, 1\]"):
        SequentialTest(threshold)


@pytest.mark.parametrize(("threshold", "expected"), [(0.0, Verdict.HOLDS), (1.0, Verdict.FAILS)])
def test_the_ends_of_the_scale_can_be_thresholds(threshold: float, expected: Verdict) -> None:
    assert decide(outcomes(0.5, 1000).split(50), threshold).judgement.verdict is expected
