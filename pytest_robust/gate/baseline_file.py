"""The file of a baseline: what each requirement measured on an earlier model, image by image; schema 1.

It is JSON, for a repository or a build's cache: one bit per image. The settings of each measurement stand beside it, so
that figures of different settings are never compared.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_robust.errors import GateError
from pytest_robust.store.text_file import write_whole

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """What one requirement measured.

    Args:
        file: the robust.toml, from pytest's root folder.
        measures: what was measured, for people.
        settings: everything that must be the same for two measurements to be compared.
        data: name and fingerprint of the images.
        model: name and fingerprint of the model.
        n: how many images.
        outcomes: one bit per image, in the order of the data, packed and in base 64.
    """

    file: str
    measures: str
    settings: Mapping[str, Any]
    data: Mapping[str, str]
    model: Mapping[str, str]
    n: int
    outcomes: str

    @property
    def bits(self) -> list[bool]:
        """The outcomes, image by image."""
        packed = base64.b64decode(self.outcomes)
        return [bool(packed[i // 8] >> (7 - i % 8) & 1) for i in range(self.n)]


def packed(bits: Sequence[bool]) -> str:
    """Outcomes as `Entry` holds them: eight to a byte, the first in its highest bit."""
    out = bytearray((len(bits) + 7) // 8)
    for i, bit in enumerate(bits):
        out[i // 8] |= bool(bit) << (7 - i % 8)
    return base64.b64encode(out).decode("ascii")


@dataclass(frozen=True)
class Baseline:
    """A baseline's file.

    Args:
        path: where it was read.
        entries: what it holds.
    """

    path: Path
    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a baseline.

        Raises:
            GateError: it is missing, no JSON, of another version, or damaged.
        """
        save = "save one with --robust-save-baseline"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise GateError(f"the baseline {path} cannot be read ({error.strerror}): {save}.") from error
        except ValueError as error:  # of JSON or of UTF-8
            raise GateError(f"the baseline {path} is no JSON ({error}): {save}.") from error
        if not isinstance(document, Mapping) or "schema" not in document:
            raise GateError(f"{path} is JSON, but no baseline: {save}.")
        if document["schema"] != SCHEMA:
            raise GateError(
                f"the baseline {path} has schema {document['schema']!r}, but this version of pytest-robust reads "
                f"{SCHEMA}: {save}."
            )
        try:
            entries = tuple(_checked(Entry(**entry)) for entry in document["entries"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GateError(f"the baseline {path} is damaged ({error}): {save}.") from error
        return cls(path, entries)

    def entry(self, file: str, measures: str, settings: Mapping[str, Any], model: str) -> Entry:
        """The measurement that was made with `settings`.

        A file that has moved is still found where it cannot be mistaken for another gate's: where the baseline holds
        one gate alone, of a model of the same name.

        Raises:
            GateError: there is none; if there is one of the same attack and metric, the message says what differs.
        """
        same = [e for e in self.entries if e.file == file] or self._moved(file, model)
        for entry in same:
            if entry.settings == settings:
                return entry
        alike = [e for e in same if all(e.settings.get(k) == settings.get(k) for k in ("metric", "attack"))]
        if not alike:
            raise GateError(
                f"the baseline {self.path} holds nothing for {measures!r}, so there is nothing to compare with: save a "
                "new one with --robust-save-baseline."
            )
        differing = min((differences(e.settings, settings) for e in alike), key=len)
        raise GateError(
            f"the baseline {self.path} was made with other settings of {measures!r}: {', '.join(differing)}; go back "
            "to its settings, or save a new one with --robust-save-baseline."
        )

    def _moved(self, file: str, model: str) -> list[Entry]:
        found = sorted({(e.file, e.model["name"]) for e in self.entries})
        if len(found) > 1 or any(name != model for _, name in found):
            others = ", ".join(f"{other!r} (model {name!r})" for other, name in found)
            raise GateError(
                f"the baseline {self.path} is of {others}, and this is {file!r} (model {model!r}): give the baseline "
                "of this gate, or save one with --robust-save-baseline."
            )
        return list(self.entries)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs, a phrase each: ``eps was 0.1 and is 0.2``."""
    found = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += differences(was, now, prefix)
        elif was != now:
            found.append(f"{prefix}{key} was {_shown(was)} and is {_shown(now)}")
    return found


def write_baseline(path: Path, entries: Iterable[Mapping[str, Any]], versions: Mapping[str, str]) -> None:
    """Write a baseline; the file appears whole or not at all.

    Args:
        path: its folder is made if it is not there.
        entries: as plain data; of several with one file and the same settings the first is kept.
        versions: of what the figures were made with.

    Raises:
        GateError: the file cannot be written.
    """
    unique: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        unique.setdefault(json.dumps([entry["file"], entry["settings"]], sort_keys=True), entry)
    document = {"schema": SCHEMA, "versions": dict(versions), "entries": list(unique.values())}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise GateError(
            f"the baseline {path} cannot be written ({error}): name another file with --robust-save-baseline."
        ) from error


def _checked(entry: Entry) -> Entry:
    try:
        size = len(base64.b64decode(entry.outcomes, validate=True))
    except binascii.Error as error:
        raise ValueError(f"outcomes of {entry.measures!r}: {error}") from None
    if not isinstance(entry.n, int) or size != (entry.n + 7) // 8:
        raise ValueError(f"{size} bytes of outcomes of {entry.measures!r} for {entry.n!r} images")
    entry.settings.items(), entry.data["fingerprint"], entry.model["name"]
    return entry


def _shown(value: Any) -> str:
    return "not given" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
