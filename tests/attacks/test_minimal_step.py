"""FGS, FGV and hot/cold: against a slow search, on a line whose answer is known, their cost, and why they fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from pytest_robust.attacks.adversarial_set import FOUND, NO_STEP, ZERO_DIRECTION, AdversarialSet
from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import FGS, FGSM, FGV, HOT_COLD
from pytest_robust.attacks.crafting import craft, load_or_craft
from pytest_robust.data.pixels import to_8bit
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError
from pytest_robust.models.classifier import Classifier
from pytest_robust.store.artifacts import ArtifactStore

HC2 = HOT_COLD.configured(hot=2)
ALL = [FGS, FGV, HOT_COLD, HC2]
GRADED = [FGV, HOT_COLD]


def titles(value: object) -> str:
    return value.title if isinstance(value, Attack) else ""


@pytest.fixture(scope="module")
def pixels(toy_images: Split) -> Split:
    return Split(to_8bit(toy_images.x), toy_images.y, 4, "8 bits")


def direction_of(attack: Attack, model: Classifier, x: Tensor, y: int) -> Tensor:
    """One image's, as the paper has it."""
    image = x.clone().requires_grad_()
    logits = model(image[None])[0]
    if attack.name == "hot_cold":
        order = [k for k in logits.argsort(descending=True).tolist() if k != y]
        weights = torch.zeros_like(logits)
        hot = order[attack.params["hot"] - 1]
        weights[hot], weights[y] = logits[hot].detach().abs(), -logits[y].detach().abs()
        (gradient,) = torch.autograd.grad(logits, image, weights)
    else:
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits[None].double(), torch.tensor([y])), image)
    return gradient.sign() if attack.name == "fgs" else gradient / gradient.abs().max()


def moved(start: Tensor, direction: Tensor, step: float) -> Tensor:
    """8-bit levels after a step."""
    levels = [
        max(0, min(255, int(s) + (1 if d > 0 else -1) * int(abs(d) * step + 0.5)))
        for s, d in zip(start.flatten().tolist(), direction.flatten().tolist(), strict=True)
    ]
    return torch.tensor(levels, dtype=torch.float32).view_as(start)


def slow_search(attack: Attack, model: Classifier, x: Tensor, y: int) -> Tensor:
    """Doubling and bisection for one image, step by step."""
    start = (x * 255).round()
    direction = direction_of(attack, model, start / 255, y).double()
    room = torch.where(direction > 0, 255 - start, start) * (direction != 0)

    def changes(step: float) -> bool:
        return int(model.predict(moved(start, direction, step)[None] / 255)) != y

    able = room > 0
    if attack.name == "fgs":
        first, last, doublings = 1.0, float(room.max()), 8
    else:
        first = 0.5001 / float(direction[able].abs().max())
        last = float(((room[able] - 0.5) / direction[able].abs()).max()) * (1 + 1e-6)
        doublings = 10
    steps = [min(first * 2**k, last) for k in range(doublings + 1)] + [last]
    high = next(k for k, step in enumerate(steps) if changes(step))
    low, high = (steps[high - 1] if high else 0.0), steps[high]
    while high > first and (high - low > 1 if attack.name == "fgs" else high > low * (1 + 1 / 64)):
        if torch.equal(moved(start, direction, low), moved(start, direction, high)):
            break
        middle = float(int((low + high) / 2)) if attack.name == "fgs" else (low * high) ** 0.5
        low, high = (low, middle) if changes(middle) else (middle, high)
    return moved(start, direction, high) / 255


@pytest.mark.parametrize("attack", ALL, ids=titles)
def test_it_equals_the_slow_search(attack, toy, pixels):
    made = attack.build(toy).perturb(pixels.x[:12], pixels.y[:12])
    for i in range(12):
        expected = slow_search(attack, toy, pixels.x[i], int(pixels.y[i]))
        assert float((made[i] - expected).abs().mul(255).max()) < 1.01, i  # a gradient's last bit may round a value
        assert float((made[i] != expected).float().mean()) < 0.05, i


