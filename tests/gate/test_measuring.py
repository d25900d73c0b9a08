"""What each metric of a gate counts, against counting by hand; whole and in batches."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.errors import GateError
from pytest_robust.evaluation.verdict import Verdict
from pytest_robust.gate.measuring import BATCH, Measurer, batches
from pytest_robust.gate.requirements import Gate, Requirement
from pytest_robust.gate.robust import Robust
from pytest_robust.gate.run import GateRun
from pytest_robust.models.classifier import Classifier
from pytest_robust.threats.decision import Decision
from pytest_robust.threats.defended import Defended, ThreatModel

PLAIN = Gate("release_for_metrics:plain", "release_for_metrics:data", (), path="robust.toml")
DOUBTING = Gate("release_for_metrics:doubting", "release_for_metrics:data", (), path="robust.toml")


def network() -> Classifier:
    linear = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[-4.0, -4, 4, 4], [4, 4, -4, -4]]))
    return Classifier(nn.Sequential(nn.Flatten(), linear), num_classes=2, input_shape=(1, 2, 2), name="two halves")


def doubting() -> Defended:
    """Declines to answer where the network is not sure."""
    inside = network()

    def decide(x: torch.Tensor) -> Decision:
        logits = inside(x)
        score = -(logits[:, 0] - logits[:, 1]).abs()
        return Decision(logits.argmax(1), score > -0.5, score)

    return Defended("doubting", 2, decide, {ThreatModel.ADAPTIVE: inside}, inside.device, inside.fingerprint)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(260) % 2
    x = torch.full((260, 1, 2, 2), 0.5)
    depth = torch.linspace(-0.01, 0.3, 260)
    x[:, 0, 0] += (depth * (2 * y - 1))[:, None]
    return x, y


@pytest.fixture
def robust(tmp_path, monkeypatch):
    (tmp_path / "release_for_metrics.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "release_for_metrics", raising=False)  # an earlier test's, from its own folder
    import release_for_metrics

    for factory in (network, doubting, data):
        name = "plain" if factory is network else factory.__name__
        monkeypatch.setattr(release_for_metrics, name, factory, raising=False)
    return Robust(Bench(Settings(device="cpu", cache=tmp_path / "cache")), root=tmp_path)


def measured(gate, robust, metric, attack="fgsm", **changes):
    given = {"eps": 0.05} if attack else {}
    requirement = Requirement(metric, "at_least", 0.5, attack, **{**given, **changes})
    return Measurer(gate, robust).measure(requirement)


def by_hand():
    """Clean and attacked logits: the attack moves each pixel of the linear model by ε against the label."""
    x, y = data()
    sign = (2 * y - 1)[:, None, None, None] * torch.tensor([[[[1.0, 1.0], [-1.0, -1.0]]]])
    attacked = (x - 0.05 * sign).clamp(0, 1)
    inside = network()
    with torch.no_grad():
        return inside(x), inside(attacked), y


def test_each_metric_counts_what_its_name_says(robust):
    clean, attacked, y = by_hand()
    right, still = clean.argmax(1) == y, attacked.argmax(1) == y
    assert measured(PLAIN, robust, "accuracy", None).outcomes.tolist() == right.tolist()
    assert measured(PLAIN, robust, "accuracy").outcomes.tolist() == (right & still).tolist()
    assert measured(PLAIN, robust, "error").outcomes.tolist() == (~right | ~still).tolist()
    success = measured(PLAIN, robust, "attack_success_rate")
    assert (success.figure.k, success.figure.n) == (int((~still)[right].sum()), int(right.sum()))
    assert success.outcomes is None, "of other images for every model, so it pairs with nothing"


def test_metrics_of_a_defense(robust):
    clean, attacked, _ = by_hand()
    doubts = [(logits[:, 0] - logits[:, 1]).abs() < 0.5 for logits in (clean, attacked)]
    assert measured(DOUBTING, robust, "rejection", None).outcomes.tolist() == doubts[0].tolist()
    assert measured(DOUBTING, robust, "rejection").outcomes.tolist() == doubts[1].tolist()
    scores = np.concatenate([-(logits[:, 0] - logits[:, 1]).abs().numpy() for logits in (attacked, clean)])
    area = measured(DOUBTING, robust, "auroc").figure
    assert area.value == pytest.approx(roc_auc_score([1] * 260 + [0] * 260, scores), abs=1e-6)
    assert area.lower < area.value < area.upper


def test_a_network_that_never_rejects_has_no_rejection_rate(robust):
    with pytest.raises(GateError, match="never rejects, so it has no rejection rate"):
        measured(PLAIN, robust, "rejection", None)


def test_batches_are_a_permutation_of_fixed_seed():
    parts = list(batches(260, 3))
    assert [len(part) for part in parts] == [BATCH, BATCH, 60]
    assert sorted(torch.cat(parts).tolist()) == list(range(260))
    assert torch.equal(torch.cat(list(batches(260, 3))), torch.cat(parts))
    assert not torch.equal(torch.cat(list(batches(260, 4))), torch.cat(parts))


def test_in_batches_the_same_images_are_counted(robust):
    whole = measured(PLAIN, robust, "accuracy").outcomes
    part = measured(PLAIN, robust, "accuracy", sequential=True)
    seen = torch.cat(list(batches(260, 8_000_003)))[: part.used]
    assert part.figure.k == int(whole[seen].sum())
    assert part.used == part.figure.n <= 260
    assert set(part.worst[:3]) <= set(seen[~whole[seen]].tolist()), "positions in the user's data"


def in_large_batches() -> Defended:
    """Answers rightly what is handed in together with more than forty others, as if it learnt from them."""
    inside, right = network(), data()

    def decide(x: torch.Tensor) -> Decision:
        nearest = torch.cdist(x.flatten(1), right[0].flatten(1)).argmin(1)
        label = right[1][nearest] if len(x) > 40 else inside(x).argmax(1)
        return Decision(label, torch.zeros(len(x), dtype=torch.bool), torch.zeros(len(x)))

    return Defended("in large batches", 2, decide, {ThreatModel.ADAPTIVE: inside}, inside.device, "large batches")


@pytest.mark.parametrize("sequential", [False, True])
def test_decisions_that_depend_on_the_batch_are_a_check_in_batches_too(robust, monkeypatch, sequential):
    import release_for_metrics

    monkeypatch.setattr(release_for_metrics, "doubting", in_large_batches)
    found = measured(DOUBTING, robust, "accuracy", sequential=sequential)
    assert any("are decided otherwise in batches of another size" in check for check in found.checks)


def test_a_gate_is_judged_in_a_notebook_too(robust):
    requirement = Requirement("accuracy", "at_least", 0.9, None)
    gate = Gate(PLAIN.model, PLAIN.data, (requirement,), path="robust.toml")
    judged, entry = GateRun(gate, robust).judge(requirement)
    assert judged.judgement.verdict is Verdict.HOLDS
    assert judged.outcome == "pass"
    assert entry is not None
    assert entry.n == 260
