"""Whatever form a model comes in, it is the same model: the same figures, and its own fingerprint."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pytest_robust.data.split import Split
from pytest_robust.errors import ModelError, SettingsError
from pytest_robust.gate.model_files import load_model_file
from pytest_robust.models.classifier import Classifier

BUDGET = 16 / 255


@pytest.fixture(scope="session")
def network(toy: Classifier) -> nn.Module:
    """The toy as a plain module of [0, 1] images."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = toy.network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x - 0.45)

    return Whole().eval()


def save_script(network: nn.Module, path: Path) -> None:
    torch.jit.trace(network, torch.rand(2, 1, 8, 8)).save(path)


def save_exported(network: nn.Module, path: Path) -> None:
    many = {0: torch.export.Dim("n")}
    torch.export.save(torch.export.export(network, (torch.rand(2, 1, 8, 8),), dynamic_shapes=(many,)), path)


def save_exported_for_five(network: nn.Module, path: Path) -> None:
    torch.export.save(torch.export.export(network, (torch.rand(5, 1, 8, 8),)), path)


def save_onnx(network: nn.Module, path: Path, batch: int | None = None) -> None:
    axes = {"x": {0: "n"}, "y": {0: "n"}} if batch is None else None
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes, "dynamo": False}
    torch.onnx.export(network, (torch.rand(batch or 2, 1, 8, 8),), path, **names)


def save_onnx_for_five(network: nn.Module, path: Path) -> None:
    save_onnx(network, path, batch=5)


SAVED: dict[str, Callable[[nn.Module, Path], None]] = {
    "script.pt": save_script,
    "exported.pt2": save_exported,
    "exported-for-five.pt2": save_exported_for_five,
    "model.onnx": save_onnx,
    "model-for-five.onnx": save_onnx_for_five,
}


@pytest.fixture
def saved(tmp_path: Path, network: nn.Module) -> Callable[[str], Path]:
    def save(name: str) -> Path:
        SAVED[name](network, tmp_path / name)
        return tmp_path / name

    return save


# The exporters of torch warn of their own deprecation.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch"
)


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("as_path", [False, True], ids=["text", "path"])
def test_a_file_answers_as_the_module_that_was_saved(robust, toy, images, saved, name, as_path):
    path = saved(name)
    result = robust.evaluate(path if as_path else name, images, "square", eps=BUDGET, max_iter=50)
    assert result.model == str(path if as_path else name)
    reference = robust.evaluate(toy, images, "square", eps=BUDGET, max_iter=50)
    assert torch.equal(result.clean.decision.label, reference.clean.decision.label)
    assert abs(result.accuracy.k - reference.accuracy.k) <= 1  # the same search, in another order of additions


@pytest.mark.parametrize("name", ["script.pt", "exported.pt2", "exported-for-five.pt2"])
def test_files_of_torch_have_gradients(robust, toy, images, saved, name):
    saved(name)
    result = robust.evaluate(name, images, "pgd", eps=BUDGET)
    reference = robust.evaluate(toy, images, "pgd", eps=BUDGET)
    assert 0 < result.accuracy.k < len(images)
    assert abs(result.accuracy.k - reference.accuracy.k) <= 1
    assert result.reliable


def test_an_onnx_file_has_no_gradients_and_says_so(robust, images, saved):
    saved("model.onnx")
    with pytest.raises(SettingsError, match=r"an ONNX file has no gradients, so 'pgd' cannot attack .*square"):
        robust.evaluate("model.onnx", images, "pgd", eps=BUDGET)


def test_a_file_that_is_written_anew_is_another_model(robust, images, tmp_path):
    import os

    for seed in (0, 1):
        torch.manual_seed(seed)
        fresh = nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval()
        save_script(fresh, tmp_path / "m.pt")
        os.utime(tmp_path / "m.pt", ns=(seed, seed))
        with pytest.warns(UserWarning, match="guessing"):
            result = robust.evaluate("m.pt", images, "fgsm", eps=BUDGET)
        assert torch.equal(result.clean.decision.label, fresh(images.x).argmax(1))
    assert robust.bench.ledger.count("crafted") == 2


