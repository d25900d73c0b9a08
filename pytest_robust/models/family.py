"""A Family: named classifiers of the same images, to be compared with each other."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from pytest_robust.data.images import Images
from pytest_robust.errors import FamilyError, ModelError
from pytest_robust.models.classifier import Classifier
from pytest_robust.models.resized import ResizedInput
from pytest_robust.models.threads import suitable_threads
from pytest_robust.store.blame import is_about_shapes, told

#: Images that are in memory at one time: 37 MB at 3 × 224 × 224.
CHUNK = 64


@dataclass(frozen=True, eq=False)
class Member:
    """A network with what is known of it, as a family's function may give it.

    Args:
        network: from images in [0, 1] to logits; a `Classifier`, or any module.
        group: of networks that are built alike ("vgg"); None belongs to no group.
        published_accuracy: a share between 0 and 1, as whoever trained it published it.
        input_size: pixels of both sides of the images that it was made for, if they are not the data set's: images
            are then resized inside, differentiably.
    """

    network: nn.Module
    group: str | None = None
    published_accuracy: float | None = None
    input_size: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Family:
    """Named classifiers that take the same images and know the same classes.

    Args:
        name: for people and reports.
        members: the classifiers by name, in the order in which tables show them.
        groups: names of members to the group that they belong to, where they belong to one.
        published: names of members to their published accuracy, where there is one.

    Raises:
        FamilyError: no members, members that differ in classes or input shape, or facts about a stranger.
    """

    name: str
    members: Mapping[str, Classifier]
    groups: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.members:
            raise FamilyError(f"the family {self.name!r} has no networks: its function must give one or more.")
        first = next(iter(self.members))
        for name, classifier in self.members.items():
            _check_alike(self.name, name, classifier, first, self.members[first])
        for name in {*self.groups, *self.published} - set(self.members):
            raise FamilyError(f"the family {self.name!r} says something of {name!r}, which is none of its networks.")

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        """The name and the members' names."""
        return f"Family({self.name}: {', '.join(self.members)})"

    @property
    def num_classes(self) -> int:
        """How many classes every member knows."""
        return classes_of(next(iter(self.members.values())))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of the images that every member takes."""
        return next(iter(self.members.values())).input_shape

    def predict(self, images: Images) -> dict[str, Tensor]:
        """Each member's predicted labels, int64 of shape (N,), by its name; one pass over `images`, in chunks."""
        return predictions(self.members, images)

    def correctly_classified(self, images: Images) -> Tensor:
        """Positions, int64, of the images that every member classifies correctly, in order; one pass, in chunks.

        ``images.subset(family.correctly_classified(images))`` are the images. `Bench.correctly_classified_by_all`
        is the same from the store.

        Raises:
            FamilyError: there is no such image.
        """
        return right_by_all(self.name, self.predict(images), images)


def classes_of(classifier: Classifier) -> int:
    """How many classes it knows: its outputs, but for the one that stands for "rejected"."""
    return classifier.num_classes - classifier.rejects


def _check_alike(family: str, name: str, found: Classifier, first: str, other: Classifier) -> None:
    if not isinstance(found, Classifier):
        raise FamilyError(f"the family {family!r}: {name!r} is a {type(found).__name__}, but a Classifier is expected.")
    for what, mine, theirs in (
        ("classes", classes_of(found), classes_of(other)),
        ("input shape (C, H, W)", found.input_shape, other.input_shape),
    ):
        if mine != theirs:
            raise FamilyError(
                f"the networks of the family {family!r} differ in {what}: {mine} for {name!r}, {theirs} for {first!r}; "
                "only networks of the same images and classes can be compared (ResizedInput takes any size)."
            )


def predictions(members: Mapping[str, Classifier], images: Images) -> dict[str, Tensor]:
    """Each classifier's predicted labels, int64 of shape (N,) on the CPU; one pass over `images`, in chunks."""
    if not members:
        return {}
    parts: dict[str, list[Tensor]] = {name: [torch.empty(0, dtype=torch.int64)] for name in members}
    with suitable_threads(images.input_shape, next(iter(members.values())).device):
        for chunk in images.chunks(CHUNK):
            for name, classifier in members.items():
                parts[name].append(classifier.predict(chunk.x).cpu())
    return {name: torch.cat(found) for name, found in parts.items()}


def right_by_all(family: str, predicted: Mapping[str, Tensor], images: Images) -> Tensor:
    """Positions, int64, of the images whose label all of `predicted` name, in order.

    Raises:
        FamilyError: there is no such image; the message holds each network's accuracy.
    """
    right = {name: labels == images.y.cpu() for name, labels in predicted.items()}
    index = torch.stack(list(right.values())).all(0).nonzero().flatten()
    if len(index) == 0:
        shares = ", ".join(f"{name} {float(hits.float().mean()):.1%}" for name, hits in right.items())
        raise FamilyError(
            f"no image of {images.name} ({len(images)}) is classified correctly by every network of the family "
            f"{family!r} ({shares}): give more images, check that labels and classes count alike, or leave one out."
        )
    return index