@pytest.mark.parametrize("attack", [FGS, FGV, HOT_COLD], ids=titles)
def test_on_a_linear_model_it_is_the_smallest_of_all_steps(attack, two_classes):
    """With two classes and constant gradients the label changes once, so that every smaller step can be tried."""
    model, x = two_classes.classifier, to_8bit(two_classes.split.x)
    y = model.predict(x)
    made = attack.build(model).perturb(x, y)
    for image, label, found in zip(x, y.tolist(), made, strict=True):
        start, direction = (image * 255).round(), direction_of(attack, model, image, label).double()
        graded = attack.name != "fgs"
        all_steps = torch.arange(0.5, 255.5)[:, None] / direction.abs().flatten() if graded else torch.arange(1, 256)
        smallest = next(
            step
            for step in all_steps.flatten().unique().tolist()
            if int(model.predict(moved(start, direction, step * (1 + 1e-9))[None] / 255)) != label
        )
        size = float((found * 255 - start).abs().sum())
        bounds = [float((moved(start, direction, smallest * s) - start).abs().sum()) for s in (1 + 1e-9, 1 + 1 / 64)]
        # Of FGV all steps between two that round every value alike are the same image: one value may be off.
        assert bounds[0] - 1 <= size <= bounds[1] + 1


@settings(max_examples=25)
@given(
    attack=st.sampled_from(ALL),
    seed=st.integers(0, 2**31),
    order=st.permutations(range(6)),
    batch=st.integers(1, 6),
    contrast=st.floats(0.05, 1),
)
def test_images_stay_8_bit_and_go_along_the_direction_in_whatever_batch(toy, attack, seed, order, batch, contrast):
    generator = torch.Generator().manual_seed(seed)
    x = to_8bit((0.5 + contrast * (torch.rand(6, 1, 8, 8, generator=generator) - 0.5) * 2).clamp(0, 1))
    y = toy.predict(x)
    made = attack.build(toy).perturb(x, y)
    levels = made * 255
    assert torch.equal(made, to_8bit(made))
    assert float(levels.min()) >= 0
    assert float(levels.max()) <= 255
    for i in range(6):
        step = (levels[i] - x[i] * 255).round()
        # FGS by the gradient as well: the sign of what is almost zero depends on how it was added up.
        gradient = direction_of(FGV if attack is FGS else attack, toy, x[i], int(y[i]))
        assert bool((step * gradient >= -1e-3).all())
        if attack is FGS:
            free = (levels[i] > 0) & (levels[i] < 255) & (step != 0)
            assert step[free].abs().unique().numel() <= 1
    index = torch.tensor(order)
    again = attack.build(toy, batch_size=batch).perturb(x[index], y[index])
    # A logit's last bit may decide one comparison of a search otherwise, which costs one bisected step at most.
    other = (again != made[index]).flatten(1).float().mean(1) > 0.1
    assert int(other.sum()) <= 1
    assert float((again - made[index]).abs().max()) < 5 / 255


@pytest.mark.parametrize("attack", ALL, ids=titles)
def test_every_image_changes_its_label(attack, toy, pixels):
    made = craft(attack, toy, pixels, seed=0)
    assert bool(made.success.all())
    assert made.failures == {"zero direction": 0, "no step": 0, "unstable": 0}
    assert bool((made.outcome == FOUND).all())
    assert float(made.norms["linf"].min()) * 255 > 0.99


def test_half_the_doubled_step_is_not_enough_for_fgs(toy, pixels):
    """What the bisection is for: one level less leaves the label, on every image."""
    made = FGS.build(toy).perturb(pixels.x, pixels.y)
    delta = (made - pixels.x).mul(255).round()
    step = delta.abs().flatten(1).amax(1)
    one_less = delta.clamp(-(step - 1).view(-1, 1, 1, 1), (step - 1).view(-1, 1, 1, 1))
    assert torch.equal(toy.predict(to_8bit(pixels.x + one_less / 255)), pixels.y)
    assert len(set(step.tolist())) > 5


@pytest.mark.parametrize("attack", ALL, ids=titles)
def test_an_image_that_is_wrong_already_comes_back_as_it_is(attack, toy, pixels):
    made = craft(attack, toy, Split(pixels.x, (pixels.y + 1) % 4, 4), seed=0)
    assert torch.equal(made.x, pixels.x)
    assert bool(made.success.all())
    assert made.failures["zero direction"] == made.failures["no step"] == 0


