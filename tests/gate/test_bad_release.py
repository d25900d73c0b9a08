"""What people hand to the gate by mistake: each is one sentence that says what to mend, and no figure comes of it."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from pytest_robust.data.split import Split
from pytest_robust.errors import (
    AttackError,
    DataError,
    MissingDataError,
    ModelError,
    RobustError,
    SettingsError,
    UnknownNameError,
    UnreliableEvaluationWarning,
)  # fmt: skip
from pytest_robust.evaluation.verdict import Verdict
from pytest_robust.gate.checks import repeat_checks

NOTHING = torch.zeros(0, dtype=torch.int64)


def refused(error: type[RobustError], pattern: str):
    return pytest.raises(error, match=rf"(?s)\A{pattern}\Z")


# -- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["missing.pt", "folder/missing.onnx"])
def test_a_model_file_that_is_missing(robust, images, path):
    with refused(
        ModelError, rf"the model file .*{path} cannot be read: there is no file there; name a TorchScript .*\."
    ):
        robust.evaluate(path, images)


def test_a_folder_in_the_place_of_a_model_file(robust, images, tmp_path):
    with refused(ModelError, r".* there is a folder; .*"):
        robust.evaluate(tmp_path, images)


@pytest.mark.parametrize("saved", [lambda net: net.state_dict(), lambda net: net], ids=["weights", "pickled module"])
def test_a_file_with_weights_alone(robust, images, tmp_path, saved):
    torch.save(saved(nn.Linear(64, 4)), tmp_path / "weights.pt")
    with refused(
        ModelError, r"the model file .*weights.pt holds weights or a pickled module, .* 'module:factory' .*\."
    ):
        robust.evaluate("weights.pt", images)


@pytest.mark.parametrize("name", ["m.pt", "m.pt2", "m.onnx"])
def test_a_file_that_is_no_model(robust, images, tmp_path, name):
    (tmp_path / name).write_bytes(b"no model" * 100)
    with refused(ModelError, rf"the model file .*{name} cannot be loaded as a TorchScript file.*: \w+.*\."):
        robust.evaluate(name, images)


def test_images_of_a_shape_that_the_model_does_not_take(robust, toy):
    with refused(
        ModelError,
        r"the model Sequential fails on images of shape \(3, 8, 8\) \(C, H, W\) from images: .*; give it the.*\.",
    ):
        robust.evaluate(toy.network.eval(), (torch.rand(5, 3, 8, 8), torch.zeros(5, dtype=torch.int64)))
    with refused(RobustError, r".*toy.*\(1, 9, 9\).*"):
        robust.evaluate(toy, (torch.rand(5, 1, 9, 9), torch.zeros(5, dtype=torch.int64)), "fgsm")


def test_labels_beyond_the_models_classes(robust, toy, images):
    labels = images.y.clone()
    labels[0] = 6
    with refused(
        DataError, r"images: the labels run from 0 to 6, but toy gives 4 logits, for the classes 0 to 3: .*\."
    ):
        robust.evaluate(toy, (images.x, labels))


def test_labels_that_count_from_one(robust, toy, images):
    with refused(
        DataError, r"images: the labels run from 1 to 4, and toy gives 4 logits: count classes from zero .*\."
    ):
        robust.evaluate(toy, (images.x, images.y + 1))


def test_labels_that_count_from_one_and_a_model_with_room_for_them(robust, toy, images):
    class Roomy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = toy

        def forward(self, x):
            return torch.cat([self.inner(x), torch.full((len(x), 1), -9.0)], 1)

    with pytest.warns(UnreliableEvaluationWarning, match="labels count the classes in the model's order"):
        result = robust.evaluate(Roomy().eval(), (images.x, images.y + 1))
    assert result.checks


@pytest.mark.parametrize("attack", [None, "fgsm"])
def test_a_model_that_normalises_twice_is_no_better_than_guessing(robust, images, attack):
    class Normalising(nn.Module):
        """Right only for images that are normalised once."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            quarters = ((x - 0.45) / 0.1).reshape(-1, 2, 4, 2, 4).mean((2, 4)).reshape(-1, 4) * self.scale
            return torch.cos(3 * (quarters - 1.25))  # a bright quarter is at 0.575, the others are at 0.425

    model = Normalising().eval()
    assert robust.evaluate(model, images).clean_accuracy.value > 0.9
    with pytest.warns(UnreliableEvaluationWarning, match="no better than guessing"):
        result = robust.evaluate(model, images, attack, mean=0.45, std=0.1)
    assert "that the model does not normalise its images itself, as mean and std are given here too" in result.checks[0]
    assert result.at_least(0.01).verdict == "unreliable"


