"""Square attack against its authors' loop over images, and what holds for every square."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pytest_robust.attacks.adapter import art_attack
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import SQUARE
from pytest_robust.attacks.checks import check_output
from pytest_robust.attacks.crafting import craft
from pytest_robust.attacks.draws import uniform
from pytest_robust.attacks.square import _L2, DRAWN_AHEAD, _bumps, _LInf, share_at
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier

Image = NDArray[np.float32]


def paper_share(p: float, iteration: int, iterations: int) -> float:
    """The authors' ``p_selection``."""
    at = int(iteration / iterations * 10_000)
    ends = [(10, 1), (50, 2), (200, 4), (500, 8), (1000, 16), (2000, 32), (4000, 64), (6000, 128), (8000, 256)]
    return p / next((divisor for end, divisor in ends if at <= end), 512)


@pytest.mark.parametrize("iterations", [100, 1000, 5000, 10_000])
def test_the_schedule_is_the_papers(iterations):
    for i in range(iterations):
        assert share_at(0.8, i, iterations) == paper_share(0.8, i, iterations)


def sign(u: float) -> float:
    return -1.0 if u < 0.5 else 1.0


class Slow:
    """Algorithm 1 for one image of one channel, with the numbers that the fast one draws."""

    def __init__(self, model: Classifier, x: Image, y: int, number: int, seed: int) -> None:
        self.model, self.x, self.y, self.number, self.seed = model, x, y, number, seed

    def drawn(self, iteration: int, count: int) -> list[float]:
        first = 1 + (iteration - 1) // DRAWN_AHEAD * DRAWN_AHEAD if iteration else 0
        skip = (iteration - first) * count
        return uniform(self.seed, (0, first), torch.tensor([self.number]), skip + count)[0, skip:].tolist()

    def margin(self, x: Image) -> float:
        logits = self.model(torch.from_numpy(x)[None]).detach()[0].tolist()
        return logits[self.y] - max(z for k, z in enumerate(logits) if k != self.y)

    def run(self, best: Image, iterations: int) -> Image:
        lowest = self.margin(best)
        for i in range(1, iterations):
            if lowest < 0:
                break
            proposal = self.propose(best, self.drawn(i, 6), paper_share(0.8, i - 1, iterations))
            loss = self.margin(proposal)
            if loss < lowest:
                lowest, best = loss, proposal
        return best

    def propose(self, best: Image, drawn: list[float], share: float) -> Image:
        raise NotImplementedError


class SlowLInf(Slow):
    eps = 0.06

    def start(self) -> Image:
        stripes = [sign(u) for u in self.drawn(0, self.x.shape[2])]
        return np.clip(self.x + np.float32(self.eps) * np.float32(stripes), 0, 1).astype(np.float32)

    def propose(self, best: Image, drawn: list[float], share: float) -> Image:
        height, width = self.x.shape[1:]
        side = min(max(round((share * height * width) ** 0.5), 1), height - 1)
        top, left = int(drawn[0] * (height - side + 1)), int(drawn[1] * (width - side + 1))
        window = np.s_[:, top : top + side, left : left + side]
        for value in (sign(drawn[5]), -sign(drawn[5])):
            proposal = best.copy()
            proposal[window] = np.clip(self.x[window] + np.float32(self.eps * value), 0, 1)
            if np.abs(proposal - best).max() >= 1e-7:
                return proposal
        raise AssertionError("neither sign changes the image")