def test_images_that_are_not_8_bit_are_rounded_first(toy, toy_images, pixels):
    for attack in (FGS, FGV):
        built = attack.build(toy)
        y = toy.predict(pixels.x)
        assert torch.equal(built.perturb(toy_images.x, y), built.perturb(pixels.x, y))


# --- what it costs ---


@dataclass
class Passes:
    graded: int = 0
    plain: int = 0


def counted(model: nn.Module, run: Callable[[], object]) -> Passes:
    passes = Passes()

    def note(_: object, args: tuple[Tensor], __: Tensor) -> None:
        if torch.is_grad_enabled():
            passes.graded += len(args[0])
        else:
            passes.plain += len(args[0])

    handle = model.register_forward_hook(note)
    try:
        run()
    finally:
        handle.remove()
    return passes


class Threshold(nn.Module):
    """Class 1 where the mean of the given pixels is beyond a threshold; the gradient has a speed of its own per pixel.

    Args:
        speeds: the gradient, of shape (1, 4, 4).
        threshold: what changes the label: the mean of the pixels whose speed is the smallest.
    """

    def __init__(self, speeds: Tensor, threshold: float) -> None:
        super().__init__()
        self.register_buffer("speeds", speeds)
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        slow = self.speeds == self.speeds.amin()
        beyond = (x[:, slow].mean(1) > self.threshold).float() * 6 - 3
        score = (x * self.speeds).sum((1, 2, 3))
        # The answer is a step, the slope is `speeds`.
        return torch.stack([torch.zeros_like(score), beyond + score - score.detach()], 1)


def threshold_model(slowest: float, threshold: float) -> Classifier:
    speeds = torch.full((1, 4, 4), slowest)
    speeds[:, :2] = 1.0
    return Classifier(Threshold(speeds, threshold), num_classes=2, input_shape=(1, 4, 4), name="threshold")


@pytest.mark.parametrize("attack", ALL, ids=titles)
def test_it_takes_one_gradient_and_at_most_20_forward_passes_per_image(attack, toy, pixels):
    single = []
    for i in range(len(pixels)):
        built = attack.build(toy)
        passes = counted(toy, lambda i=i, b=built: b.perturb(pixels.x[i : i + 1], pixels.y[i : i + 1]))
        assert passes.graded == 1
        assert passes.graded + passes.plain <= 20
        single.append(passes.plain)
    assert len(set(single)) > 1
    together = counted(toy, lambda: attack.build(toy).perturb(pixels.x, pixels.y))
    assert together.graded == len(pixels)
    assert together.plain == sum(single)  # finished images leave


@settings(max_examples=30)
@given(attack=st.sampled_from([FGS, FGV]), power=st.floats(0, 25), threshold=st.floats(0.501, 1.2))
def test_no_label_however_late_takes_more_passes(attack, power, threshold):
    model = threshold_model(10.0**-power, threshold)
    x, y = to_8bit(torch.full((1, 1, 4, 4), 0.5)), torch.zeros(1, dtype=torch.int64)
    built = attack.build(model)
    made: list[Tensor] = []
    passes = counted(model, lambda: made.append(built.perturb(x, y)))
    assert passes.graded == 1
    assert passes.plain <= 19
    # A step that moves the slow pixels at last exists exactly where white is beyond the threshold.
    assert bool(model.predict(made[0]) == 1) == (threshold < 1)
    assert built.outcome.tolist() == [FOUND if threshold < 1 else NO_STEP]


@pytest.mark.parametrize("slowest", [1e-1, 1e-2, 1e-3])
def test_a_label_that_changes_late_is_found_at_about_the_smallest_step(slowest):
    model = threshold_model(slowest, 0.6)
    made = FGV.build(model).perturb(to_8bit(torch.full((1, 1, 4, 4), 0.5)), torch.zeros(1, dtype=torch.int64))
    slow = float(made[0, 0, 3, 3] * 255)
    assert 0.6 * 255 < slow <= 128 + (154 - 128) * 1.05 + 1


