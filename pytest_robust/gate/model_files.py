"""Models in files: TorchScript, ``torch.export`` and ONNX, each as a module whose fingerprint is the file's digest."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pytest_robust.errors import ModelError
from pytest_robust.store.blame import told
from pytest_robust.store.fingerprint import file_fingerprint, fingerprint

KINDS = "a TorchScript file, a torch.export file (.pt2) or an ONNX file (.onnx)"
#: Arguments of the operators of an exported program that say "training", by position.
_TRAINING = {"aten.dropout.default": 2, "aten.batch_norm.default": 5}
#: Where an ONNX file names a file of weights: the key "location" of a protobuf message, then the length of the name.
_LOCATION = re.compile(rb"\n\x08location\x12([\x01-\x7f])", re.DOTALL)


class FromFile(nn.Module):
    """A network that was loaded from a file.

    Args:
        network: from images (N, C, H, W) to logits (N, K).
        digest: of the file: the code inside it counts as well as the weights.
        batch: how many images it takes at once, where the file fixes that; None is any number.
    """

    def __init__(self, network: nn.Module, digest: str, batch: int | None = None) -> None:
        super().__init__()
        self.network, self.digest, self.batch = network, digest, batch

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images; in batches of the fixed size, the last one filled up with its last image."""
        if self.batch is None or len(x) == self.batch or len(x) == 0:
            return _one_output(self.network(x))
        parts = []
        for part in x.split(self.batch):
            filled = torch.cat([part, part[-1:].expand(self.batch - len(part), *part.shape[1:])])
            parts.append(_one_output(self.network(filled))[: len(part)])
        return torch.cat(parts)


class OnnxNetwork(nn.Module):
    """An ONNX model, run by onnxruntime on the CPU; it has no gradients.

    Args:
        session: of onnxruntime.
        source: name of its input.
    """

    #: Why a gradient attack cannot be run, for messages.
    no_gradients = "an ONNX file has no gradients"
    #: The session is the file, whose digest `FromFile` has.
    counted_otherwise = ("session",)

    def __init__(self, session: Any, source: str) -> None:
        super().__init__()
        self.session, self.source = session, source

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 of shape (N, K), without a graph."""
        images = np.ascontiguousarray(x.detach().cpu().numpy(), dtype=np.float32)
        (logits,) = self.session.run(None, {self.source: images})
        return torch.from_numpy(np.asarray(logits)).to(x.device)


def load_model_file(path: Path, device: torch.device) -> FromFile:
    """The network in a TorchScript, ``torch.export`` or ONNX file.

    Args:
        path: of the file.
        device: where a TorchScript program is put; an exported program stays where it was exported, and onnxruntime
            computes on the CPU.

    Raises:
        ModelError: there is no such file, it is none of these, it holds weights alone, or it was exported in train
            mode.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file there"
        raise ModelError(f"the model file {path} cannot be read: there is {what}; name {KINDS}, or 'module:factory'.")
    try:
        if path.suffix == ".onnx":
            return _onnx(path)
        return _exported(path) if _holds_program(path) else _script(path, device)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the model file {path} cannot be loaded as {KINDS}: {told(error)}.") from error


def _holds_program(path: Path) -> bool:
    """Whether a zip file is one of ``torch.export``; raises ModelError for one with weights alone."""
    if not zipfile.is_zipfile(path):
        return path.suffix == ".pt2"
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2] or name for name in archive.namelist()}
    if "data.pkl" in names and not any(name.startswith("code/") for name in names):
        raise ModelError(
            f"the model file {path} holds weights or a pickled module, which does not say how to compute: save it "
            "with torch.jit.save or torch.export.save, or name a 'module:factory' that builds the network and loads it."
        )
    return not any(name.startswith("code/") for name in names)


def _script(path: Path, device: torch.device) -> FromFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that TorchScript will go is for who writes such files
        return FromFile(torch.jit.load(path, map_location=device), file_fingerprint(path))


def _exported(path: Path) -> FromFile:
    program = torch.export.load(path)
    for node in program.graph.nodes:
        position = _TRAINING.get(str(node.target))
        if position is not None and len(node.args) > position and node.args[position] is True:
            raise ModelError(
                f"the model file {path} was exported in train mode (its {node.target} is random or changes with the "
                "batch): export model.eval()."
            )
    module: Any = program.module()
    module.train = module.eval = _stays_as_exported  # torch's own raise
    (images,) = program.graph_signature.user_inputs
    shapes = {node.name: node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder"}
    first = shapes[images][0]
    return FromFile(module, file_fingerprint(path), first if isinstance(first, int) else None)


def _stays_as_exported(mode: bool = True) -> None:
    """An exported program has one mode for good."""


def _onnx(path: Path) -> FromFile:
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f"the model file {path} needs the package onnxruntime: run pip install 'pytest-robust[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
        raise ModelError(
            f"the model file {path} must take one float tensor of images and give one tensor of logits, but takes "
            f"{', '.join(f'{i.name}: {i.type}' for i in inputs)} and gives {', '.join(o.name for o in outputs)}."
        )
    batch = inputs[0].shape[0] if inputs[0].shape else None
    network = OnnxNetwork(session, inputs[0].name)
    return FromFile(network, _onnx_fingerprint(path), batch if isinstance(batch, int) else None)


def _onnx_fingerprint(path: Path) -> str:
    """Of the file, and of those that hold its weights outside it (ONNX: external data)."""
    content = path.read_bytes()
    starts = ((found.end(), found[1][0]) for found in _LOCATION.finditer(content))
    names = {content[start : start + length].decode(errors="replace") for start, length in starts}
    outside = [path.parent / name for name in sorted(names)]
    return fingerprint([file_fingerprint(file) for file in (path, *outside) if file.is_file()])


def _one_output(output: Any) -> Tensor:
    if isinstance(output, (tuple, list)) and len(output) == 1:
        output = output[0]
    return output  # type: ignore[no-any-return]  # whatever it is, the first pass over images checks it