class SlowL2(Slow):
    eps = 0.5

    def start(self) -> Image:
        size, delta = self.x.shape[1], np.zeros_like(self.x)
        side = size // 5
        tiles = size // side
        drawn = self.drawn(0, 2 * tiles**2)
        for i in range(tiles):
            for j in range(tiles):
                bump = _bumps(side).numpy()
                bump = bump.T if drawn[i * tiles + j] < 0.5 else bump
                tile = np.s_[:, i * side : (i + 1) * side, j * side : (j + 1) * side]
                delta[tile] = bump * sign(drawn[tiles**2 + i * tiles + j])
        return self.filled(delta)

    def propose(self, best: Image, drawn: list[float], share: float) -> Image:
        size, delta = self.x.shape[1], best - self.x
        side = max(round((share * size * size) ** 0.5), 3)
        side = min(side + 1 if side % 2 == 0 else side, size - 1 if size % 2 == 0 else size)
        (top, left), (other_top, other_left) = [
            (int(drawn[k] * (size - side + 1)), int(drawn[k + 1] * (size - side + 1))) for k in (0, 2)
        ]
        first = np.s_[:, top : top + side, left : left + side]
        second = np.s_[:, other_top : other_top + side, other_left : other_left + side]
        either = np.zeros_like(delta)
        either[first] = either[second] = 1
        bump = _bumps(side).numpy()
        new = (bump.T if drawn[4] < 0.5 else bump) * sign(drawn[5])
        new = new + delta[first] / (1e-12 + np.linalg.norm(delta[first]))
        mass = max(self.eps**2 - np.linalg.norm(delta) ** 2, 0) + np.linalg.norm(delta * either) ** 2
        delta[second] = 0
        delta[first] = new / np.linalg.norm(new) * mass**0.5
        return self.filled(delta)

    def filled(self, delta: Image) -> Image:
        return np.clip(self.x + delta / np.linalg.norm(delta) * self.eps, 0, 1).astype(np.float32)


@pytest.mark.parametrize(("norm", "slow"), [("inf", SlowLInf), (2, SlowL2)])
def test_it_equals_the_slow_one(norm, slow, toy, toy_images):
    x, y = toy_images.x[:5], toy_images.y[:5]
    attack = SQUARE.configured(norm=norm, eps=slow.eps, max_iter=90).build(toy, seed=4)
    made = attack.perturb(x, y)
    for i in range(len(x)):
        one = slow(toy, x[i].numpy(), int(y[i]), i, 4)
        assert np.allclose(made[i].numpy(), one.run(one.start(), 90), atol=2e-5), i


shapes = st.tuples(st.integers(1, 3), st.integers(5, 9), st.integers(5, 9))


def images(shape: tuple[int, ...], count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=generator)
    return torch.where(torch.rand(x.shape, generator=generator) < 0.3, x.round(), x)


def some_model(shape: tuple[int, ...]) -> Classifier:
    torch.manual_seed(0)
    linear = torch.nn.Linear(torch.Size(shape).numel(), 3)
    return Classifier(torch.nn.Sequential(torch.nn.Flatten(), linear), num_classes=3, input_shape=shape)


@settings(max_examples=25)
@given(
    shape=shapes,
    norm=st.sampled_from(["inf", 2]),
    eps=st.floats(1e-4, 1),
    target=st.sampled_from([None, "most_likely"]),
    seed=st.integers(0, 2**31),
)
def test_it_stays_in_the_ball_and_in_the_box(shape, norm, eps, target, seed):
    model, x = some_model(shape), images(shape, 3, seed)
    attack = SQUARE.configured(norm=norm, eps=eps, max_iter=12, nb_restarts=2, target=target)
    y = model.predict(x)
    made = attack.build(model, seed=seed).perturb(x, (y + 1) % 3 if target else y)
    check_output(attack, x, made)
    wrong = attack.build(model, seed=seed).perturb(x, y if target else (y + 1) % 3)
    assert torch.equal(wrong, x)


@settings(max_examples=25)
@given(norm=st.sampled_from(["inf", 2]), batch=st.integers(1, 7), seed=st.integers(0, 2**31))
def test_an_image_gets_its_own_squares_whatever_is_beside_it(toy, norm, batch, seed):
    x, y = images((1, 8, 8), 7, seed), torch.zeros(7, dtype=torch.int64)
    x[1] = x[0]
    attack = SQUARE.configured(norm=norm, eps=0.1, max_iter=8)
    made = attack.build(toy, seed=seed).perturb(x, y)
    assert torch.allclose(attack.build(toy, seed=seed, batch_size=batch).perturb(x, y), made, atol=1e-5)
    others = torch.cat([x[:3], images((1, 8, 8), 4, seed + 1)])
    assert torch.allclose(attack.build(toy, seed=seed).perturb(others, y)[:3], made[:3], atol=1e-5)
    if int(toy.predict(x[:1])) == 0:
        assert not torch.allclose(made[0], made[1], atol=1e-3)