@pytest.mark.parametrize("attack", ALL, ids=titles)
def test_twice_the_images_cost_twice_the_passes(attack, toy, pixels):
    once = counted(toy, lambda: attack.build(toy).perturb(pixels.x, pixels.y))
    twice = counted(toy, lambda: attack.build(toy).perturb(pixels.x.repeat(2, 1, 1, 1), pixels.y.repeat(2)))
    assert (twice.graded, twice.plain) == (2 * once.graded, 2 * once.plain)


# --- why it fails ---


class Deaf(nn.Module):
    """Answers 0. Bright images have a gradient, dark ones have none."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        slope = torch.where(mean.detach() > 0.5, mean, mean.detach())
        return torch.stack([torch.ones_like(mean), slope - slope.detach() + 0.5], 1)


@pytest.fixture
def deaf() -> Classifier:
    return Classifier(Deaf(), num_classes=2, input_shape=(1, 4, 4), name="deaf")


def bright_and_dark() -> Split:
    x = torch.cat([torch.full((3, 1, 4, 4), 0.8), torch.full((2, 1, 4, 4), 0.2)])
    return Split(to_8bit(x), torch.zeros(5, dtype=torch.int64), 2, "bright and dark")


@pytest.mark.parametrize("attack", [FGS, FGV, HOT_COLD], ids=titles)
def test_failures_are_counted_by_cause_and_come_back_as_they_were(attack, deaf, tmp_path):
    split, store = bright_and_dark(), ArtifactStore(tmp_path)
    for _ in range(2):  # crafted, and from the cache
        made, _ = load_or_craft(attack, deaf, split, store, seed=0)
        assert made.failures == {"zero direction": 2, "no step": 3, "unstable": 0}
        assert made.outcome.tolist() == [NO_STEP] * 3 + [ZERO_DIRECTION] * 2
        assert torch.equal(made.x, split.x)
    part = made.subset(torch.tensor([0, 4]))
    assert part.failures == {"zero direction": 1, "no step": 1, "unstable": 0}
    assert AdversarialSet.cat([made, made]).failures == {"zero direction": 4, "no step": 6, "unstable": 0}
    assert json.loads(json.dumps(made.provenance)) == made.provenance


def test_where_every_value_that_could_move_is_at_the_border_there_is_no_step(deaf):
    white = torch.ones(2, 1, 4, 4)
    for attack in (FGS, FGV):
        built = attack.build(deaf)
        passes = counted(deaf, lambda b=built: b.perturb(white, torch.zeros(2, dtype=torch.int64)))
        assert built.outcome.tolist() == [NO_STEP] * 2
        assert passes.plain == 0


def test_an_attack_that_tells_nothing_has_its_failures_not_recorded(toy, pixels):
    made = craft(FGSM.configured(eps=1e-6), toy, pixels, seed=0)
    assert made.failures == {"not recorded": len(pixels)}
    mixed = AdversarialSet.cat([made, craft(FGS, toy, pixels, seed=0)])
    assert mixed.outcome is None


def test_no_images_have_no_failures(toy, pixels):
    nothing = craft(FGS, toy, pixels.subset(torch.empty(0, dtype=torch.int64)), seed=0)
    assert len(nothing) == 0
    assert sum(nothing.failures.values()) == 0


def test_a_second_run_forgets_the_outcome_of_the_first(deaf):
    built, split = FGS.build(deaf), bright_and_dark()
    for rows in (slice(0, 5), slice(3, 5)):
        built.perturb(split.x[rows], split.y[rows])
        assert len(built.outcome) == rows.stop - rows.start


class Window(nn.Module):
    """Class 1 at 4 to 12 levels above the start and from 150 on; the slope says: brighter."""

    def forward(self, x: Tensor) -> Tensor:
        level = x.mean((1, 2, 3)) * 255 - 51
        there = ((level > 3.5) & (level < 12.5)) | (level > 149.5)
        return torch.stack([torch.zeros_like(level), there.float() * 2 - 1 + level - level.detach()], 1)


def test_where_the_label_changes_back_it_is_the_smallest_step_found():
    model = Classifier(Window(), num_classes=2, input_shape=(1, 4, 4), name="window")
    x, y = to_8bit(torch.full((1, 1, 4, 4), 0.2)), torch.zeros(1, dtype=torch.int64)
    made = FGS.build(model).perturb(x, y)
    assert float((made - x).max() * 255) == pytest.approx(4)


# --- hot/cold ---


class LogProbabilities(nn.Module):
    """The toy, with outputs that are all negative."""

    def __init__(self, toy: Classifier) -> None:
        super().__init__()
        self.toy = toy

    def forward(self, x: Tensor) -> Tensor:
        return self.toy(x).log_softmax(1) - 1


def test_hot_cold_lowers_the_true_class_where_logits_are_negative(toy, pixels):
    model = Classifier(LogProbabilities(toy), num_classes=4, input_shape=(1, 8, 8), name="log-probabilities")
    made = craft(HOT_COLD, model, pixels, seed=0)
    assert bool(made.success.all())


def test_other_hot_classes_give_other_adversaries(toy, pixels):
    made = [craft(HOT_COLD.configured(hot=k), toy, pixels, seed=0).x for k in (1, 2, 3)]
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[1], made[2])
    logits = toy.logits_of(pixels.x).scatter(1, pixels.y[:, None], float("-inf"))
    reached = [(toy.predict(x) == logits.argsort(1, descending=True)[:, k]).float().mean() for k, x in enumerate(made)]
    assert float(reached[0]) > 0.9
    assert min(float(share) for share in reached) > 0.4


@pytest.mark.parametrize("hot", [0, 4, 1.5, True])
def test_a_hot_class_that_is_not_there_is_refused(hot, toy):
    with pytest.raises(AttackError, match="from 1 to 3"):
        HOT_COLD.configured(hot=hot).build(toy)


class Alarmed(nn.Module):
    """The toy with a rejection that takes over as soon as a pixel is not grey any more."""

    def __init__(self, toy: Classifier) -> None:
        super().__init__()
        self.toy = toy

    def forward(self, x: Tensor) -> Tensor:
        alarm = (x.amax((1, 2, 3)) > 250 / 255).float() * 2000 - 1000
        return torch.cat([self.toy(x), alarm[:, None]], 1)


def test_being_rejected_is_no_change_of_the_label(toy, pixels):
    surface = Classifier(Alarmed(toy), num_classes=5, input_shape=(1, 8, 8), name="alarmed", rejects=True)
    for attack in (FGS, FGV, HOT_COLD.configured(hot=3)):
        made = craft(attack, surface, pixels, seed=0)
        assert made.failures["unstable"] == 0
        assert int(made.success.sum()) > 0
        assert not bool((surface.predict(made.x)[made.success] == 4).any())
    with pytest.raises(AttackError, match="from 1 to 3"):
        HOT_COLD.configured(hot=4).build(surface)


# --- what cannot be attacked ---


class Steep(nn.Module):
    """A root at zero, whose slope is infinite; or infinity times zero, which is no number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((1, 2, 3))
        root = ((mean - mean.detach()) * self.factor).sqrt()
        return torch.stack([mean + 2, root + 1], 1)


@pytest.mark.parametrize("factor", [1.0, 0.0], ids=["infinite", "NaN"])
@pytest.mark.parametrize("attack", [FGS, FGV, HOT_COLD], ids=titles)
def test_a_gradient_that_is_no_number_is_reported(attack, factor):
    model = Classifier(Steep(factor), num_classes=2, input_shape=(1, 4, 4))
    with pytest.raises(AttackError, match="NaN or infinite"):
        attack.build(model).perturb(torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("attack", [FGS, FGV, HOT_COLD], ids=titles)
def test_they_have_no_budget_and_no_target(attack, toy):
    assert attack.eps is None
    assert attack.total_gradient_calls == 1
    with pytest.raises(AttackError, match="cannot be targeted"):
        attack.configured(target="least_likely").build(toy)


def test_arts_generate_gives_the_same_images(toy, pixels):
    built = FGV.build(toy)
    by_art = built.generate(pixels.x.numpy(), pixels.y.numpy())
    assert torch.equal(torch.from_numpy(by_art), built.perturb(pixels.x, pixels.y))
