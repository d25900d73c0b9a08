"""Families: networks that compare, whole or not at all, and the images that all of them classify correctly."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from pytest_robust.data.split import Split
from pytest_robust.errors import FamilyError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.family import Family, Member, family_of, right_by_all
from pytest_robust.models.predicted import load_or_predict
from pytest_robust.models.progress import SilentProgress
from pytest_robust.models.resized import ResizedInput
from pytest_robust.store.artifacts import ArtifactStore

SHAPE = (1, 4, 4)
CPU = torch.device("cpu")


class Brightest(nn.Module):
    """Logits are the first pixels of the image: the label is the brightest of them."""

    def __init__(self, classes: int = 3, side: int | None = None) -> None:
        super().__init__()
        self.classes, self.side = classes, side

    def forward(self, x: Tensor) -> Tensor:
        if self.side is not None and x.shape[-1] != self.side:
            raise ValueError(f"made for {self.side} pixels")
        return 5 * x.flatten(1)[:, : self.classes]


class Dimmest(Brightest):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


class Squeezing(Brightest):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


def made(networks: object, name: str = "mine") -> Family:
    return family_of(name, networks, 3, SHAPE, CPU)


def images(n: int = 9) -> Split:
    x = torch.zeros(n, *SHAPE)
    x.flatten(1)[torch.arange(n), torch.arange(n) % 3] = 1.0
    return Split(x, torch.arange(n) % 3, 3, "stripes")


def test_modules_classifiers_and_members_become_classifiers_of_the_same_images():
    classifier = Classifier(Brightest(), num_classes=3, input_shape=SHAPE, mean=0.5, name="theirs")
    family = made(
        {"plain": nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).train(), "ready": classifier,
         "known": Member(Brightest(), group="bright", published_accuracy=0.9)}
    )  # fmt: skip
    assert list(family.members) == ["plain", "ready", "known"]
    assert family.members["ready"] is classifier
    assert (family.groups, family.published) == ({"known": "bright"}, {"known": 0.9})
    assert (family.num_classes, family.input_shape, len(family)) == (3, SHAPE, 3)
    assert repr(family) == "Family(mine: plain, ready, known)"
    plain = family.members["plain"]
    assert not plain.training
    assert not plain.network.training
    assert not any(parameter.requires_grad for parameter in plain.parameters())


def test_a_family_passes_through_with_what_is_known_of_it():
    first = made({"a": Member(Brightest(), group="g", published_accuracy=0.5)})
    again = made(first, first.name)
    assert (dict(again.members), again.groups, again.published) == (dict(first.members), {"a": "g"}, {"a": 0.5})


def test_a_network_of_another_size_resizes_inside():
    large, own = Brightest(side=8), Brightest(side=4)
    family = made({"large": Member(large, input_size=8), "own": Member(own, input_size=4)})
    assert family.members["large"].logits_of(torch.rand(2, *SHAPE)).shape == (2, 3), "it refuses other than 8 pixels"
    assert family.input_shape == SHAPE
    assert family.members["own"].network is own, "nothing is put around what fits"


def test_a_network_that_cannot_be_copied_is_named():
    network = Brightest()
    network.numbers = (n for n in range(3))
    with pytest.raises(FamilyError, match=r"'a' cannot be copied \(TypeError: .*give it as \.eval\(\)"):
        family_of("mine", {"a": network}, 3, SHAPE, CPU, copied=True)


@pytest.mark.parametrize("size", [3, 4, 9, 20])
def test_resizing_lets_the_whole_gradient_through(size):
    torch.manual_seed(0)
    x = torch.rand(2, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    resized = ResizedInput(nn.Identity(), size)
    assert resized(x).shape == (2, 1, size, size)
    assert bool(((resized(x) >= 0) & (resized(x) <= 1)).all())
    assert torch.autograd.gradcheck(resized, (x,))
    (gradient,) = torch.autograd.grad(resized(x).sum(), x)
    assert bool((gradient > 0).all()), "every pixel has a say"
    assert torch.equal(ResizedInput(nn.Identity(), 6)(x), x)


def test_resizing_is_torchvisions():
    from torchvision.transforms.functional import resize

    x = torch.rand(2, 3, 30, 30)
    for size in (8, 13, 47):
        assert torch.allclose(ResizedInput(nn.Identity(), size)(x), resize(x, [size, size], antialias=True), atol=1e-6)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({}, "has no networks"),
        ([Brightest()], "must be names to networks, .* not a list"),
        ({1: Brightest()}, "names of networks must be text, not int: write '1' for 1"),
        (None, "must be names to networks, .* not a NoneType"),
        ({"a": Brightest(), "b": "resnet18"}, "'b' is a str, but a torch.nn.Module"),
        ({"a": Member("resnet18")}, "'a' is a str, but a torch.nn.Module"),
        ({"a": Brightest(), "b": Brightest(classes=5)}, r"'b' does not fit: .*\(2, 5\).*one logit per class"),
        ({"a": Classifier(Brightest(5), num_classes=5, input_shape=SHAPE)}, "'a' has classes 5, but the images have 3"),
        (
            {"a": Classifier(Brightest(), num_classes=3, input_shape=(1, 8, 8))},
            r"'a' has input shape \(C, H, W\) \(1, 8, 8\), but the images have \(1, 4, 4\): give Member",
        ),
        ({"a": Brightest(side=8)}, r"'a' fails on images of shape \(1, 4, 4\).*made for 8 pixels.*input_size=N"),
        ({"a": nn.Sequential(Brightest(), nn.Softmax(1))}, "'a' does not fit: .* probabilities"),
        ({"a": Squeezing()}, r"'a' does not fit: .*\(3,\).*one logit per class"),
    ],
    ids=[
        "none",
        "list",
        "number",
        "nothing",
        "text",
        "member",
        "outputs",
        "classes",
        "size",
        "fails",
        "softmax",
        "squeezes",
    ],
)
def test_a_network_that_does_not_fit_is_named_and_the_family_is_not_made(networks, message):
    with pytest.raises(FamilyError, match=message):
        made(networks)


def classifier(classes: int = 3, shape: tuple[int, int, int] = SHAPE) -> Classifier:
    return Classifier(Brightest(classes), num_classes=classes, input_shape=shape)


def test_members_must_be_alike_and_facts_of_members():
    with pytest.raises(FamilyError, match="differ in classes: 4 for 'b', 3 for 'a'"):
        Family("f", {"a": classifier(), "b": classifier(4)})
    with pytest.raises(FamilyError, match=r"differ in input shape .*: \(1, 5, 5\) for 'b'"):
        Family("f", {"a": classifier(), "b": classifier(3, (1, 5, 5))})
    with pytest.raises(FamilyError, match="says something of 'c'"):
        Family("f", {"a": classifier()}, groups={"c": "g"})
    with pytest.raises(FamilyError, match="'a' is a Brightest, but a Classifier"):
        Family("f", {"a": Brightest()})


def test_only_images_that_all_classify_correctly_count():
    split, wrong = images(), torch.tensor([1, 4, 8])
    y = split.y.clone()
    y[wrong] = (y[wrong] + 1) % 3
    relabelled = Split(split.x, y, 3, "with mistakes")
    family = made({"a": Brightest(), "b": Brightest()})
    index = family.correctly_classified(relabelled)
    assert index.dtype == torch.int64
    assert index.tolist() == [0, 2, 3, 5, 6, 7]
    assert torch.equal(family.predict(relabelled)["a"], split.y)
    one_off = {"a": torch.tensor([0, 1, 2]), "b": torch.tensor([0, 0, 2])}
    assert right_by_all("f", one_off, images(3)).tolist() == [0, 2]


def test_no_image_that_all_classify_correctly_is_an_error_with_each_ones_accuracy():
    family = made({"good": Brightest(), "bad": Dimmest()})
    with pytest.raises(FamilyError, match=r"no image of stripes \(9\) .* 'mine' \(good 100\.0%, bad 0\.0%\)"):
        family.correctly_classified(images())
    with pytest.raises(FamilyError, match="no image of stripes"):
        family.correctly_classified(images().subset([]))


class Counted:
    """Images that note how many are in memory at a time, and how often they are read."""

    def __init__(self, split: Split) -> None:
        self._split, self.name, self.y, self.fingerprint = split, split.name, split.y, split.fingerprint
        self.num_classes, self.input_shape = split.num_classes, split.input_shape
        self.passes, self.most = 0, 0

    def __len__(self) -> int:
        return len(self._split)

    def chunks(self, size):
        self.passes += 1
        for chunk in self._split.chunks(size):
            self.most = max(self.most, len(chunk))
            yield chunk


def test_predicting_is_one_pass_in_chunks_for_all_networks():
    counted = Counted(images(200))
    found = made({"a": Brightest(), "b": Dimmest()}).predict(counted)
    assert (counted.passes, counted.most) == (1, 64)
    assert torch.equal(found["a"], counted.y)


def test_labels_in_the_store_need_no_images(tmp_path):
    store, counted = ArtifactStore(tmp_path), Counted(images(70))
    members = made({"a": classifier(), "b": nn.Sequential(nn.Flatten(), nn.Linear(16, 3))}).members
    one = {"a": members["a"]}
    first = load_or_predict(one, counted, store)
    both = load_or_predict(members, counted, store)
    assert counted.passes == 2, "the second pass is for the network that is new"
    again = load_or_predict(members, counted, store)
    assert counted.passes == 2
    assert torch.equal(first["a"], both["a"])
    assert list(again) == ["a", "b"]
    assert all(torch.equal(both[name], again[name]) for name in members)
    members["b"].network[1].weight.data.zero_()
    members["b"].train().eval()
    load_or_predict(members, counted, store)
    assert counted.passes == 3, "other weights are another network"


class OwnLoss(Brightest):
    def attack_loss(self, x: Tensor, y: Tensor, targeted: bool) -> tuple[Tensor, Tensor]:
        logits = self(x)
        return logits, logits[torch.arange(len(y)), y] * (1 if targeted else -1)


def test_a_network_keeps_its_own_attack_loss_behind_resizing():
    network = OwnLoss(side=8)
    (classifier,) = made({"large": Member(network, input_size=8)}).members.values()
    x, y = torch.rand(2, *SHAPE), torch.tensor([0, 2])
    for targeted in (False, True):
        logits, values = classifier.attack_loss(x, y, targeted)
        assert torch.equal(logits, classifier(x))
        assert torch.equal(values, network.attack_loss(classifier.network._resized(x), y, targeted)[1])
    assert made({"plain": Member(Brightest(side=8), input_size=8)}).members["plain"].attack_loss is None


def test_the_output_of_a_rejection_is_no_class_of_a_family():
    wary = Classifier(Brightest(4), num_classes=4, input_shape=SHAPE, rejects=True)
    larger = Classifier(Brightest(4, side=8), num_classes=4, input_shape=(1, 8, 8), rejects=True)
    family = made({"plain": Brightest(), "wary": wary, "resized": Member(larger, input_size=8)})
    assert family.num_classes == 3
    assert [member.rejects for member in family.members.values()] == [False, True, True]
    assert family.members["resized"].num_classes == 4


class Interrupted(Counted):
    """Images of which the file at one position cannot be read."""

    def __init__(self, split: Split, broken: int | None = None) -> None:
        super().__init__(split)
        self.broken, self.subsets = broken, []

    def subset(self, index: Tensor) -> Split:
        if self.broken in index.tolist():
            raise KeyboardInterrupt
        self.subsets.append((int(index[0]), len(index)))
        return self._split.subset(index)


class Told(SilentProgress):
    def __init__(self) -> None:
        self.said = []

    def begin(self, title: str, total: int, *_: int) -> None:
        self.said.append((title, total))

    def step(self, _: Mapping[str, float]) -> None:
        self.said.append("step")

    def end(self) -> None:
        self.said.append("end")


def test_predictions_that_were_interrupted_go_on_where_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr("pytest_robust.models.predicted.PART", 64)
    store, split, told = ArtifactStore(tmp_path), images(150), Told()
    members = made({"a": Brightest(), "b": Dimmest()}).members
    first = Interrupted(split, broken=140)
    with pytest.raises(KeyboardInterrupt):
        load_or_predict(members, first, store, told)
    assert first.subsets == [(0, 64), (64, 64)]
    assert told.said == [("classifying the images of stripes", 3), "step", "step", "end"]
    second = Interrupted(split)
    found = load_or_predict(members, second, store)
    assert second.subsets == [(128, 22)], "the rest alone"
    assert all(torch.equal(found[name], members[name].predict(split.x)) for name in members)