@settings(max_examples=50)
@given(shape=shapes, eps=st.floats(1e-3, 1), share=st.floats(0.001, 1), seed=st.integers(0, 2**31))
def test_every_proposal_changes_the_image(shape, eps, share, seed):
    x, numbers = images(shape, 4, seed), torch.arange(4)
    squares = _LInf(eps)
    best = squares.start(x, uniform(seed, (0,), numbers, squares.start_draws(x)))
    for i in range(1, 6):
        proposal = squares.propose(x, best, uniform(seed, (i,), numbers, 5 + shape[0]), share)
        assert bool(((proposal - best).flatten(1).abs().amax(1) > 0).all())
        best = proposal


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (2, 5, 9)])
def test_an_l2_attack_starts_and_stays_on_the_sphere_where_the_box_lets_it(shape):
    x, squares, numbers = torch.full((3, *shape), 0.5), _L2(0.3), torch.arange(3)
    best = squares.start(x, uniform(0, (0,), numbers, squares.start_draws(x)))
    for i in range(1, 20):
        assert torch.allclose((best - x).flatten(1).norm(dim=1), torch.tensor(0.3), rtol=1e-4)
        best = squares.propose(x, best, uniform(0, (i,), numbers, 5 + shape[0]), share_at(0.8, i, 20))


@pytest.mark.parametrize("norm", ["inf", 2])
def test_on_a_linear_model_it_needs_the_distance_and_little_more(norm, two_classes):
    """No attack wins below the distance; random squares win well above it."""
    x, y, classifier = two_classes.split.x, two_classes.split.y, two_classes.classifier
    distances = two_classes.distances(float(norm))
    for eps, wins in ((0.99 * float(distances.min()), False), (min(1.0, 3 * float(distances.max())), True)):
        made = SQUARE.configured(norm=norm, eps=eps, max_iter=300).build(classifier).perturb(x, y)
        assert bool(((classifier.predict(made) != y) == wins).all())


def test_it_wins_more_images_than_arts_with_as_many_queries(toy, toy_images):
    """ART's squares are shared by the batch; both take one starting query and 40 squares, over four seeds."""

    def success(attack: Attack) -> float:
        return sum(float(craft(attack, toy, toy_images, seed=s).success.float().mean()) for s in range(4)) / 4

    ours = success(SQUARE.configured(eps=0.08, max_iter=41))
    theirs = success(art_attack("SquareAttack").configured(eps=0.08, norm="inf", max_iter=40, p_init=0.8))
    assert 0 < theirs <= ours < 1


def test_finished_images_are_not_asked_again_and_restarts_help(toy, toy_images):
    asked = []
    handle = toy.register_forward_hook(lambda _, args, __: asked.append(len(args[0])))
    try:
        SQUARE.configured(eps=0.5, max_iter=300, nb_restarts=5).build(toy).perturb(toy_images.x, toy_images.y)
    finally:
        handle.remove()
    assert sum(asked) < 20 * len(toy_images)  # of 1500 at most
    once, often = (SQUARE.configured(eps=0.085, max_iter=15, nb_restarts=r) for r in (1, 4))
    wins = [craft(a, toy, toy_images, seed=0).success for a in (once, often)]
    assert bool((wins[1] | ~wins[0]).all())
    assert int(wins[1].sum()) > int(wins[0].sum())


@pytest.mark.parametrize("params", [{"nb_restarts": 0}, {"p_init": 0.0}, {"norm": 1}])
def test_impossible_settings_are_refused(params, toy):
    with pytest.raises(AttackError, match="Square"):
        SQUARE.configured(**params).build(toy)
