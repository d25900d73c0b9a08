"""Crossing: what is attacked, what is counted, what it costs, and that nothing is made twice."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import cv2
import pytest
import torch
from torch import nn
from toy_networks import SHAPE, CountedImages, Wary, flat

from pytest_robust.attacks.common_checks import toy_classifier, toy_split
from pytest_robust.bench.bench import Bench
from pytest_robust.data.dataset import Dataset
from pytest_robust.data.pixels import to_8bit
from pytest_robust.data.split import Split
from pytest_robust.errors import FamilyError, SettingsError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import Family
from pytest_robust.studies.crossed import cross
from pytest_robust.studies.images import CHUNK, EightBit, drawn
from pytest_robust.studies.numbers import level_differences
from pytest_robust.studies.paired import paired_entries

MakeImages = Callable[[int], Split]
ATTACKS = ("fgs", "hot_cold")


def test_numbers_are_those_of_the_adversarial_sets(bench: Bench, family: Family, make_images: MakeImages) -> None:
    """The slow way: all images at once, every set whole."""
    images = make_images(90)
    crossed = cross(family, images, ATTACKS, bench)
    (eight_bit,) = EightBit(images).chunks(90)
    right = torch.stack([m.predict(eight_bit.x) == images.y for m in family.members.values()], 1)
    assert crossed.correct.equal(right)
    assert sorted(crossed.attacked.tolist()) == right.all(1).nonzero().flatten().tolist()
    attacked = eight_bit.subset(crossed.attacked)
    for attack in ATTACKS:
        for name, member in family.members.items():
            slow, found = bench.attack(member, attack, attacked), crossed.crafted[attack][name]
            assert found.success.equal(slow.success)
            levels = ((slow.x * 255).round().double() - (attacked.x * 255).round().double()).flatten(1)
            assert found.l2.square().round().equal(levels.square().sum(1))
            assert found.linf.equal(levels.abs().amax(1))
            for column, other in enumerate(family.members.values()):
                assert found.fools[:, column].equal(slow.success & (other.predict(slow.x) != attacked.y))
            assert found.pass_score.isnan().equal(~found.success)
            assert found.failures == {"not recorded": 0, **slow.failures}


def test_perturbations_of_as_many_levels_are_of_one_size() -> None:
    """k/255 has no end in binary: as floats alone, a step from 100 to 101 is longer than one from 101 to 100."""
    clean = to_8bit(torch.arange(256.0).view(256, 1, 1, 1) / 255)
    for step in (1, 7):
        up = to_8bit(clean[:-step] + step / 255)
        assert level_differences(clean[:-step], up).eq(step).all()
        assert level_differences(up, clean[:-step]).eq(-step).all()


def test_a_difference_between_two_levels_counts_as_it_is() -> None:
    clean, x = torch.zeros(2, 1, 1, 2), torch.tensor([[[[1.0, 2.4]]], [[[1.0, 2.0]]]]) / 255
    found = level_differences(clean, x)
    assert found[0].tolist() == pytest.approx([1.0, 2.4], abs=1e-5)
    assert float(found[0, 0]) != 1.0
    assert found[1].tolist() == [1.0, 2.0]


def test_another_opencv_measures_again(
    bench: Bench, family: Family, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PASS is its work."""
    cross(family, make_images(20), ["fgs"], bench)
    made = bench.ledger.count("crafted")
    monkeypatch.setattr(cv2, "__version__", "0")
    cross(family, make_images(20), ["fgs"], bench)
    assert bench.ledger.count("crafted") == 2 * made


@pytest.mark.parametrize("as_family", [True, False], ids=["family", "mapping"])
def test_networks_are_studied_in_eval_mode_and_come_back_as_they_were(bench: Bench, as_family: bool) -> None:
    """Their running statistics too: in training mode, looking at images changes them."""
    network, split = toy_classifier(), toy_split(40)
    expected = cross(Family("own", {"a": network}), split, ["fgs"], bench).correct
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train().requires_grad_(True)
    with patch.object(Bench, "dataset", Dataset("toy", split, split, tuple("abcd"))):
        found = cross(Family("own", {"a": network}) if as_family else {"a": network}, split, ["fgs"], bench)
    assert found.correct.equal(expected)
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())


def test_a_family_that_gives_no_logits_is_refused_before_anything(bench: Bench, make_images: MakeImages) -> None:
    softmax = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(1)), num_classes=3, input_shape=SHAPE)
    with pytest.raises(FamilyError, match=r"'a' does not fit.*probabilities"):
        cross(Family("own", {"a": softmax}), make_images(5), ["fgs"], bench)