def test_a_good_model_on_few_images_is_not_called_guessing(robust, toy, images):
    assert robust.evaluate(toy, images.subset([0, 1, 2])).reliable


@pytest.mark.parametrize("where", ["first image", "last image"])
def test_logits_that_are_nan(robust, toy, images, where):
    at = 0 if where == "first image" else -1

    def model(x):
        logits = toy(x)
        logits[(x == images.x[at]).flatten(1).all(1)] = float("nan")
        return logits

    with refused(
        ModelError, r".*model gives NaN or infinite logits for 1 of \d+ images: check its weights and inputs\."
    ):
        robust.evaluate(model, images)


def test_sigmoids_in_the_place_of_logits(robust, toy, images):
    with pytest.warns(UnreliableEvaluationWarning, match=r"all outputs lie in \[0, 1\].*sigmoid.*give logits"):
        found = robust.evaluate(lambda x: toy(x).sigmoid(), images, "pgd", eps=16 / 255)
    assert not found.reliable
    assert found.at_least(0.01).verdict is Verdict.UNRELIABLE


def test_logits_that_a_handful_of_images_leaves_in_the_unit_range(robust, toy, images):
    """A few small positive logits are no sign: nothing but a network that says so on many images is."""
    assert robust.evaluate(toy, images).reliable
    few = images.subset(toy.predict(images.x) == images.y).subset(range(9))
    assert robust.evaluate(lambda x: toy(x).sigmoid(), few).reliable


def test_probabilities_in_the_place_of_logits(robust, toy, images):
    with refused(ModelError, r"the model a lambda gives probabilities .*leave its softmax out.*\."):
        robust.evaluate(lambda x: toy(x).softmax(1), images)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda x: x.flatten(1).argmax(1), r"torch.int64 of shape \(4,\)"),
        (lambda x: (x.flatten(1), None), r"(tuple|fails on images)"),
        (lambda x: x.flatten(1)[:, :1], "a single output"),
        (lambda x: {"logits": x}, r"(dict|fails on images)"),
        (lambda x: x, r"torch.float32 of shape \(4, 1, 8, 8\)"),
    ],
    ids=["labels", "a tuple", "one logit", "a dictionary", "images"],
)
def test_outputs_that_are_no_logits(robust, images, model, told):
    with refused(ModelError, rf"the model a lambda .*{told}.*\."):
        robust.evaluate(model, images)


def test_an_error_of_the_models_own_is_told_with_its_place(robust, images):
    def model(x):
        raise KeyError("layer")

    with refused(ModelError, r".*model fails on images .*KeyError: 'layer' \(.*test_bad_release.py:\d+\).*") as caught:
        robust.evaluate(model, images)
    assert isinstance(caught.value.__cause__, KeyError)
    assert "images it was made for" not in str(caught.value)


class Lacking(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 3)

    def forward(self, x):
        return self.nothing(x)


def test_an_error_that_torch_raises_for_the_model_is_told_with_the_models_line(robust, images):
    line = Lacking.forward.__code__.co_firstlineno + 1
    with refused(ModelError, rf".*no attribute 'nothing' \(.*test_bad_release.py:{line}\)\."):
        robust.evaluate(Lacking().eval(), images)


@pytest.mark.parametrize("model", [None, 3, nn.Linear, {"a": 1}, "no module and no file"])
def test_what_is_no_model_at_all(robust, images, model):
    with refused(ModelError, r".*(is no model|cannot be read).*'module:factory'\."):
        robust.evaluate(model, images)


# -- factories -------------------------------------------------------------------------------------------------------


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Writes a module that is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = []

    def write(code: str) -> str:
        names.append(f"bad_release_{tmp_path.name}")
        (tmp_path / f"{names[-1]}.py").write_text(code)
        return names[-1]

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_factory_that_raises(robust, images, release):
    name = release("def model():\n    raise FileNotFoundError('weights.bin is not here.\\nat all')\n")
    told = r"FileNotFoundError: weights.bin is not here. at all \(\S*bad_release_\w+.py:2\)"
    with refused(ModelError, rf"the model factory '{name}:model' raised {told}: mend the factory\.") as caught:
        robust.evaluate(f"{name}:model", images)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with refused(DataError, rf"the data factory '{name}:model' raised .*"):
        robust.evaluate(lambda x: x, f"{name}:model")


def test_a_factory_that_is_not_there(robust, images, release):
    name = release("def release_model(): ...\n")
    with refused(
        ModelError, r"the model 'no_such_module_at_all:model': there is no module 'no_such_module_at_all' in .*\."
    ):
        robust.evaluate("no_such_module_at_all:model", images)
    with refused(ModelError, rf".*'{name}' has no 'relese_model'; did you mean 'release_model'\?"):
        robust.evaluate(f"{name}:relese_model", images)


