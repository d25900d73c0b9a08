"""The dropout ensemble: its masks against slow references, its votes against closed forms, its surfaces."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pytest_robust.attacks.catalogue import PGD
from pytest_robust.attacks.crafting import craft
from pytest_robust.bench.bench import Bench
from pytest_robust.bench.settings import Settings
from pytest_robust.data.split import Split
from pytest_robust.defenses.dropout_ensemble import (
    DropoutEnsemble,
    architecture_for,
    decide_by_votes,
    vote_entropy,
    vote_variance,
    votes,
)
from pytest_robust.errors import ModelError
from pytest_robust.models import dropout_masks, exploring_networks
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.dropout_masks import KeyedPasses, MaskedNetwork, MeanOverMasks, image_keys
from pytest_robust.testing import check_defense
from pytest_robust.threats.defended import ThreatModel
from pytest_robust.threats.surfaces import surface_of

SHAPE = (1, 4, 4)
CLASSES = 3


def network(seed: int = 0) -> Classifier:
    """Two dropout layers, one of whole channels, and a batch normalisation whose running statistics are not trivial."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4)
    norm.running_mean.fill_(0.3)
    layers = (nn.Conv2d(1, 4, 3, padding=1), norm, nn.Dropout2d(0.5), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3))
    whole = nn.Sequential(*layers, nn.Linear(64, CLASSES))
    return Classifier(whole, num_classes=CLASSES, input_shape=SHAPE, mean=0.1, std=0.5).requires_grad_(False)


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def slow_pass(classifier: Classifier, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Logits of one image, layer by layer, with one mask for each of the two dropout layers."""
    conv, norm, _, relu, flatten, _, linear = classifier.network
    hidden = norm(conv((x[None] - 0.1) / 0.5)) * first
    return linear(flatten(relu(hidden)) * second)[0]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    whole = Bench(Settings(cache=tmp_path_factory.mktemp("store"), device="cpu"))
    return whole.with_profile(train_images=300, test_images=48)


# -- masks -------------------------------------------------------------------------------------------------------------


def test_passes_are_those_of_a_slow_loop_over_images_and_masks() -> None:
    classifier, x = network(), images(5)
    passes = KeyedPasses(classifier, 7, seed=3)
    index = passes._index(image_keys(x))
    first, second = passes.network.bank_0, passes.network.bank_1
    slow = [[slow_pass(classifier, x[i], first[a], second[b]) for a, b in index[i].tolist()] for i in range(len(x))]
    assert torch.allclose(passes(x), torch.stack([torch.stack(row) for row in slow]), atol=1e-5)


def test_masks_keep_the_rest_and_the_mean() -> None:
    masks = MaskedNetwork(network(), masks=400, seed=0)
    channels, values = masks.bank_0, masks.bank_1
    assert channels.shape == (400, 4, 1, 1)
    assert values.shape == (400, 64)
    assert set(channels.unique().tolist()) == {0.0, 2.0}
    assert values.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert float(channels.mean()) == pytest.approx(1.0, abs=0.1)
    assert float(values.mean()) == pytest.approx(1.0, abs=0.02)


@given(st.integers(0, 2**31), st.permutations(range(6)), st.integers(1, 6))
def test_an_image_has_the_same_passes_in_every_batch(seed: int, order: list[int], batch: int) -> None:
    passes, x = KeyedPasses(network(), 5, seed=1), images(6, seed)
    apart = torch.cat([passes(part) for part in x[order].split(batch)])
    assert torch.allclose(passes(x)[order], apart, atol=1e-5)


def test_blocks_change_nothing_and_bound_what_exists_at_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, x = KeyedPasses(network(), 6, seed=1), images(9)
    whole, rows = passes(x), []
    passes.network.chain[-1].register_forward_hook(lambda _m, _i, out: rows.append(len(out)))
    monkeypatch.setattr(dropout_masks, "BLOCK", 2 * 6 * passes.network.widest)
    assert torch.allclose(passes(x), whole, atol=1e-5)
    assert rows == [12, 12, 12, 12, 6]


def test_another_image_and_another_seed_have_other_masks() -> None:
    x = images(200)
    assert len(image_keys(torch.cat([x, x.nextafter(torch.ones(())), x])).unique()) == 400
    assert image_keys(torch.zeros(1, *SHAPE)) == image_keys(-torch.zeros(1, *SHAPE))
    one, other = (KeyedPasses(network(), 5, seed)(x) for seed in (1, 2))
    assert not torch.allclose(one, other)


def test_masks_are_drawn_evenly() -> None:
    index = KeyedPasses(network(), 50, seed=0)._index(image_keys(images(400)))
    counts = index.flatten().bincount(minlength=dropout_masks.BANK).double()
    expected = index.numel() / dropout_masks.BANK
    # χ² of 255 degrees of freedom: 400 is far beyond what chance gives, and hashes are no chance.
    assert float(((counts - expected).square() / expected).sum()) < 400
    assert not torch.equal(index[..., 0], index[..., 1])


def test_dropout_is_on_only_where_it_should_be() -> None:
    classifier = network()
    part = MaskedNetwork(classifier, masks=4, seed=0, within=classifier.network[5])
    assert part.layers == 1
    x = images(3)
    mean = part(x, torch.zeros(3, 1, 1, dtype=torch.int64))[:, 0]
    hidden = classifier.network[:5]((x - 0.1) / 0.5)
    assert torch.allclose(mean, classifier.network[6](hidden * part.bank_0[0]), atol=1e-5)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.AlphaDropout(0.1)])
def test_a_network_without_a_usual_dropout_is_refused(layer: nn.Module) -> None:
    plain = Classifier(nn.Sequential(nn.Flatten(), layer, nn.Linear(16, 3)), num_classes=3, input_shape=SHAPE)
    with pytest.raises(ModelError, match=r"nn\.Dropout"):
        KeyedPasses(plain, 5, seed=0)


def test_a_branching_network_is_taken_whole() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.drop, self.head = nn.Linear(16, 16), nn.Dropout(0.5), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(1)
            return self.head(flat + self.drop(self.one(flat)))

    torch.manual_seed(0)
    branching = Branching()
    classifier = Classifier(branching, num_classes=3, input_shape=SHAPE).requires_grad_(False)
    masks, x = MaskedNetwork(classifier, masks=2, seed=0), images(4)
    got = masks(x, torch.tensor([0, 1]).expand(4, 2)[..., None])
    flat = x.flatten(1)
    for t in range(2):
        assert torch.allclose(got[:, t], branching.head(flat + branching.one(flat) * masks.bank_0[t]), atol=1e-5)


def test_the_attackers_mean_is_that_of_the_probabilities() -> None:
    classifier, x = network(), images(4).requires_grad_(True)
    mean = MeanOverMasks(classifier, 6, seed=9)
    rows = zip(mean.network.bank_0, mean.network.bank_1, strict=True)
    slow = torch.stack([torch.stack([slow_pass(classifier, image, a, b) for image in x]) for a, b in rows])
    logits = mean(x)
    assert torch.allclose(logits.exp(), slow.softmax(2).mean(0), atol=1e-5)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), x)
    (expected,) = torch.autograd.grad(slow.softmax(2).mean(0).log()[:, 0].sum(), x)
    assert torch.allclose(gradient, expected, atol=1e-4)


# -- votes -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.permutations(range(10)))
def test_scores_of_votes_are_those_of_the_listed_answers(answers: list[int], names: list[int]) -> None:
    listed = torch.tensor(answers)
    logits = nn.functional.one_hot(listed, 10).float()[None]
    counts = votes(logits)
    assert counts[0].tolist() == [answers.count(k) for k in range(10)]
    assert float(vote_variance(counts)) == pytest.approx(float(listed.double().var(correction=0)), abs=1e-9)
    shares = [answers.count(k) / len(answers) for k in set(answers)]
    assert float(vote_entropy(counts)) == pytest.approx(-sum(p * math.log(p) for p in shares), abs=1e-9)
    # Entropy does not ask what the classes are numbered.
    assert float(vote_entropy(counts[:, names])) == pytest.approx(float(vote_entropy(counts)), abs=1e-9)


def test_variance_depends_on_the_numbers_of_the_classes() -> None:
    near, far = torch.zeros(1, 10), torch.zeros(1, 10)
    near[0, [4, 5]] = far[0, [0, 9]] = 25
    assert float(vote_variance(far)) == pytest.approx(81 * float(vote_variance(near)))
    assert float(vote_entropy(far)) == float(vote_entropy(near)) == pytest.approx(math.log(2))


def test_the_plurality_decides_and_a_tie_goes_to_the_larger_mean_probability() -> None:
    sure, unsure = [0.0, 0.0, 9.0], [0.0, 1.0, 0.0]
    logits = torch.tensor([[unsure, unsure, sure], [unsure, sure, unsure], [unsure, unsure, sure]])
    tied = torch.tensor([[unsure, sure]])
    decision = decide_by_votes(logits, "entropy")
    assert decision.label.tolist() == [1, 1, 1]
    assert not decision.rejected.any()
    assert decide_by_votes(tied, "variance").label.tolist() == [2]


# -- the defense -------------------------------------------------------------------------------------------------------


def test_it_keeps_the_contract(bench: Bench) -> None:
    defended = check_defense(DropoutEnsemble, bench)
    # It says that noise too small to see draws other masks, and so it does.
    assert defended.random_by_image
    x = bench.test_split.x
    assert not torch.allclose(defended.decide(x).score, defended.decide((x - 1e-6).clamp(0, 1)).score, atol=0.1)
    decision = defended.decide(bench.test_split.x)
    assert float(decision.score.min()) >= 0
    assert float(decision.score.max()) <= math.log(10)
    by_variance = bench.defend(DropoutEnsemble(score="variance"))
    assert torch.equal(by_variance.decide(bench.test_split.x).label, decision.label)
    assert by_variance.fingerprint != defended.fingerprint


def test_other_runs_give_the_same_decisions(bench: Bench) -> None:
    x = bench.test_split.x
    torch.manual_seed(1)
    one = DropoutEnsemble().fit(bench).decide(x)
    torch.manual_seed(2)
    other = DropoutEnsemble().fit(bench).decide(x)
    assert torch.equal(one.label, other.label)
    assert torch.equal(one.score, other.score)


def test_an_attack_over_masks_finds_what_the_network_without_dropout_hides() -> None:
    """Without dropout the first unit stays below its threshold and has no gradient; a kept one is larger by 1 / 0.8."""
    masked = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        masked[2].weight.copy_(torch.eye(16)[:1])
        masked[2].bias.fill_(-1.0)
        masked[4].weight.copy_(torch.tensor([[0.0], [4.0]]))
        masked[4].bias.copy_(torch.tensor([0.3, 0.0]))
    classifier = Classifier(masked, num_classes=2, input_shape=SHAPE).requires_grad_(False)
    split = Split(torch.full((20, *SHAPE), 0.82) + 0.001 * images(20), torch.zeros(20, dtype=torch.int64), 2, "toy")
    attack = PGD.configured(eps=0.15, eps_step=0.03, max_iter=10, num_random_init=0)
    surface = surface_of(MeanOverMasks(classifier, 10, seed=5), classifier, "mean over masks")
    right = {}
    for name, attacked in (("without dropout", classifier), ("adaptive", surface)):
        adversarial = craft(attack, attacked, split, seed=0)
        decision = decide_by_votes(KeyedPasses(classifier, 50, seed=0)(adversarial.x), "entropy")
        right[name] = float(decision.correct(split.y).float().mean())
    assert right["without dropout"] == 1.0
    assert right["adaptive"] == 0.0


def test_the_white_box_is_the_network_without_dropout(bench: Bench) -> None:
    defended = bench.defend(DropoutEnsemble())
    assert defended.surface(ThreatModel.WHITE_BOX) is defended.surface(ThreatModel.GRAY_BOX)


@pytest.mark.parametrize(
    ("shape", "name", "flat"),
    [
        ((1, 28, 28), "exploring_mnist", 320),
        ((3, 32, 32), "exploring_cifar", 320),
        ((1, 8, 8), "exploring_digits", 80),
    ],
)
def test_the_authors_networks(shape: tuple[int, int, int], name: str, flat: int) -> None:
    assert architecture_for(shape) == name
    built = getattr(exploring_networks, name)(10, shape)
    linear = [m for m in built.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(flat, 50), (50, 10)]
    dropout = [m.p for m in built.modules() if isinstance(m, nn.Dropout)]
    assert dropout == [0.1] * len(dropout)
    kinds = [type(m).__name__ for m in built][:5]
    assert kinds == ["Conv2d", "Conv2d", "ReLU", "MaxPool2d", "Dropout"]
    assert built.eval()(torch.rand(2, *shape)).shape == (2, 10)


def test_the_paper_and_the_limits_are_named() -> None:
    assert "Wang" in DropoutEnsemble.paper
    assert DropoutEnsemble(passes=5).title == "dropout_ensemble(passes=5)"