def family_of(
    name: str,
    made: object,
    num_classes: int,
    input_shape: tuple[int, int, int],
    device: torch.device,
    *,
    copied: bool = False,
) -> Family:
    """The family that a function gave: every network fitted to the images, tried on some, on `device`, frozen.

    Args:
        name: of the family.
        made: a `Family`, or names to modules, `Classifier`\\ s or `Member`\\ s.
        num_classes: of the images.
        input_shape: of the images, (C, H, W).
        device: where the networks shall be.
        copied: networks that are not frozen there already are copied first: whoever gave them goes on training them.

    Raises:
        FamilyError: it is something else, or a network does not fit the images; the message names the network.
    """
    if isinstance(made, Family):
        members = {k: Member(v, made.groups.get(k), made.published.get(k)) for k, v in made.members.items()}
    else:
        members = {key: _member(name, key, value) for key, value in _mapping(name, made).items()}
    fitted = {}
    for key, given in members.items():
        member = replace(given, network=_apart(name, key, given.network, device)) if copied else given
        classifier = _fitted(name, key, member, num_classes, input_shape)
        fitted[key] = classifier.to(device).eval().requires_grad_(False)
        _try(name, key, fitted[key])
    groups = {key: member.group for key, member in members.items() if member.group is not None}
    published = {k: m.published_accuracy for k, m in members.items() if m.published_accuracy is not None}
    return Family(name, fitted, groups, published)


def _apart(family: str, name: str, network: nn.Module, device: torch.device) -> nn.Module:
    """`network` itself where nothing is to be changed on it, or else a copy."""
    tensors = [*network.parameters(), *network.buffers()]
    frozen = not any(module.training for module in network.modules()) and not any(t.requires_grad for t in tensors)
    if frozen and all(tensor.device == device for tensor in tensors):
        return network
    try:
        return copy.deepcopy(network)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise FamilyError(
            f"the family {family!r}: {name!r} cannot be copied ({reason}); give it as .eval().requires_grad_(False) on "
            f"{device}, and it is taken as it is."
        ) from error


def _mapping(family: str, made: object) -> Mapping[str, object]:
    if isinstance(made, Mapping) and (wrong := [key for key in made if not isinstance(key, str)]):
        raise FamilyError(
            f"the family {family!r}: names of networks must be text, not {type(wrong[0]).__name__}: write "
            f"{str(wrong[0])!r} for {wrong[0]!r}."
        )
    if not isinstance(made, Mapping):
        raise FamilyError(
            f"the family {family!r} must be names to networks, like {{'small': net, 'large': other}}, not a "
            f"{type(made).__name__}."
        )
    return made


def _member(family: str, name: str, value: object) -> Member:
    if isinstance(value, nn.Module):
        return Member(value)
    if isinstance(value, Member) and isinstance(value.network, nn.Module):
        return value
    found = value.network if isinstance(value, Member) else value
    raise FamilyError(
        f"the family {family!r}: {name!r} is a {type(found).__name__}, but a torch.nn.Module, a Classifier or a Member "
        "of one is expected."
    )


def _fitted(family: str, name: str, member: Member, num_classes: int, input_shape: tuple[int, int, int]) -> Classifier:
    network = member.network
    rejects = isinstance(network, Classifier) and network.rejects
    if member.input_size is not None and input_shape[1:] != (member.input_size, member.input_size):
        network = ResizedInput(network, member.input_size)
    if not isinstance(network, Classifier):
        outputs = num_classes + rejects
        return Classifier(network, num_classes=outputs, input_shape=input_shape, name=name, rejects=rejects)
    for what, own, wanted, hint in (
        ("classes", classes_of(network), num_classes, "only networks of the same classes can be compared"),
        ("input shape (C, H, W)", network.input_shape, input_shape, _RESIZE),
    ):
        if own != wanted:
            raise FamilyError(
                f"the family {family!r}: {name!r} has {what} {own}, but the images have {wanted}: {hint}."
            )
    return network


_RESIZE = "give Member(network, input_size=N), and images are resized to N × N inside"


def _try(family: str, name: str, classifier: Classifier) -> None:
    """Raise FamilyError unless `classifier` answers one image, and two, with a logit per class."""
    where = f"the family {family!r}: {name!r}"
    try:
        for n in (2, 1):  # a network that drops every dimension of size one fails on the last chunk alone
            classifier.logits_of(torch.zeros(n, *classifier.input_shape))
    except ModelError as error:
        raise FamilyError(f"{where} does not fit: {error}") from error
    except Exception as error:
        hint = f"; if it was made for another size, {_RESIZE}" if is_about_shapes(error) else ""
        raise FamilyError(
            f"{where} fails on images of shape {classifier.input_shape} (C, H, W): {told(error)}{hint}."
        ) from error
