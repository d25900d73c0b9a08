"""How a run's family is named, found and loaded, and the ones that the bench trains itself."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from pytest_robust.bench import trained_families
from pytest_robust.bench.families import DEFAULTS
from pytest_robust.catalogue import FAMILIES
from pytest_robust.errors import FamilyError, MissingDataError, UnknownNameError
from pytest_robust.models.family import Family, Member
from pytest_robust.models.structure import structure_fingerprint

TWO = """
    from torch import nn

    def models():
        return {name: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for name in ("a", "b")}
"""


@pytest.fixture
def file(tmp_path):
    """Writes a file and gives its path."""

    def write(source: str, name: str = "mine.py"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(source))
        return path

    return write


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_a_function_in_a_file_is_a_family(make_bench, file):
    name = f"{file(TWO)}:models"
    bench = make_bench(family=name)
    family = bench.family()
    # Called by its folder too: two projects may each have a mine.py.
    folder = Path(name.rpartition(":")[0]).parent.name
    assert (family.name, list(family.members)) == (f"{folder}/mine.py:models", ["a", "b"])
    assert bench.family() is family, "loaded once"
    assert family.members["a"].name == "a"
    assert family.input_shape == (1, 8, 8)


def test_a_function_with_one_parameter_gets_the_bench(bench, file):
    path = file(
        """
        from pytest_robust import Member

        def trained(bench, hidden=3):
            return {"undefended": Member(bench.classifier, group="own")}
        """
    )
    family = bench.family(f"{path}:trained")
    assert family.members["undefended"] is bench.classifier
    assert family.groups == {"undefended": "own"}


def test_a_file_is_found_from_where_the_program_is_and_its_networks_count_by_their_source(bench, file, monkeypatch):
    path = file(
        """
        from torch import nn

        class Net(nn.Sequential):
            pass

        def models():
            return {"a": Net(nn.Flatten(), nn.Linear(64, 10))}
        """
    )
    monkeypatch.chdir(path.parent)
    network = bench.family("mine.py:models").members["a"]
    first = structure_fingerprint(network)
    monkeypatch.chdir("/")
    assert structure_fingerprint(network) == first
    path.write_text(path.read_text() + "# edited\n")
    os.utime(path, ns=(1, 1))
    assert structure_fingerprint(network) != first


def test_a_file_may_import_what_lies_beside_it_and_leaves_the_path_as_it_was(bench, file):
    file("from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))", "beside_it.py")
    path = file("def models():\n    from beside_it import net\n    return {'a': net()}")
    before = list(sys.path)
    finders = list(sys.meta_path)
    assert list(bench.family(f"{path}:models").members) == ["a"]
    assert (sys.path, sys.meta_path, "beside_it" in sys.modules) == (before, finders, False)


HELPED = """
    from nets import Net, net

    def models():
        return {"a": net()}
"""
HELPER = """
    from torch import nn

    class Net(nn.Sequential):
        what = {what!r}

    def net():
        made = Net(nn.Flatten(), nn.Linear(64, 10))
        made.register_forward_hook(lambda *_: None)
        return made
