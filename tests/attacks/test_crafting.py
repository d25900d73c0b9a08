"""Crafting: success by the true labels, targets, sanity of gradients, and a cache that spares the work and ART."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.attacks.attack import Attack
from pytest_robust.attacks.catalogue import DEEPFOOL, FGSM, FGSM_TARGETED, PGD, SQUARE
from pytest_robust.attacks.crafting import attack_key, craft, load_or_craft, targets_for
from pytest_robust.data.split import Split
from pytest_robust.errors import AttackError, ModelError, SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.store.artifacts import Artifact, ArtifactStore, DamagedArtifactWarning


def test_success_is_judged_by_the_true_labels_and_not_by_the_clean_answer(toy, toy_images):
    """An image that the surface gets wrong counts as won, also where the attack did nothing to it."""
    mixed = torch.where(torch.arange(len(toy_images)) < 10, (toy_images.y + 1) % 4, toy_images.y)
    made = craft(FGSM.configured(eps=1e-6), toy, Split(toy_images.x, mixed, 4, "mixed"), seed=0)
    assert made.success.tolist() == [True] * 10 + [False] * 30
    assert not bool(made.unstable.any())


@pytest.mark.parametrize("target", ["least_likely", "most_likely"])
def test_targets_are_the_extreme_wrong_classes_whatever_the_surface_answers(target, toy, toy_images):
    labels = torch.randint(0, 4, (len(toy_images),), generator=torch.Generator().manual_seed(0))
    split = Split(toy_images.x, labels, 4, "any labels")
    targets = targets_for(FGSM.configured(target=target), toy, split)
    assert targets is not None
    for logits, label, chosen in zip(toy.logits_of(split.x), labels.tolist(), targets.tolist(), strict=True):
        wrong = {k: float(logits[k]) for k in range(4) if k != label}
        best = min(wrong.values()) if target == "least_likely" else max(wrong.values())
        assert wrong[chosen] == best
    assert targets_for(FGSM, toy, split) is None


class WithDustbin(nn.Module):
    """The toy with a fifth output that takes over once the image has any pixel darker than 0.3."""

    def __init__(self, toy: Classifier) -> None:
        super().__init__()
        self.toy = toy

    def forward(self, x: Tensor) -> Tensor:
        alarm = (x.amin((1, 2, 3)) < 0.3).float() * 2000 - 1000
        return torch.cat([self.toy(x), alarm[:, None]], 1)


def test_an_image_that_lands_in_a_further_output_has_fooled_nobody(toy, toy_images):
    surface = Classifier(WithDustbin(toy), num_classes=5, input_shape=(1, 8, 8), name="dustbin")
    low, high = (craft(FGSM.configured(eps=eps), surface, toy_images, seed=0) for eps in (0.09, 0.3))
    assert float(low.success.float().mean()) > 0.9
    assert bool((surface.predict(high.x) == 4).all())
    assert not bool(high.success.any())
    targeted = craft(FGSM_TARGETED, surface, toy_images, seed=0)
    assert targeted.targets is not None
    assert int(targeted.targets.max()) < 4


class Wavering(nn.Module):
    """Answers by the size of the batch: the extreme of an image on the boundary."""

    def forward(self, x: Tensor) -> Tensor:
        one = torch.full((len(x),), float(len(x) >= 30)) + x.mean((1, 2, 3)) * 0
        return torch.stack([10 * one, 5 + 0 * one], 1)


def test_an_answer_that_depends_on_the_batch_is_unstable_and_no_success():
    surface = Classifier(Wavering(), num_classes=2, input_shape=(1, 8, 8), name="wavering")
    split = Split(torch.rand(30, 1, 8, 8), torch.zeros(30, dtype=torch.int64), 2, "any")
    made = craft(SQUARE.configured(max_iter=1), surface, split, seed=0)
    assert bool(made.unstable.all())
    assert not bool(made.success.any())


class Masked(nn.Module):
    """A classifier behind a step function: no gradient comes through."""

    def __init__(self, toy: Classifier, fill: float) -> None:
        super().__init__()
        self.toy, self.fill = toy, fill

    def forward(self, x: Tensor) -> Tensor:
        return self.toy(x.detach()) + self.fill * x.mean()  # type: ignore[no-any-return]


def test_a_surface_without_gradients_is_reported_and_without_a_graph_refused(toy, toy_images):
    zero = Classifier(Masked(toy, 0.0), num_classes=4, input_shape=(1, 8, 8), name="masked")
    assert craft(FGSM, zero, toy_images, seed=0).provenance["zero_gradient"] == 1.0
    assert craft(FGSM, toy, toy_images, seed=0).provenance["zero_gradient"] == 0.0

    class Detached(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return toy(x.detach())  # type: ignore[no-any-return]

    detached = Classifier(Detached(), num_classes=4, input_shape=(1, 8, 8), name="detached")
    with pytest.raises(AttackError, match=r"detached.*no gradient.*square"):
        craft(PGD, detached, toy_images, seed=0)


class RootOfZero(nn.Module):
    """Finite logits whose gradient is NaN: the square root of zero, times zero."""

    def __init__(self, toy: Classifier) -> None:
        super().__init__()
        self.toy = toy

    def forward(self, x: Tensor) -> Tensor:
        return self.toy(x) + (x * 0).square().sum((1, 2, 3)).sqrt()[:, None] * torch.arange(4)  # type: ignore[no-any-return]


def test_nan_gradients_and_nan_logits_stop_the_attack(toy, toy_images):
    broken = Classifier(RootOfZero(toy), num_classes=4, input_shape=(1, 8, 8), name="root")
    with pytest.raises(AttackError, match="NaN"):
        craft(FGSM, broken, toy_images, seed=0)
    for attack in (PGD, DEEPFOOL):
        with pytest.raises(AttackError, match="NaN"):
            attack.build(broken).perturb(toy_images.x, toy_images.y)

    class Hollow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return toy(x) * float("nan")  # type: ignore[no-any-return]

    hollow = Classifier(Hollow(), num_classes=4, input_shape=(1, 8, 8), name="hollow")
    with pytest.raises((AttackError, ModelError), match="hollow"):
        craft(FGSM, hollow, toy_images, seed=0)


def test_a_set_is_made_once_and_comes_back_the_same(tmp_path, toy, toy_images):
    store = ArtifactStore(tmp_path)
    first, made = load_or_craft(FGSM_TARGETED, toy, toy_images, store, seed=1)
    second, again = load_or_craft(FGSM_TARGETED, toy, toy_images, store, seed=1)
    assert (made, again) == (True, False)
    for field in ("x", "success", "unstable", "targets"):
        assert torch.equal(getattr(first, field), getattr(second, field))
    assert first.fingerprint == second.fingerprint
    assert json.loads(json.dumps(second.provenance)) == first.provenance


def test_a_kept_set_that_is_not_of_these_images_is_crafted_again(tmp_path, toy, toy_images):
    store = ArtifactStore(tmp_path)
    first, _ = load_or_craft(FGSM, toy, toy_images, store, seed=1)
    key = attack_key(FGSM, toy, toy_images, 1)
    kept = store.read("adversarial", key)
    assert kept is not None
    store.write("adversarial", key, Artifact({**kept.tensors, "x": first.x.flip(0)}, kept.metadata))
    with pytest.warns(DamagedArtifactWarning, match="crafted again: the attack fgsm"):
        mended, made = load_or_craft(FGSM, toy, toy_images, store, seed=1)
    assert made
    assert torch.equal(mended.x, first.x)
    assert not load_or_craft(FGSM, toy, toy_images, store, seed=1)[1]


def test_the_key_changes_with_everything_that_determines_the_set(toy, toy_images):
    other = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), num_classes=4, input_shape=(1, 8, 8))
    keys = [
        attack_key(PGD, toy, toy_images, 0),
        attack_key(PGD, toy, toy_images, 1),
        attack_key(PGD.configured(eps=0.2), toy, toy_images, 0),
        attack_key(PGD.configured(target="least_likely"), toy, toy_images, 0),
        attack_key(PGD, other, toy_images, 0),
        attack_key(PGD, toy, toy_images.subset(range(5)), 0),
        attack_key(FGSM, toy, toy_images, 0),
    ]
    assert len(set(keys)) == len(keys)
    assert attack_key(PGD.configured(eps=0.1), toy, toy_images, 0) == keys[0]


def test_the_key_follows_the_source_of_a_strangers_attack(tmp_path, monkeypatch, toy, toy_images):
    from pytest_robust.attacks import crafting

    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "strangers_attack.py"
    attack = Attack(name="stranger", implementation="strangers_attack:Theirs", reference="a test")
    keys = []
    wrapping = Attack("search", "pytest_robust.attacks.pgd:PGD", {"attack": "strangers_attack:Theirs"})
    helper = tmp_path / "strangers_helper.py"
    helper.write_text("STRENGTH = 0")
    for path, text in ((module, "VERSION = 1"), (module, "import strangers_helper"), (helper, "STRENGTH = 1")):
        path.write_text(text)
        crafting._code.cache_clear()
        keys += [attack_key(chosen, toy, toy_images, 0) for chosen in (attack, wrapping)]
    assert len(set(keys)) == 6
    assert "strangers_attack" not in sys.modules
    with pytest.raises(AttackError, match="nowhere_to_be_found"):
        attack_key(Attack(name="lost", implementation="nowhere_to_be_found:X"), toy, toy_images, 0)


def test_the_key_follows_an_attacks_own_modules_and_no_other_attacks(monkeypatch, toy, toy_images):
    from pytest_robust.attacks import crafting

    fgs = Attack(name="fgs", implementation="pytest_robust.attacks.fixed_directions:FGS")
    read, keys = crafting._source, {}
    edits = ("none", "attacks.pgd", "attacks.geometry", "attacks.crafting", "attacks.cw_l2", "attacks.jsma")
    for edited in (*edits, "data.pixels"):
        changed = f"pytest_robust.{edited}"

        def source(module, changed=changed):
            return _Edited(read(module)) if module == changed else read(module)

        monkeypatch.setattr(crafting, "_source", source)
        crafting._code.cache_clear()
        keys[edited] = [attack_key(attack, toy, toy_images, 0) for attack in (PGD, fgs)]
    crafting._code.cache_clear()
    pgd = {edited: key for edited, (key, _) in keys.items()}
    assert len({pgd[name] for name in ("none", "attacks.pgd", "attacks.geometry", "attacks.crafting")}) == 4
    assert pgd["none"] == pgd["attacks.cw_l2"] == pgd["attacks.jsma"] == pgd["data.pixels"]
    assert keys["none"][1] != keys["data.pixels"][1], "fgs searches among 8-bit images"


class _Edited:
    """A source file with one more line."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_text(self, encoding: str) -> str:
        return self._path.read_text(encoding=encoding) + "# edited\n"