def test_images_of_some_classes_are_taken_for_any_that_the_networks_know(
    bench: Bench, family: Family, make_images: MakeImages
) -> None:
    """The label of two classes of three: what becomes the third one has fooled, for the maker and for the others."""
    images = make_images(120)
    images = images.subset(images.y < 2)
    narrow, wide = (cross(family, Split(images.x, images.y, n, "some"), ATTACKS, bench) for n in (2, 3))
    for attack in ATTACKS:
        for name in family.members:
            assert narrow.crafted[attack][name].success.equal(wide.crafted[attack][name].success)
            assert narrow.crafted[attack][name].fools.equal(wide.crafted[attack][name].fools)
        assert narrow.checks(attack) == wide.checks(attack) == ()


def test_who_is_only_rejected_fools_nobody(bench: Bench, family: Family, make_images: MakeImages) -> None:
    """One network's "rejected" is worth more than any class but a sure one: it rejects what was made on another."""
    wary = Classifier(Wary(family.members["net 1"]), num_classes=4, input_shape=SHAPE, name="wary", rejects=True)
    both = Family("both", {"plain": family.members["net 0"], "wary": wary})
    images = make_images(60)
    made = cross(both, images, ["fgs"], bench)
    (eight_bit,) = EightBit(images).chunks(60)
    attacked = eight_bit.subset(made.attacked)
    answer = wary.predict(bench.attack(both.members["plain"], "fgs", attacked).x)
    success = made.crafted["fgs"]["plain"].success
    assert (success & (answer == 3)).any()
    assert made.crafted["fgs"]["plain"].fools[:, 1].equal(success & (answer != attacked.y) & (answer < 3))


def test_a_second_run_attacks_nothing_and_reads_no_image(
    bench: Bench, family: Family, make_images: MakeImages, shown: list[int]
) -> None:
    images = CountedImages(make_images(2 * CHUNK))
    first = cross(family, images, ATTACKS, bench)
    made = bench.ledger.count("crafted")
    assert made > 0
    images.read.clear()
    shown.clear()
    again = Bench(bench.settings)
    second = cross(family, images, ATTACKS, again)
    assert (again.ledger.count("crafted"), again.ledger.count("reused")) == (0, made)
    assert images.read == []
    assert max(shown) <= 2  # the black images on which every network is tried
    for attack in ATTACKS:
        for name in family.members:
            assert second.crafted[attack][name].l2.equal(first.crafted[attack][name].l2)
            assert second.crafted[attack][name].fools.equal(first.crafted[attack][name].fools)