"""


def test_a_helper_beside_one_file_is_not_the_one_beside_another(bench, make_bench, file, tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        file(HELPED, f"{folder}/models.py")
        file(HELPER.format(what=folder), f"{folder}/nets.py")
    networks = {folder: bench.family(f"{tmp_path}/{folder}/models.py:models").members["a"].network for folder in "ab"}
    assert {folder: network.what for folder, network in networks.items()} == {"a": "a", "b": "b"}
    before = {folder: structure_fingerprint(network) for folder, network in networks.items()}
    file(HELPER.format(what="edited"), "a/nets.py")
    after = {folder: structure_fingerprint(network) for folder, network in networks.items()}
    assert (before["a"] == after["a"], before["b"] == after["b"]) == (False, True), "each counts by its own helper"
    assert make_bench().family(f"{tmp_path}/a/models.py:models").members["a"].network.what == "edited"


def test_a_helper_of_the_same_name_that_a_test_has_imported_stays_the_tests(bench, file, tmp_path, monkeypatch):
    for folder in ("test", "family"):
        (tmp_path / folder).mkdir()
        file(HELPER.format(what=folder), f"{folder}/nets.py")
    monkeypatch.syspath_prepend(tmp_path / "test")
    nets = importlib.import_module("nets")
    monkeypatch.setitem(sys.modules, "nets", sys.modules.pop("nets"))  # goes away with the test
    path = file(HELPED, "family/models.py")
    assert bench.family(f"{path}:models").members["a"].network.what == "family"
    assert sys.modules["nets"] is nets
    assert nets.Net.what == "test"


def test_a_package_beside_a_file_may_import_itself_in_both_ways(bench, file, tmp_path):
    (tmp_path / "nets").mkdir()
    file("from .small import net\nimport nets.small\nassert nets.small.net is net", "nets/__init__.py")
    file("from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))", "nets/small.py")
    path = file("import nets.small\ndef models(): return {'a': nets.small.net()}")
    assert list(bench.family(f"{path}:models").members) == ["a"]
    assert not {"nets", "nets.small"} & set(sys.modules)


def test_two_files_of_one_name_are_two_modules(bench, file, tmp_path):
    first = bench.family(f"{file(TWO)}:models")
    (tmp_path / "other").mkdir()
    second = bench.family(f"{file(TWO, 'other/mine.py')}:models")
    modules = [name for name in sys.modules if name.startswith("pytest_robust_family_mine")]
    assert len({sys.modules[name].__file__ for name in modules}) == len(modules) >= 2
    assert first is not second


def test_a_module_that_is_installed_names_a_family_too(bench, file, monkeypatch, tmp_path):
    file(TWO, "my_networks.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert list(bench.family("my_networks:models").members) == ["a", "b"]
    monkeypatch.delitem(sys.modules, "my_networks")


def test_a_registered_family_a_mapping_and_a_family_are_all_taken(bench):
    bench.registries.families.register("one", lambda: {"only": linear()})
    registered = bench.family("one")
    assert list(registered.members) == ["only"]
    own = bench.family({"x": linear(), "y": Member(linear(), group="g")})
    assert (own.name, list(own.members), own.groups) == ("own", ["x", "y"], {"y": "g"})
    assert bench.family(own).members["x"] is own.members["x"]


def test_a_network_of_the_users_can_be_trained_on(bench):
    network = linear().train()
    family = bench.family({"mine": network})
    before = family.members["mine"].fingerprint
    assert network.training
    network(torch.rand(2, 1, 8, 8)).sum().backward()
    torch.optim.SGD(network.parameters(), 0.1).step()
    assert family.members["mine"].fingerprint == before, "the family has it as it was"
    frozen = linear().eval().requires_grad_(False)
    assert bench.family({"mine": frozen}).members["mine"].network is frozen, "no copy where none is needed"


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        ("def models(): return {}", "models", "has no networks"),
        ("def model(): return {}", "models", "has no function 'models', .*; its functions: model"),
        ("models = 3", "models", "has no function 'models', .*; its functions: none"),
        (
            "def models(): raise OSError('no disk')",
            "models",
            r"a part of it would be another family.*OSError: no disk \(",
        ),
        ("def models(): return 1 / 0", "models", r"ZeroDivisionError: division by zero \(.*mine\.py:1\)"),
        ("def models(): return [1]", "models", "must be names to networks, .* not a list"),
        ("def models(a, b): return {}", "models", "wants a, b, but it is called with nothing, or with the bench"),
        ("def models(*, a): return {}", "models", "wants a, but it is called with nothing"),
        ("def models(:", "models", r"mine\.py cannot be imported, .*SyntaxError"),
        ("import no_such_module", "models", r"mine\.py cannot be imported, .*ModuleNotFoundError.*no_such_module"),
    ],
    ids=["empty", "other", "number", "raises", "bug", "list", "two", "keyword", "syntax", "import"],
)
def test_a_function_that_gives_no_family_is_one_sentence(bench, file, source, function, message):
    with pytest.raises(FamilyError, match=message) as raised:
        bench.family(f"{file(source)}:{function}")
    assert "\n" not in str(raised.value)


def test_an_error_inside_a_library_is_told_with_the_line_of_the_users_own_file(bench, file):
    path = file("import os\n\n\ndef models():\n    return os.environ['NO_SUCH_VARIABLE_IS_SET']\n")
    with pytest.raises(FamilyError, match=r"KeyError: 'NO_SUCH_VARIABLE_IS_SET' \(.*mine\.py:5\)"):
        bench.family(f"{path}:models")


@pytest.mark.parametrize("name", ["math:hypot", "builtins:dict", "operator:itemgetter"])
def test_what_is_no_function_of_networks_is_one_sentence(bench, name):
    with pytest.raises(FamilyError, match=name) as raised:
        bench.family(name)
    assert "\n" not in str(raised.value)


def test_a_file_or_module_that_is_not_there_is_said(bench, tmp_path):
    with pytest.raises(FamilyError, match=r"gone\.py does not exist"):
        bench.family(f"{tmp_path}/gone.py:models")
    with pytest.raises(FamilyError, match="no_such_module cannot be imported"):
        bench.family("no_such_module:models")
    with pytest.raises(UnknownNameError, match="unknown family 'digit'; did you mean 'digits'"):
        bench.family("digit")


def test_one_member_that_does_not_load_is_an_error_and_never_a_smaller_family(bench, file, tmp_path):
    path = file(
        f"""
        from torch import nn
        from pytest_robust.models.weights import load_weights

        def models():
            flat = lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
            return {{"a": flat(), "b": load_weights(flat(), {str(tmp_path / "gone.safetensors")!r})}}
        """
    )
    for _ in range(2):
        with pytest.raises(Exception, match=r"gone\.safetensors cannot be read"):
            bench.family(f"{path}:models")


def test_built_in_families_without_their_images_or_weights_say_so(bench, make_bench, tmp_path, monkeypatch):
    with pytest.raises(FamilyError, match=r"'mnist' is trained on images of shape \(1, 28, 28\).*'digits' has"):
        bench.family("mnist")
    with pytest.raises(MissingDataError, match=r"imagenet-paper: torchvision_weights/alexnet\.safetensors is not"):
        make_bench(data_root=tmp_path).family("imagenet-paper")
    with pytest.raises(FamilyError, match="no family goes with the data set 'letters': name one with --family"):
        make_bench(dataset="letters").family()


def test_default_families_are_built_in():
    assert set(DEFAULTS.values()) <= set(FAMILIES)


def test_predictions_come_from_the_store_and_the_common_images_with_them(bench, monkeypatch):
    family = bench.family({"a": bench.classifier, "b": bench.surrogate})
    index = bench.correctly_classified_by_all(family)
    y = bench.test_images.y
    right = (bench.predictions(family)["a"] == y) & (bench.predictions(family)["b"] == y)
    assert index.tolist() == right.nonzero().flatten().tolist()
    assert torch.equal(family.correctly_classified(bench.test_images), index)
    monkeypatch.setattr("pytest_robust.models.predicted.predictions", lambda members, _: dict.fromkeys(members, None))
    assert bench.correctly_classified_by_all(family).tolist() == index.tolist(), "nothing is predicted again"


@pytest.fixture
def quick_ladder(monkeypatch):
    """The same networks, seen their images once or twice."""
    short = {
        name: trained_families.Rung(rung.group, min(rung.epochs, 2)) for name, rung in trained_families.DIGITS.items()
    }
    monkeypatch.setattr(trained_families, "DIGITS", short)


@pytest.mark.usefixtures("quick_ladder")
def test_the_digits_family_is_eight_trained_networks_in_groups(make_bench):
    bench = make_bench()
    family = bench.family()
    assert isinstance(family, Family)
    assert family.name == "digits"
    assert list(family.members) == list(trained_families.DIGITS)
    assert list(family.groups.values()) == ["mlp"] * 2 + ["convnet"] * 3 + ["resnet"] * 2
    assert "linear" not in family.groups
    assert bench.ledger.count("trained") == 8
    again = make_bench()
    fingerprints = [classifier.fingerprint for classifier in again.family().members.values()]
    assert again.ledger.count("trained") == 0
    assert fingerprints == [classifier.fingerprint for classifier in family.members.values()]


@pytest.mark.slow
def test_the_digits_family_is_apart_in_accuracy(tmp_path):
    """On images that none was trained on; the first and the last network are far apart, and the groups in order."""
    from pytest_robust.bench.bench import Bench
    from pytest_robust.bench.settings import Settings

    bench = Bench(Settings(device="cpu", cache=tmp_path))
    predicted, y = bench.predictions(bench.family()), bench.test_images.y
    accuracy = {name: float((labels == y).float().mean()) for name, labels in predicted.items()}
    assert 0.6 < accuracy["linear"] < 0.95
    assert accuracy["resnet_large"] > 0.97
    assert accuracy["resnet_large"] - accuracy["linear"] > 0.05
    ordered = [accuracy[name] for name in ("linear", "mlp_wide", "convnet_16", "convnet_32", "resnet_large")]
    assert ordered == sorted(ordered)
