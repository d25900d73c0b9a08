"""``--download`` against a local server: what arrives whole is kept, what does not leaves nothing behind."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_robust.data import notmnist as notmnist_module
from pytest_robust.data.cifar import cifar10, cifar100
from pytest_robust.data.dataset import Dataset, DataSource
from pytest_robust.data.files import default_data_root
from pytest_robust.data.mnist import fashion_mnist, mnist
from pytest_robust.data.notmnist import notmnist
from pytest_robust.errors import DataError, MissingDataError

HTML = b"<!DOCTYPE html><html><body>This page has moved.</body></html>"
LOADERS = [mnist, fashion_mnist, notmnist, cifar10, cifar100]
Tree = Callable[[Path], dict[str, bytes]]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.utils.tqdm", _NoBar)


class _NoBar:
    """torchvision's progress bar starts a thread that outlives the test."""

    def __init__(self, **_: object) -> None:
        pass

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int) -> None:
        pass


@pytest.fixture
def served(
    server: Any,
    idx_files: Any,
    glyph_files: Any,
    cifar10_files: Any,
    cifar100_files: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """The server holds a small version of every data set, and every loader asks it alone."""
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST, FashionMNIST

    for stem, content in idx_files.packed.items():
        server.pages[f"mnist/{stem}.gz"] = content
    for loader in (MNIST, FashionMNIST):
        monkeypatch.setattr(loader, "mirrors", [f"{server.url}mnist/"])
    for loader, files in ((CIFAR10, cifar10_files), (CIFAR100, cifar100_files)):
        server.pages[loader.filename] = pinned = files.archive()
        monkeypatch.setattr(loader, "url", server.url + loader.filename)
        monkeypatch.setattr(loader, "tgz_md5", _md5(pinned))
    server.pages["notMNIST_small.tar.gz"] = pinned = glyph_files.archive()
    monkeypatch.setattr(notmnist_module, "URL", f"{server.url}notMNIST_small.tar.gz")
    monkeypatch.setattr(notmnist_module, "URL_MD5", _md5(pinned))
    return server


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def fetch(load: Callable[[DataSource], Dataset], root: Path | None) -> Dataset:
    return load(DataSource(root, download=True))


@pytest.mark.filterwarnings("ignore:notmnist. 4 files")
@pytest.mark.parametrize("load", LOADERS)
def test_a_download_makes_a_data_root_that_is_read_without_one(
    load: Any, served: Any, tmp_path: Path, tree: Tree
) -> None:
    root = tmp_path / "new/root"
    fetched = fetch(load, root)
    assert served.asked
    assert not [name for name in tree(root) if name.startswith(".")], "temporary files are left"
    served.asked.clear()
    again, offline = fetch(load, root), load(DataSource(root))
    assert not served.asked, "a data set that is there is not fetched again"
    for other in (again, offline):
        assert other.train.fingerprint == fetched.train.fingerprint
        assert other.test.fingerprint == fetched.test.fingerprint


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("trouble", ["html", "cut", "gone"])
def test_a_download_that_fails_leaves_no_file(load: Any, trouble: str, served: Any, tmp_path: Path, tree: Tree) -> None:
    if trouble == "html":
        served.pages = dict.fromkeys(served.pages, HTML)
    served.cut = trouble == "cut"
    if trouble == "gone":
        served.pages = {}
    with pytest.raises(DataError, match=rf"{load.__name__}: the download into .* failed.*--data-root DIR") as caught:
        fetch(load, tmp_path)
    assert not isinstance(caught.value, MissingDataError), "a failed download must not read as a skip"
    assert "\n" not in str(caught.value)
    assert tree(tmp_path) == {}


def test_a_server_that_breaks_off_in_the_third_file_leaves_no_file(served: Any, tmp_path: Path, tree: Tree) -> None:
    page = "mnist/t10k-images-idx3-ubyte.gz"
    whole = served.pages[page]
    served.pages[page] = whole[: len(whole) // 2]
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte"):
        fetch(mnist, tmp_path)
    assert tree(tmp_path) == {}
    served.pages[page] = whole
    assert len(fetch(mnist, tmp_path).train) == 30


def test_nobody_there_is_an_error_that_says_so(
    idx_files: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # the discard port: nobody listens
    with pytest.raises(DataError, match=r"mnist: the download into .* failed.*refused"):
        fetch(mnist, tmp_path)


def test_without_the_option_nothing_is_asked(served: Any, tmp_path: Path, tree: Tree) -> None:
    for load in LOADERS:
        with pytest.raises(MissingDataError):
            load(DataSource(tmp_path))
    assert served.asked == []
    assert tree(tmp_path) == {}


def test_a_wrong_file_of_the_users_is_never_replaced(served: Any, idx_files: Any, tmp_path: Path, tree: Tree) -> None:
    root = idx_files.write(tmp_path, plain=False)
    mine = root / "MNIST/raw/train-images-idx3-ubyte.gz"
    mine.write_bytes(b"my own notes")
    (root / "MNIST/raw/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz .*MD5 sum is .*move it away"):
        fetch(mnist, root)
    assert mine.read_bytes() == b"my own notes"
    mine.unlink()
    assert len(fetch(mnist, root).train) == 30


def test_without_a_root_it_goes_to_the_users_cache(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fetched = fetch(mnist, None)
    assert (default_data_root() / "MNIST/raw/train-images-idx3-ubyte.gz").is_file()
    assert mnist(DataSource()).train.fingerprint == fetched.train.fingerprint


def test_a_root_that_cannot_be_made_is_named(served: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"mnist: the download into .*file/root failed"):
        fetch(mnist, tmp_path / "file/root")


def test_workers_in_parallel_download_once(served: Any, tmp_path: Path) -> None:
    made: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        made.append(fetch(cifar10, tmp_path).train.fingerprint)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    alone = len(served.asked)
    fetch(cifar10, tmp_path / "alone")
    assert len(served.asked) == 2 * alone


def test_the_default_timeout_of_sockets_is_put_back(served: Any, tmp_path: Path) -> None:
    before = socket.getdefaulttimeout()
    fetch(mnist, tmp_path)
    assert socket.getdefaulttimeout() == before
