"""What the wheel holds, which way imports go, and that every public name leads somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_robust

ROOT = Path(__file__).resolve().parents[2]
#: Where each package's folder is; all others lie in pytest_robust/.
MAPPED = {"pytest_robust.defenses": ROOT / "defenses", "pytest_robust.fixtures": ROOT / "fixtures"}
#: The flow. A module imports only stages before its own; `testing` is what other packages' tests import.
STAGES = (
    "errors", "registry", "catalogue", "store", "data", "models", "threats", "attacks", "strategies", "evaluation",
    "bench", "defenses", "studies", "claims", "diagnosis", "gate", "testing", "reports", "harness", "fixtures",
    "plugin",
)  # fmt: skip
#: The folder is listed by name; nothing of it is imported.
LISTED_ONLY = {("catalogue", "defenses")}
#: The layers that know pytest, and the checks that are made to be run by it.
PYTEST_LAYER = {"testing", "harness", "fixtures", "plugin"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package by dotted name, except the package's own lazy front."""
    folders = {"pytest_robust": ROOT / "pytest_robust", **MAPPED}
    for package, folder in folders.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            if name != "pytest_robust":
                yield name, path


MODULES = sorted(modules())


def imported(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a module imports, also inside functions and for type checkers."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            if base == "pytest_robust":
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, base


def stage(module: str) -> str:
    return module.split(".")[1] if "." in module else module


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_folder_with_modules_is_installed(project):
    inside = [p.parent.relative_to(ROOT) for p in (ROOT / "pytest_robust").rglob("__init__.py")]
    folders = {".".join(folder.parts) for folder in inside} | set(MAPPED)
    assert set(project["tool"]["setuptools"]["packages"]) == folders
    assert all((folder / "__init__.py").is_file() for folder in MAPPED.values())


def test_folders_without_an_init_hold_no_modules():
    for folder in (ROOT / "pytest_robust", *MAPPED.values()):
        for path in folder.rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path} would be missing from the wheel"


def test_the_entry_point_is_the_plugin(project):
    assert project["project"]["entry-points"]["pytest11"] == {"robust": "pytest_robust.plugin"}


def test_every_module_belongs_to_a_stage():
    assert {stage(name) for name, _ in MODULES} <= set(STAGES)


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_go_one_way(name, path):
    own = stage(name)
    back = [
        f"{path.name}:{line} imports {target}"
        for line, target in imported(name, path)
        if target.startswith("pytest_robust.") and stage(target) in STAGES
        if STAGES.index(stage(target)) > STAGES.index(own) and (own, stage(target)) not in LISTED_ONLY
    ]
    assert not back


def test_the_science_knows_nothing_of_pytest():
    found = [
        f"{name}:{line}"
        for name, path in MODULES
        if stage(name) not in PYTEST_LAYER
        for line, target in imported(name, path)
        if target.partition(".")[0] in ("pytest", "_pytest", "pluggy")
    ]
    assert not found


@pytest.mark.parametrize("package", MAPPED)
def test_mapped_folders_cannot_be_imported_under_their_folders_name(package):
    folder = package.rpartition(".")[2]
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {folder}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode != 0
    assert f"import this folder as {package}" in result.stderr


@pytest.mark.parametrize("name", sorted(set(pytest_robust.__all__) - {"__version__"}))
def test_every_public_name_is_defined_where_the_package_says(name):
    module = pytest_robust._HOME[name]
    path = dict(MODULES)[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    assert name in defined


def test_type_checkers_and_python_see_the_same_public_names():
    tree = ast.parse((ROOT / "pytest_robust" / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in ast.walk(block) if isinstance(node, ast.ImportFrom)]
    shown = {alias.asname: node.module for node in imports for alias in node.names}
    assert shown == pytest_robust._HOME
    assert pytest_robust.__all__ == [*sorted(pytest_robust._HOME), "__version__"]


def test_importing_the_package_is_free():
    code = "import sys, pytest_robust; dir(pytest_robust); print({'torch', 'art', 'numpy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_no_machines_own_paths_are_written_down():
    pattern = re.compile(r"(?<![\w.])/(?:work|tmp|home|root|Users)/\w")
    suffixes = {".py", ".toml", ".md", ".yml", ".yaml", ".cfg", ".json"}
    files = [p.relative_to(ROOT) for p in ROOT.rglob("*") if p.suffix in suffixes]
    built = ("build", "dist", "site", "robust-report", "venv")
    kept = [p for p in files if not any(x.startswith(".") or x.endswith(".egg-info") or x in built for x in p.parts)]
    assert len(kept) > 50
    texts = {p: (ROOT / p).read_text(encoding="utf-8") for p in kept}
    found = [f"{p}: {match.group()}" for p, text in texts.items() for match in pattern.finditer(text)]
    assert not found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Iterator[zipfile.ZipFile]:
    """Built from a copy, because a build leaves folders behind and reads what an earlier one left."""
    copy, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("wheel")
    copy.mkdir()
    for name in ("pytest_robust", "defenses", "fixtures"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(out), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        yield archive


def test_the_wheel_brings_one_top_level_name(wheel):
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"pytest_robust"}


def test_the_wheel_holds_every_module_and_the_type_marker(wheel):
    folders = {name for name, path in MODULES if path.name == "__init__.py"}
    expected = {f"{name.replace('.', '/')}{'/__init__' * (name in folders)}.py" for name, _ in MODULES}
    assert expected | {"pytest_robust/__init__.py", "pytest_robust/py.typed"} <= set(wheel.namelist())