def test_a_class_after_the_label_is_counted_around(toy, toy_images):
    steps = [targets_for(FGSM.configured(target=f"label+{k}"), toy, toy_images) for k in (1, 2, 3)]
    for image in range(len(toy_images)):
        reached = {int(step[image]) for step in steps}
        assert reached == {0, 1, 2, 3} - {int(toy_images.y[image])}
    with pytest.raises(SettingsError, match="there are 4 classes"):
        targets_for(FGSM.configured(target="label+4"), toy, toy_images)
    with pytest.raises(SettingsError, match=r"'label\+K' with K from 1"):
        FGSM.configured(target="label+0")


def test_the_likeliest_wrong_classes_are_counted_by_the_surfaces_logits(toy, toy_images):
    labels = torch.randint(0, 4, (len(toy_images),), generator=torch.Generator().manual_seed(1))
    split = Split(toy_images.x, labels, 4, "any labels")
    ranks = [targets_for(FGSM.configured(target=f"likely+{k}"), toy, split) for k in (1, 2, 3)]
    assert torch.equal(ranks[0], targets_for(FGSM.configured(target="most_likely"), toy, split))
    assert torch.equal(ranks[2], targets_for(FGSM.configured(target="least_likely"), toy, split))
    for image, logits in enumerate(toy.logits_of(split.x).tolist()):
        wrong = sorted((k for k in range(4) if k != labels[image]), key=logits.__getitem__, reverse=True)
        assert [int(rank[image]) for rank in ranks] == wrong
    with pytest.raises(SettingsError, match="there are 4 classes"):
        targets_for(FGSM.configured(target="likely+4"), toy, split)