def test_a_factory_with_arguments(robust, images, release):
    name = release("def model(weights): ...\n")
    with refused(ModelError, rf"the model factory '{name}:model' cannot be called without arguments .*'weights'.*\."):
        robust.evaluate(f"{name}:model", images)


@pytest.mark.parametrize("code", ["import a_package_that_nobody_has\n", "1 / 0\n", "def ("])
def test_a_module_that_cannot_be_imported(robust, images, release, code):
    name = release(code)
    with refused(ModelError, rf"the model '{name}:model': importing '{name}' raised \w+Error.*\."):
        robust.evaluate(f"{name}:model", images)


def test_a_factory_that_gives_no_model(robust, images, release):
    name = release("def model(): return None\n")
    with refused(ModelError, r"None is no model: give .*"):
        robust.evaluate(f"{name}:model", images)


def test_a_class_in_the_place_of_a_model(robust, images):
    class Net(nn.Linear):
        pass

    with refused(ModelError, r".*Net'> is no model but a class: call it, Net\(\), or give 'module:factory'\."):
        robust.evaluate(Net, images)


def test_a_model_of_half_precision(robust, images):
    half = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).half().eval()
    with refused(ModelError, r"the model Sequential fails .*; its weights are torch.float16: call \.float\(\) on it\."):
        robust.evaluate(half, images)


def test_a_factory_in_a_file(robust, images):
    with refused(ModelError, r"the model 'digitnet.py:model' names a file, .*: write 'digitnet:model'\."):
        robust.evaluate("digitnet.py:model", images)


# -- data ------------------------------------------------------------------------------------------------------------


def test_images_in_0_to_255(robust, toy, images):
    with refused(
        DataError, r"images: images must be finite and in \[0, 1\], but run from .* to 2\d\d.*: divide by 255\."
    ):
        robust.evaluate(toy, (images.x * 255 / images.x.max(), images.y))


def test_images_in_0_to_16(robust, toy, images):
    with refused(DataError, r".* to 16: divide by their largest possible value, 16 here\?\."):
        robust.evaluate(toy, (images.x * 16 / images.x.max(), images.y))


def test_images_that_are_given_several_times(robust, toy, images):
    x, y = images.x.repeat(3, 1, 1, 1), images.y.repeat(3)
    with pytest.warns(
        UnreliableEvaluationWarning, match="only 48 of the 144 images are distinct.*give each image once"
    ):
        found = robust.evaluate(toy, (x, y))
    assert found.at_least(0.01).verdict is Verdict.UNRELIABLE


def test_two_duplicates_in_a_hundred_images_are_no_matter(robust, toy, images):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(100, *images.input_shape, generator=generator)
    x[99], x[97] = x[0], x[2]
    assert repeat_checks(Split(x, torch.zeros(100, dtype=torch.int64), 4)) == ()
    x[98] = x[1]
    assert len(repeat_checks(Split(x, torch.zeros(100, dtype=torch.int64), 4))) == 1


def test_images_that_are_normalised_already(robust, toy, images):
    with refused(DataError, r".*\[0, 1\].*undo any normalisation; it belongs into the model\."):
        robust.evaluate(toy, (images.x - 0.45, images.y))


def test_images_with_their_channels_last(robust, toy):
    with refused(DataError, r".*\(5, 8, 9, 3\) look like \(N, H, W, C\): permute them to \(N, C, H, W\)\."):
        robust.evaluate(toy, (torch.rand(5, 8, 9, 3), torch.zeros(5, dtype=torch.int64)))


def test_images_of_different_sizes(robust, toy):
    pairs = [(torch.rand(1, 8, 8), 0), (torch.rand(1, 9, 9), 1), (torch.rand(1, 8, 8), 1)]
    with refused(DataError, r"list: .* different shapes \(\(1, 8, 8\), \(1, 9, 9\)\): resize and crop them alike .*\."):
        robust.evaluate(toy, pairs)


@pytest.mark.parametrize("labels", [torch.eye(4)[:3], torch.tensor([0.0, 1.0, 2.0])], ids=["one-hot", "floats"])
def test_labels_that_are_no_whole_numbers(robust, toy, images, labels):
    with refused(DataError, r"images: labels are torch.float32 .*one whole number per image is expected.*\."):
        robust.evaluate(toy, (images.x[:3], labels))


def test_labels_below_zero_or_too_few(robust, toy, images):
    with refused(DataError, r".*count classes from zero.*"):
        robust.evaluate(toy, (images.x, images.y - 1))
    with refused(DataError, r"images: there are 48 images, but 47 labels: give one label per image\."):
        robust.evaluate(toy, (images.x, images.y[1:]))


