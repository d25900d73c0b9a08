"""The artifact store: what goes in comes out, damage is set aside, a folder that cannot be used is named."""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pytest_robust.errors import CacheError
from pytest_robust.store import artifacts
from pytest_robust.store.artifacts import Artifact, ArtifactStore, DamagedArtifactWarning, default_root

KEY = "ab" + "0" * 62
OTHER = "cd" + "0" * 62


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "cache")


def artifact(value: float = 1.0) -> Artifact:
    return Artifact({"w": torch.full((2, 3), value), "n": torch.tensor(7)}, {"title": "a", "seconds": 1.5})


def same(a: Artifact, b: Artifact) -> bool:
    tensors = a.tensors.keys() == b.tensors.keys() and all(
        torch.equal(a.tensors[k], b.tensors[k]) and a.tensors[k].dtype == b.tensors[k].dtype for k in a.tensors
    )
    return tensors and a.metadata == b.metadata


def file_of(store: ArtifactStore, key: str = KEY) -> Path:
    return store.root / "model" / key[:2] / f"{key}.safetensors"


def set_aside(store: ArtifactStore) -> list[bytes]:
    return [path.read_bytes() for path in (store.root / "damaged").iterdir()]


def never() -> Artifact:
    raise AssertionError("built again")


# what goes in comes out


def test_an_artifact_is_built_once_and_then_read(store: ArtifactStore) -> None:
    first, built = store.get_or_build("model", KEY, artifact)
    second, built_again = store.get_or_build("model", KEY, never)
    assert (built, built_again) == (True, False)
    assert same(first, second)
    assert same(first, artifact())


def test_building_and_reading_give_the_same_kind_of_thing(store: ArtifactStore) -> None:
    odd = Artifact({"w": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)}, {"shape": (1, 2), 3: None})
    first, _ = store.get_or_build("model", KEY, lambda: odd)
    second, _ = store.get_or_build("model", KEY, never)
    assert first.metadata == second.metadata == {"shape": [1, 2], "3": None}
    assert first.tensors["w"].stride() == second.tensors["w"].stride() == (60, 20, 5, 1)


def test_kinds_and_keys_do_not_mix(store: ArtifactStore) -> None:
    store.write("model", KEY, artifact(1))
    assert store.read("adversarial", KEY) is None
    assert store.read("model", OTHER) is None


tensors = st.sampled_from(
    [
        torch.tensor(1.5),
        torch.empty(0, 4),
        torch.arange(6).reshape(2, 3).T,
        torch.tensor([True, False]),
        torch.ones(3, dtype=torch.bfloat16),
        torch.tensor([float("nan"), float("inf"), -0.0]),
        torch.arange(9, dtype=torch.uint8)[3:5],
        torch.ones(1).expand(4),
    ]
)
metadata = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda s: s != "__metadata__"), tensors, max_size=4),
    st.dictionaries(st.text() | st.just('"sha256":"'), metadata, max_size=3),
)
def test_every_artifact_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, named: dict[str, Tensor], about: dict[str, object]
) -> None:
    store = ArtifactStore(tmp_path_factory.mktemp("round"))
    store.write("model", KEY, Artifact(named, about))
    back = store.read("model", KEY)
    assert back is not None
    assert back.metadata == about
    assert back.tensors.keys() == named.keys()
    for name, tensor in named.items():
        assert back.tensors[name].dtype == tensor.dtype
        assert torch.equal(back.tensors[name].nan_to_num(5), tensor.nan_to_num(5))


def test_two_tensors_that_share_memory_are_both_kept(store: ArtifactStore) -> None:
    x = torch.arange(6.0)
    store.write("model", KEY, Artifact({"whole": x, "part": x[2:4], "again": x}))
    back = store.read("model", KEY)
    assert back is not None
    assert back.tensors["part"].tolist() == [2.0, 3.0]


def test_what_is_read_can_be_written_to(store: ArtifactStore) -> None:
    store.write("model", KEY, artifact())
    back = store.read("model", KEY)
    assert back is not None
    back.tensors["w"].add_(1)
    assert torch.equal(back.tensors["w"], torch.full((2, 3), 2.0))


