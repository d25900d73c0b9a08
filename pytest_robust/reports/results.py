"""results.json: everything that a run measured, for machines; schema 1."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pytest_robust.errors import SettingsError
from pytest_robust.reports.spending import spent
from pytest_robust.store.text_file import write_whole

SCHEMA = 1
FILE_NAME = "results.json"

_DISTRIBUTIONS = {
    "pytest-robust": "pytest-robust",
    "torch": "torch",
    "art": "adversarial-robustness-toolbox",
    "numpy": "numpy",
}


def write_results(
    folder: Path,
    claims: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    requirements: Sequence[Mapping[str, Any]] = (),
    diagnoses: Sequence[Mapping[str, Any]] = (),
    results: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write ``results.json`` into `folder` (made if it is not there) and return its path.

    The file appears whole or not at all, also if the process dies. Its sections are ``claims``, ``requirements``,
    ``diagnoses``, ``results`` (of the fixture ``robust``, by test), ``evaluations``, ``studies``, ``settings``,
    ``versions`` and ``spent``; numbers that JSON cannot hold (NaN, infinity) are null.

    Raises:
        SettingsError: the folder cannot be written.
    """
    document = {
        "schema": SCHEMA,
        "claims": [dict(claim) for claim in claims],
        "requirements": [dict(requirement) for requirement in requirements],
        "diagnoses": [dict(diagnosis) for diagnosis in diagnoses],
        "results": [dict(result) for result in results],
        "evaluations": _evaluations(events),
        "studies": studies_in(events),
        "settings": dict(settings),
        "versions": dict(versions),
        "spent": spent(events),
    }
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return write_whole(folder / FILE_NAME, text)
    except OSError as error:
        raise SettingsError(
            f"the report folder {folder} cannot be written ({error}): name another with --robust-report."
        ) from error


def current_versions() -> dict[str, str]:
    """Versions of what results depend on, from the installed packages' metadata; imports none of them."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name, distribution in _DISTRIBUTIONS.items():
        with suppress(PackageNotFoundError):
            found[name] = version(distribution)
    return found


def _evaluations(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was evaluated, once each: parallel workers may each have needed the same evaluation."""
    unique: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["event"] == "evaluated":
            evaluation = dict(event["evaluation"])
            unique.setdefault(json.dumps(evaluation, sort_keys=True), {**evaluation, "seconds": event["seconds"]})
    return list(unique.values())


def studies_in(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tables of several networks, once each, as their `as_dict` gives them."""
    unique = {
        json.dumps(event["study"], sort_keys=True): event["study"] for event in events if event["event"] == "studied"
    }
    return list(unique.values())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