WARM = textwrap.dedent(
    """
    import sys
    from pytest_robust.attacks.common_checks import toy_classifier, toy_split
    from pytest_robust.attacks.crafting import load_or_craft
    from pytest_robust.catalogue import Registries
    from pytest_robust.store.artifacts import ArtifactStore

    attacks = Registries().attacks
    for name in attacks.names():
        attacks.get(name).title
    attacks.get("apgd").configured(eps=0.2, max_iter=7, nb_random_init=2, target="most_likely")
    attacks.get("cw_l2").configured(confidence=20.0, batch_size=8)
    attack = attacks.get("pgd").configured(eps=0.2, eps_step=0.1, max_iter=3, norm=2)
    made, built = load_or_craft(attack, toy_classifier(), toy_split(6), ArtifactStore(sys.argv[1]), seed=0)
    print(built, any(name.partition(".")[0] == "art" for name in sys.modules), made.fingerprint)
    """
)


def test_a_warm_run_never_imports_art(tmp_path: Path):
    def run() -> list[str]:
        done = subprocess.run([sys.executable, "-c", WARM, str(tmp_path)], capture_output=True, text=True, check=True)
        return done.stdout.split()

    cold, warm = run(), run()
    assert cold[:2] == ["True", "True"]
    assert warm[:2] == ["False", "False"]
    assert cold[2] == warm[2]