def test_two_scripts_with_equal_weights_and_other_code_are_two_models(robust, images):
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.flatten(1))

    class Two(One):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear((x.flatten(1) * 4).round() / 4)

    one, two = One().eval(), Two().eval()
    two.load_state_dict(one.state_dict())
    example = torch.rand(2, 1, 8, 8)
    first, second = (robust.model(torch.jit.trace(m, example), images) for m in (one, two))
    assert first.fingerprint != second.fingerprint


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module into the root and gives its name, which no other test has."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    count = 0

    def write(code: str) -> str:
        nonlocal count
        count += 1
        name = f"release_{tmp_path.name.replace('-', '_')}_{count}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        return name

    return write


FACTORY = """
    from pytest_robust.attacks.common_checks import toy_classifier

    calls = []

    def model():
        calls.append(1)
        return toy_classifier()

    network = toy_classifier()
"""


def test_a_factory_is_imported_from_the_root_and_called_once(robust, toy, images, module):
    name = module(FACTORY)
    for attack in (None, "fgsm"):
        result = robust.evaluate(f"{name}:model", images, attack)
        reference = robust.evaluate(toy, images, attack)
        assert str(result.accuracy) == str(reference.accuracy)
    assert sys.modules[name].calls == [1]
    assert f"evaluate('{name}:model', data" in result.reproduce


def test_a_module_object_can_be_named_as_well(robust, images, module):
    assert robust.evaluate(f"{module(FACTORY)}:network", images).accuracy.value > 0.9


def test_a_function_may_compute_with_numpy(robust, images):
    def brightest(x):
        halves = x.numpy().reshape(-1, 2, 4, 2, 4).mean((2, 4))
        return np.float32(10) * halves.reshape(-1, 4)

    assert robust.evaluate(brightest, images, "square", eps=BUDGET).clean_accuracy.value == 1.0


def test_a_module_without_weights_counts_by_its_answers(robust, images):
    class Remote:
        """Something whose state no fingerprint sees."""

        shift = 0

        def __call__(self, x):
            halves = x.reshape(-1, 2, 4, 2, 4).mean((2, 4)).reshape(-1, 4)
            return halves.roll(self.shift, 1)

    class Client(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.remote = Remote()

        def forward(self, x):
            return self.remote(x)

    client = Client().eval()
    before = robust.model(client, images).fingerprint
    assert robust.model(client, images).fingerprint == before
    client.remote.shift = 1
    assert robust.model(client, images).fingerprint != before


def test_a_module_counts_by_what_it_keeps_in_objects_of_its_own_too(robust, toy, images):
    class Engine:
        """Something whose state no fingerprint sees."""

        def __init__(self) -> None:
            self.scale = 1.0

    class Client(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.engine = toy, Engine()

        def forward(self, x):
            return self.inner(x * self.engine.scale)

    client = Client().eval()
    before = robust.model(client, images).fingerprint
    assert robust.model(client, images).fingerprint == before
    client.engine.scale = 0.9
    assert robust.model(client, images).fingerprint != before


def test_a_model_of_this_package_stays_itself(robust, toy, images):
    assert robust.model(toy, images) is toy


def test_a_model_that_was_exported_in_train_mode_is_refused(robust, images, tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4)).train()
    save_exported(network, tmp_path / "m.pt2")
    with pytest.raises(ModelError, match=r"exported in train mode.*export model.eval\(\)"):
        robust.evaluate("m.pt2", images)


def test_onnxruntime_is_asked_for_where_it_is_missing(robust, images, saved, monkeypatch):
    saved("model.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install 'pytest-robust\[onnx\]'"):
        robust.evaluate("model.onnx", images)


def test_the_images_of_a_split_are_not_changed(robust, toy, images: Split):
    before = images.x.clone()
    robust.evaluate(toy, images, "pgd", eps=BUDGET)
    assert torch.equal(images.x, before)


def test_weights_outside_an_onnx_file_count(tmp_path):
    path = tmp_path / "model.onnx"

    def digest(scale: float) -> str:
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(scale)
        save_onnx(network, path)
        kept = onnx.load(path)
        (tmp_path / "weights.bin").unlink(missing_ok=True)
        onnx.save_model(kept, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
        return load_model_file(path, torch.device("cpu")).digest

    one, content = digest(1.0), path.read_bytes()
    assert digest(2.0) != one
    assert path.read_bytes() == content  # so that nothing but the file beside it tells them apart
    assert digest(1.0) == one