def test_an_interrupted_run_goes_on_where_it_was(
    bench: Bench, family: Family, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, left = make_images(3 * CHUNK), 3
    craft = Bench.craft

    def interrupted(*args: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return craft(*args)

    with monkeypatch.context() as patched:
        patched.setattr(Bench, "craft", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cross(family, images, ["fgs"], bench)
    again = Bench(bench.settings)
    whole = cross(family, images, ["fgs"], again)
    assert again.ledger.count("reused") == 3
    assert len(whole.crafted["fgs"]["net 0"].success) == len(whole.attacked)


def test_twice_the_images_cost_at_most_a_twentieth_more_than_twice(
    bench: Bench, family: Family, make_images: MakeImages, shown: list[int]
) -> None:
    images = make_images(3 * CHUNK // 2)
    cost = []
    for times in (1, 2):
        cross(family, images.subset(torch.arange(len(images)).repeat(times)), ATTACKS, bench)
        cost.append(sum(shown))
        shown.clear()
    assert 1.9 * cost[0] <= cost[1] <= 2.1 * cost[0]


def test_no_more_than_a_chunk_is_read_or_shown_at_once(
    bench: Bench, family: Family, make_images: MakeImages, shown: list[int]
) -> None:
    images = CountedImages(make_images(3 * CHUNK))
    cross(family, images, ATTACKS, bench)
    assert max(images.read) <= CHUNK
    assert max(shown) <= CHUNK


def test_a_limit_attacks_the_beginning_of_what_no_limit_attacks(
    bench: Bench, family: Family, make_images: MakeImages
) -> None:
    images = make_images(120)
    few, all_of_them = (cross(family, images, ["fgs"], bench, limit=limit) for limit in (10, None))
    assert few.attacked.equal(all_of_them.attacked[:10])
    assert len(few.correct) == len(images)
    assert drawn(torch.arange(5), 9, 0).sort().values.equal(torch.arange(5))


def test_an_image_is_attacked_as_files_hold_it(make_images: MakeImages) -> None:
    images = make_images(20)
    (rounded,) = EightBit(images).chunks(64)
    assert (rounded.x * 255).round().div(255).equal(rounded.x)
    assert not rounded.x.equal(images.x)
    assert float((rounded.x - images.x).abs().max()) <= 0.5 / 255 + 1e-6


def test_two_settings_of_one_attack_are_told_apart(bench: Bench, family: Family, make_images: MakeImages) -> None:
    attacks = [bench.attack_named("hot_cold", hot=hot) for hot in (1, 2)]
    crossed = cross(family, make_images(40), attacks, bench)
    assert crossed.attacks == tuple(attack.title for attack in attacks)


def test_pairs_are_images_and_networks_on_which_both_succeeded(
    bench: Bench, family: Family, make_images: MakeImages
) -> None:
    crossed = cross(family, make_images(60), ATTACKS, bench)
    first, second, image = paired_entries(crossed, "l2", *ATTACKS)
    made = crossed.crafted
    both = sum(int((made["fgs"][n].success & made["hot_cold"][n].success).sum()) for n in family.members)
    assert len(first) == len(second) == len(image) == both
    assert int(image.max()) < len(crossed.attacked)


def test_an_attack_that_cannot_work_is_said_to_be_broken(bench: Bench, make_images: MakeImages) -> None:
    images = make_images(60)
    crossed = cross(Family("flat", {"flat": flat()}), images.subset(images.y == 0), ["fgs"], bench)
    made = crossed.crafted["fgs"]["flat"]
    assert not made.success.any()
    assert made.failures == {"zero direction": len(made.success), "no step": 0, "unstable": 0, "not recorded": 0}
    signs = crossed.checks("fgs")
    assert any("flat: the surface's gradient is exactly zero on 100.0%" in sign for sign in signs)


def test_networks_that_were_never_trained_are_told(bench: Bench, make_images: MakeImages) -> None:
    images = make_images(90)
    found = cross(Family("flat", {"flat": flat()}), images, ["fgs"], bench)
    assert found.guessing == int(images.y.bincount().max()) / 90
    assert any("flat: the clean accuracy" in sign and "no better than guessing" in sign for sign in found.checks("fgs"))


def test_nothing_in_common_names_every_network(bench: Bench, make_images: MakeImages) -> None:
    images = make_images(30)
    with pytest.raises(FamilyError, match=r"no image .*flat 0\.0%"):
        cross(Family("flat", {"flat": flat()}), images.subset(images.y != 0), ["fgs"], bench)


def test_what_cannot_be_studied_is_refused(bench: Bench, family: Family, make_images: MakeImages) -> None:
    images = make_images(5)
    with pytest.raises(SettingsError, match="at least one attack"):
        cross(family, images, [], bench)
    with pytest.raises(SettingsError, match="a limit of 1 or more"):
        cross(family, images, ["fgs"], bench, limit=0)
    larger = Split(torch.rand(5, 1, 9, 9), images.y, 3, "larger")
    with pytest.raises(
        SettingsError, match=r"'toys' takes images of shape \(1, 8, 8\).* but larger has \(1, 9, 9\) and 3"
    ):
        cross(family, larger, ["fgs"], bench)


def test_one_attack_needs_no_list(bench: Bench, family: Family, make_images: MakeImages) -> None:
    assert cross(family, make_images(20), "fgs", bench).attacks == ("fgs",)
    assert cross(family, make_images(20), bench.attack_named("fgs"), bench).attacks == ("fgs",)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"limit": 2.5}, r"at most 2\.5 images .* a limit of 1 or more"),
        ({"attacks": [None]}, r"an attack is a registered name or a pytest_robust\.Attack, not a NoneType"),
        ({"attacks": ["fgs", "hot_cold", "fgs"]}, r"'fgs.*' is there twice: give each attack of a study once"),
        ({"images": (torch.rand(5, 1, 8, 8), torch.zeros(5))}, r"not a tuple: .*Split\(x, y, num_classes\)"),
    ],
)
def test_a_mistake_is_one_sentence(
    bench: Bench, family: Family, make_images: MakeImages, change: dict[str, object], sentence: str
) -> None:
    given: dict[str, object] = {"images": make_images(5), "attacks": ["fgs"], "limit": None, **change}
    with pytest.raises(SettingsError, match=sentence):
        cross(family, given["images"], given["attacks"], bench, limit=given["limit"])  # type: ignore[arg-type]