def test_a_failed_build_leaves_nothing_and_frees_the_lock(store: ArtifactStore) -> None:
    with pytest.raises(AssertionError, match="built again"):
        store.get_or_build("model", KEY, never)
    assert store.read("model", KEY) is None
    assert store.get_or_build("model", KEY, artifact)[1]


def test_a_build_may_need_another_artifact(store: ArtifactStore) -> None:
    def build() -> Artifact:
        inner, _ = store.get_or_build("model", OTHER, lambda: artifact(3))
        return Artifact({"w": inner.tensors["w"] * 2})

    built, _ = store.get_or_build("adversarial", KEY, build)
    assert torch.equal(built.tensors["w"], torch.full((2, 3), 6.0))


def test_files_can_be_read_by_whoever_the_umask_lets(store: ArtifactStore) -> None:
    before = os.umask(0o022)
    try:
        store.write("model", KEY, artifact())
    finally:
        os.umask(before)
    assert file_of(store).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["", "a", "../escape", "a/b", "damaged", "x" * 200, "nul\0l"])
def test_a_name_that_is_no_file_name_is_refused(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name an artifact"):
        store.read(name, KEY)
    with pytest.raises(ValueError, match="cannot name an artifact"):
        store.write("model", name, artifact())


def test_thirty_megabytes_are_read_in_well_under_a_second(store: ArtifactStore) -> None:
    store.write("adversarial", KEY, Artifact({"x": torch.rand(10_000, 1, 28, 28)}))
    start = time.perf_counter()
    assert store.read("adversarial", KEY) is not None
    assert time.perf_counter() - start < 1.0  # 0.05 s on a quiet machine


# damage


def test_a_file_that_was_cut_off_is_set_aside_and_built_again(store: ArtifactStore) -> None:
    store.write("model", KEY, artifact())
    whole = file_of(store).read_bytes()
    for length in (0, 4, 8, 60, 150, len(whole) - 1):
        file_of(store).write_bytes(whole[:length])
        with pytest.warns(DamagedArtifactWarning, match="moved to .*damaged.*built again"):
            again, built = store.get_or_build("model", KEY, artifact)
        assert built
        assert same(again, artifact())
    assert sorted(map(len, set_aside(store))) == [0, 4, 8, 60, 150, len(whole) - 1]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_bit_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = ArtifactStore(tmp_path_factory.mktemp("flip"))
    store.write("model", KEY, artifact())
    content = bytearray(file_of(store).read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    low, high = data.draw(st.sampled_from([(0, 8), (8, header), (header, len(content))]), "region")
    position = data.draw(st.integers(low, high - 1), "position")
    content[position] ^= 1 << data.draw(st.integers(0, 7), "bit")
    file_of(store).write_bytes(content)
    with pytest.warns(DamagedArtifactWarning):
        assert store.read("model", KEY) is None
    assert set_aside(store) == [bytes(content)]


@pytest.mark.parametrize(
    "content", [b"", b"not a safetensors file", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"\0" * 500], ids=range(5)
)
def test_a_foreign_file_is_set_aside(store: ArtifactStore, content: bytes) -> None:
    file_of(store).parent.mkdir(parents=True)
    file_of(store).write_bytes(content)
    with pytest.warns(DamagedArtifactWarning, match="not a whole file of this cache"):
        assert store.read("model", KEY) is None
    assert set_aside(store) == [content]


def test_somebody_elses_safetensors_file_is_set_aside(store: ArtifactStore) -> None:
    import safetensors.torch

    file_of(store).parent.mkdir(parents=True)
    safetensors.torch.save_file({"w": torch.ones(3)}, file_of(store), metadata={"format": "pt"})
    with pytest.warns(DamagedArtifactWarning):
        assert store.read("model", KEY) is None


@pytest.mark.parametrize(("kind", "key", "field"), [("model", OTHER, "key"), ("adversarial", KEY, "kind")])
def test_a_file_under_another_name_is_set_aside(store: ArtifactStore, kind: str, key: str, field: str) -> None:
    store.write(kind, key, artifact())
    source = store.root / kind / key[:2] / f"{key}.safetensors"
    file_of(store).parent.mkdir(parents=True, exist_ok=True)
    source.rename(file_of(store))
    with pytest.warns(DamagedArtifactWarning, match=f"its {field} is"):
        assert store.read("model", KEY) is None


def test_a_file_of_another_schema_is_set_aside(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write("model", KEY, artifact())
    monkeypatch.setattr(artifacts, "SCHEMA", artifacts.SCHEMA + 1)
    with pytest.warns(DamagedArtifactWarning, match="its schema is 1, not 2"):
        assert store.read("model", KEY) is None


def test_what_was_set_aside_twice_is_there_twice(store: ArtifactStore) -> None:
    for content in (b"one", b"two"):
        file_of(store).parent.mkdir(parents=True, exist_ok=True)
        file_of(store).write_bytes(content)
        with pytest.warns(DamagedArtifactWarning):
            store.get_or_build("model", KEY, artifact)
    assert sorted(set_aside(store)) == [b"one", b"two"]


def test_a_repaired_file_is_not_set_aside_for_what_it_was(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between reading a damaged file and moving it, somebody else may have put a good one in its place."""
    file_of(store).parent.mkdir(parents=True)
    file_of(store).write_bytes(b"damaged")

    def repaired_meanwhile(*_: object, **__: object) -> Artifact:
        store.write("model", KEY, artifact())
        raise artifacts.DamagedFileError("cut off")

    monkeypatch.setattr(artifacts, "_checked", repaired_meanwhile)
    monkeypatch.setattr(artifacts, "read_sealed", lambda _: ({}, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.read("model", KEY) is None
    monkeypatch.undo()
    back = store.read("model", KEY)
    assert back is not None
    assert same(back, artifact())


# folders that cannot be used


def test_the_folder_stays_untouched_until_something_is_written(store: ArtifactStore) -> None:
    store.read("model", KEY)
    store.checkpoint("model", KEY)
    store.check_writable()
    assert not store.root.exists()
    store.root.mkdir()
    store.check_writable()
    assert list(store.root.iterdir()) == []


def unusable(tmp_path: Path, how: str) -> Path:
    file = tmp_path / "file"
    file.write_text("")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere" / "at" / "all")
    return {
        "a file": file,
        "below a file": file / "cache" / "deeper",
        "a name too long": tmp_path / "missing" / ("x" * 300),
        "a path too long": tmp_path.joinpath(*["y" * 200] * 25),
        "below a dangling link": dangling / "cache",
        "a null byte": tmp_path / "nul\0l",
        "a file system without files": Path("/proc/1/cache"),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "a file",
        "below a file",
        "a name too long",
        "a path too long",
        "below a dangling link",
        "a null byte",
        "a file system without files",
    ],
)
def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path, how: str) -> None:
    store = ArtifactStore(unusable(tmp_path, how))
    with pytest.raises(CacheError, match=r"^the cache folder .* cannot be used: .*--robust-cache.*\.$") as caught:
        store.check_writable()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["a file", "below a file", "a name too long", "a file system without files"])
def test_a_build_into_it_fails_before_the_work_is_done(tmp_path: Path, how: str) -> None:
    with pytest.raises(CacheError, match="cannot be used"):
        ArtifactStore(unusable(tmp_path, how)).get_or_build("model", KEY, never)


def test_a_full_disk_is_a_cache_error_and_leaves_no_half_file(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("model", KEY, artifact(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match="no space left on device"):
        store.write("model", KEY, artifact(2))
    assert [path.name for path in file_of(store).parent.iterdir()] == [file_of(store).name]
    back = store.read("model", KEY)
    assert back is not None
    assert same(back, artifact(1))


def test_the_home_of_nobody_is_a_cache_error() -> None:
    with pytest.raises(CacheError, match="cannot be used"):
        ArtifactStore("~nobody-has-this-name/cache")


def test_temporaries_of_dead_writers_are_removed_and_those_of_living_ones_kept(store: ArtifactStore) -> None:
    folder = file_of(store).parent
    folder.mkdir(parents=True)
    dead, living = folder / "dead.tmp", folder / "living.tmp"
    dead.write_text("")
    living.write_text("")
    two_hours_ago = time.time() - 7200
    os.utime(dead, (two_hours_ago, two_hours_ago))
    store.write("model", KEY, artifact())
    assert not dead.exists()
    assert living.exists()


def test_the_default_folder_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_root() == tmp_path / "pytest-robust"
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert default_root() == tmp_path / ".cache" / "pytest-robust"
