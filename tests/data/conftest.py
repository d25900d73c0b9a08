"""Small files in the published formats, and a local server, so that no test here needs real data or a network."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_robust.data import cifar as cifar_module
from pytest_robust.data import mnist as mnist_module
from pytest_robust.data import notmnist as notmnist_module

HTML = b"<!DOCTYPE html><html><body>This page has moved.</body></html>"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "realdata: reads the files under ROBUST_DATA_ROOT; skipped if that is unset")


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@dataclass
class IdxFiles:
    """A small MNIST: its arrays, and what each ``.gz`` holds."""

    arrays: dict[str, np.ndarray]
    packed: dict[str, bytes]

    def write(self, root: Path, folder: str = "MNIST/raw", *, gz: bool = True, plain: bool = True) -> Path:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem, content in self.packed.items():
            if gz:
                (root / folder / f"{stem}.gz").write_bytes(content)
            if plain:
                (root / folder / stem).write_bytes(gzip.decompress(content))
        return root


@pytest.fixture
def idx_files(monkeypatch: pytest.MonkeyPatch) -> IdxFiles:
    """30 training and 12 test images, which the loaders take for the published ones."""
    from torchvision.datasets import MNIST, FashionMNIST

    draw = np.random.RandomState(0)
    arrays = {}
    for prefix, n in (("train", 30), ("t10k", 12)):
        arrays[f"{prefix}-images-idx3-ubyte"] = draw.randint(0, 256, (n, 28, 28)).astype(np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = draw.randint(0, 10, n).astype(np.uint8)
    packed = {stem: gzip.compress(idx(array), mtime=0) for stem, array in arrays.items()}
    monkeypatch.setattr(mnist_module, "SHAPES", {stem: array.shape for stem, array in arrays.items()})
    for loader in (MNIST, FashionMNIST):
        monkeypatch.setattr(loader, "resources", [(f"{stem}.gz", md5(content)) for stem, content in packed.items()])
    return IdxFiles(arrays, packed)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


@dataclass
class GlyphFiles:
    """A small notMNIST: file contents by path, and the paths of those that are broken."""

    files: dict[str, bytes]
    broken: list[str]

    def write_folder(self, root: Path) -> Path:
        for name, content in self.files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    def archive(self, prefix: str = "") -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in reversed(self.files.items()):
                info = tarfile.TarInfo(prefix + name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    def write_archive(self, root: Path, folder: str = "") -> Path:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "notMNIST_small.tar.gz").write_bytes(self.archive())
        return root


@pytest.fixture
def glyph_files(monkeypatch: pytest.MonkeyPatch) -> GlyphFiles:
    """61 glyphs, of which 13 share their pixels, and four broken files; 40 of the glyphs are for training."""
    draw = np.random.RandomState(1)
    shared = draw.randint(0, 256, (28, 28)).astype(np.uint8)
    files = {f"notMNIST_small/I/same{k:02}.png": png(shared) for k in range(13)}
    for k in range(48):
        letter = "ABCDEFGHIJ"[k % 10]
        files[f"notMNIST_small/{letter}/{k:02}.png"] = png(draw.randint(0, 256, (28, 28)).astype(np.uint8))
    whole = files["notMNIST_small/A/00.png"]
    broken = {
        "notMNIST_small/A/empty.png": b"",
        "notMNIST_small/B/half.png": whole[: len(whole) // 2],
        "notMNIST_small/C/page.png": HTML,
        "notMNIST_small/J/flipped.png": whole[:60] + bytes([whole[60] ^ 255]) + whole[61:],
    }
    names = sorted(files)
    images = [np.asarray(Image.open(io.BytesIO(files[name]))) for name in names]
    labels = bytes("ABCDEFGHIJ".index(name.split("/")[1]) for name in names)
    content = b"".join(image.tobytes() for image in images) + labels
    monkeypatch.setattr(notmnist_module, "CONTENT_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(notmnist_module, "NUM_IMAGES", len(names))
    monkeypatch.setattr(notmnist_module, "TRAIN_SIZE", 40)
    return GlyphFiles({**files, **broken}, sorted(broken))


@dataclass
class PickleFiles:
    """A small CIFAR in torchvision's layout: file contents, pixels N × 3 × 32 × 32 and labels by part."""

    folder: str
    files: dict[str, bytes]
    pixels: dict[str, np.ndarray]
    labels: dict[str, list[int]]

    def write(self, root: Path) -> Path:
        (root / self.folder).mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (root / self.folder / name).write_bytes(content)
        return root

    def archive(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, content in self.files.items():
                info = tarfile.TarInfo(f"{self.folder}/{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()


def _pickled(
    loader: type, names: list[str], label_key: str, batches: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> PickleFiles:
    draw = np.random.RandomState(2)
    files, pixels, labels = {}, {}, {}
    for part, files_of_part in batches.items():
        blocks = [draw.randint(0, 256, (len(names), 3072)).astype(np.uint8) for _ in files_of_part]
        pixels[part] = np.concatenate(blocks).reshape(-1, 3, 32, 32)
        labels[part] = list(range(len(names))) * len(blocks)
        for name, block in zip(files_of_part, blocks, strict=True):
            files[name] = pickle.dumps({"data": block, label_key: list(range(len(names)))}, protocol=2)
    meta = dict(loader.meta)  # type: ignore[attr-defined]
    files[meta["filename"]] = pickle.dumps({meta["key"]: names}, protocol=2)
    monkeypatch.setattr(loader, "train_list", [[name, md5(files[name])] for name in batches["train"]])
    monkeypatch.setattr(loader, "test_list", [[name, md5(files[name])] for name in batches["test"]])
    monkeypatch.setattr(loader, "meta", {**meta, "md5": md5(files[meta["filename"]])})
    return PickleFiles(loader.base_folder, files, pixels, labels)  # type: ignore[attr-defined]


@pytest.fixture
def cifar10_files(monkeypatch: pytest.MonkeyPatch) -> PickleFiles:
    """20 training images in two batches, and 10 test images."""
    from torchvision.datasets import CIFAR10

    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    batches = {"train": ["data_batch_1", "data_batch_2"], "test": ["test_batch"]}
    return _pickled(CIFAR10, names, "labels", batches, monkeypatch)


def cifar100_names() -> list[str]:
    """100 class names of which 25 overlap with CIFAR-10, in alphabetical order as in the published table."""
    return sorted([*cifar_module.OVERLAP, *(f"foreign_{k:02}" for k in range(75))])


@pytest.fixture
def cifar100_files(monkeypatch: pytest.MonkeyPatch) -> PickleFiles:
    """One training and one test image of each of 100 classes."""
    from torchvision.datasets import CIFAR100

    return _pickled(CIFAR100, cifar100_names(), "fine_labels", {"train": ["train"], "test": ["test"]}, monkeypatch)


@dataclass
class Server:
    """A local HTTP server: `pages` by path, `cut` breaks each answer off half-way, `asked` lists the requests."""

    url: str
    pages: dict[str, bytes] = field(default_factory=dict)
    default: bytes | None = None
    cut: bool = False
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            body = state.pages.get(self.path.lstrip("/"), state.default)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write((body or b"")[: len(body or b"") // 2] if state.cut else body or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state = Server(f"http://127.0.0.1:{httpd.server_address[1]}/")
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


def tree(root: Path) -> dict[str, bytes]:
    """All files under `root` with their content, but for lock files."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(name="tree")
def tree_fixture() -> object:
    return tree