@pytest.mark.parametrize(
    "data",
    [(torch.rand(0, 1, 8, 8), NOTHING), [], TensorDataset(torch.rand(0, 1, 8, 8), NOTHING)],
    ids=["tensors", "list", "TensorDataset"],
)
def test_no_images(robust, toy, data):
    with refused(DataError, r"\w+ holds no images: there is nothing to evaluate\."):
        robust.evaluate(toy, data)


@pytest.mark.parametrize("data", [None, 3, {"x": 1}, torch.rand(3, 1, 8, 8), [torch.rand(1, 8, 8)] * 3])
def test_what_is_no_data_at_all(robust, toy, data):
    with refused(DataError, r".*give a Dataset or DataLoader of \(image, label\), .*\."):
        robust.evaluate(toy, data)


def test_a_data_set_that_raises(robust, toy):
    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            raise OSError("the disk is gone")

    with refused(DataError, r"reading Broken\[0\] raised OSError: the disk is gone \(.*test_bad_release.py:\d+\)\."):
        robust.evaluate(toy, Broken())


def test_a_folder_that_is_missing_or_holds_no_images(robust, toy, tmp_path):
    with refused(DataError, r"there is no folder of images .*/nowhere: give .*\.") as caught:
        robust.evaluate(toy, "nowhere")
    assert not isinstance(caught.value, MissingDataError), "a typo must not read as a skip"
    (tmp_path / "test_images").mkdir()
    with refused(DataError, r"there is no folder of images .*/tset_images: did you mean 'test_images'\?"):
        robust.evaluate(toy, "tset_images")
    (tmp_path / "empty").mkdir()
    with refused(DataError, r".*empty.*"):
        robust.evaluate(toy, "empty")
    (tmp_path / "broken" / "cat").mkdir(parents=True)
    (tmp_path / "broken" / "cat" / "1.png").write_bytes(b"no image")
    with refused(DataError, r".*1.png cannot be decoded as an image .*\."):
        robust.evaluate(toy, "broken")


# -- attacks and settings --------------------------------------------------------------------------------------------


def test_a_budget_larger_than_one(robust, toy, images):
    with refused(SettingsError, r"the attack 'pgd' has eps=8, .*write 8/255, not 8\."):
        robust.evaluate(toy, images, "pgd", eps=8)


def test_an_attack_that_nobody_registered(robust, toy, images):
    with refused(UnknownNameError, r"unknown attack 'pdg'; did you mean 'pgd'\?.*"):
        robust.evaluate(toy, images, "pdg")


def test_a_parameter_that_the_attack_does_not_take(robust, toy, images):
    with refused(SettingsError, r"the attack 'pgd' takes no parameter 'iterations'; it takes: .*max_iter.*\."):
        robust.evaluate(toy, images, "pgd", iterations=10)
    with refused(SettingsError, r"the attack 'fgsm' takes no parameter 'steps'.*"):
        robust.evaluate(toy, images, "fgsm", steps=10)
    with refused(SettingsError, r"the attack 'deepfool' takes no parameter 'eps'.*"):
        robust.evaluate(toy, images, "deepfool", eps=0.1)


def test_settings_of_an_attack_without_its_name(robust, toy, images):
    with refused(SettingsError, r"eps, steps is for an attack, and none is named: write attack='pgd' with it\."):
        robust.evaluate(toy, images, eps=0.1, steps=10)


def test_gradients_of_a_function_that_has_none(robust, toy, images):
    with refused(AttackError, r".*has no gradient: .*gradient-free attack.*"):
        robust.evaluate(lambda x: toy(x).detach(), images, "pgd", eps=0.1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"mean": (0.1, 0.2)}, r"mean has shape \(2,\), but toy has images of shape \(1, 8, 8\).*"),
        ({"std": 0.0}, r"std=0.0 cannot be: a std is positive\."),
        ({"mean": float("nan")}, r"mean=nan cannot be: it is not finite\."),
        ({"mean": "imagenet"}, r"mean='imagenet' is no number, nor one per channel\."),
        ({"confidence": 95}, r"confidence=95 must lie between 0 and 1: write 0.95\."),
    ],
)
def test_a_normalisation_or_a_confidence_that_cannot_be(robust, toy, images, given, told):
    with refused(SettingsError, told):
        robust.evaluate(toy.network.eval(), images, **given)


def test_a_classifier_normalises_its_images_itself(robust, toy, images):
    with refused(SettingsError, r"'toy' is a Classifier with its normalisation inside: leave mean and std out\."):
        robust.evaluate(toy, images, mean=0.5)
