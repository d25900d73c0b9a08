"""The command line and the ini keys: one table, from which both are declared, read and checked.

Every pytest run imports this, so its types are named tuples: making a dataclass takes several times as long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

GROUP = "robust"
SCALES = ("quick", "paper")

Kind = Literal["text", "names", "flag", "number"]
_NOBODY = object()


class Option(NamedTuple):
    """One choice: ``--robust-NAME`` on the command line, ``robust_NAME`` in an ini file.

    Args:
        name: with hyphens, as on the command line.
        help: one sentence for ``pytest --help``.
        metavar: what stands for the value there; None for a flag.
        short: whether ``--NAME`` means it too, where no other plugin owns that.
        kind: "names" may be given several times and holds comma lists.
    """

    name: str
    help: str
    metavar: str | None = None
    short: bool = False
    kind: Kind = "text"

    @property
    def long(self) -> str:
        """The spelling that is always ours."""
        return f"--robust-{self.name}"

    @property
    def shorthand(self) -> str:
        """The spelling without the prefix."""
        return f"--{self.name}"

    @property
    def dest(self) -> str:
        """Attribute of pytest's option namespace, and the ini key."""
        return f"robust_{self.name.replace('-', '_')}"


TABLE = (
    Option("defense", "Defenses to test, all registered ones by default; repeatable.", "NAME[,NAME]", True, "names"),
    Option("attack", "Attacks to test with; repeatable.", "NAME[,NAME]", True, "names"),
    Option("family", "Networks to compare, by name or as FILE.py:FUNCTION.", "NAME", True),
    Option("dataset", "Data set (default: digits, which needs no files).", "NAME", True),
    Option("scale", "quick: minutes on two CPU cores; paper: the paper's sizes (default: quick).", "SCALE", True),
    Option("device", "auto, cpu, cuda, cuda:N or mps (default: auto).", "DEVICE", True),
    Option("data-root", "Folder with the data sets' files, in torchvision's layout.", "DIR", True),
    Option("download", "Fetch missing data sets into the data root.", None, True, "flag"),
    Option("strict-data", "Fail where data are missing, instead of skipping.", None, True, "flag"),
    Option("cache", "Where trained models and adversarial sets are kept (default: the user's cache folder).", "DIR"),
    Option("seed", "From which every other seed is derived (default: 0).", "N", kind="number"),
    Option("report", "Write results.json, summary.md and figures into this folder.", "DIR"),
    Option("baseline", "Compare what robust.toml requires with this earlier run.", "FILE"),
    Option("save-baseline", "Keep what robust.toml measures for later runs to compare with.", "FILE"),
)


class Options(NamedTuple):
    """The checked choices of one session; the fields are the options' names.

    Args:
        defense: names that were asked for; empty is all.
        attack: names that were asked for; empty is the default ones.
        family: a registered name, ``FILE.py:FUNCTION`` or ``PACKAGE.MODULE:FUNCTION``; None is the data set's own.
        given: names of the options that the command line or an ini file sets.
    """

    defense: tuple[str, ...] = ()
    attack: tuple[str, ...] = ()
    family: str | None = None
    dataset: str = "digits"
    scale: str = "quick"
    device: str = "auto"
    data_root: Path | None = None
    download: bool = False
    strict_data: bool = False
    cache: Path | None = None
    seed: int = 0
    report: Path | None = None
    baseline: Path | None = None
    save_baseline: Path | None = None
    given: frozenset[str] = frozenset()


def add_options(parser: pytest.Parser) -> None:
    """Declare every option in its ``--robust-…`` spelling, and the ini keys."""
    group = parser.getgroup(GROUP, "adversarial robustness (pytest-robust)")
    for option in TABLE:
        text = f"{option.help} Also {option.shorthand}." if option.short else option.help
        if option.kind == "flag":
            group.addoption(option.long, dest=option.dest, action="store_true", default=None, help=text)
        else:
            action = "append" if option.kind == "names" else "store"
            group.addoption(
                option.long, dest=option.dest, action=action, default=None, metavar=option.metavar, help=text
            )
        parser.addini(option.dest, f"The same as {option.long}.", type=_ini_type(option.kind), default=None)


def _ini_type(kind: Kind) -> Any:
    # pytest knows "int" since 8.4; before, every number is read from text.
    number = "int" if pytest.version_tuple >= (8, 4) else "string"
    return {"text": "string", "names": "args", "flag": "bool", "number": number}[kind]


def spelled_out(args: Sequence[str], config: pytest.Config) -> list[str]:
    """`args` with ``--NAME`` written as ``--robust-NAME``, wherever no other plugin has declared ``--NAME``.

    Short names are never declared to pytest: two plugins that declare one name end the run, whichever comes second,
    and a conftest.py with its own ``--device`` may come at any time.
    """
    free = {
        option.shorthand: option.long
        for option in TABLE
        if option.short and config.getoption(option.shorthand, default=_NOBODY) is _NOBODY
    }
    end = args.index("--") if "--" in args else len(args)
    return [_spelled_out(arg, free) for arg in args[:end]] + list(args[end:])


def _spelled_out(arg: str, free: dict[str, str]) -> str:
    name, equals, value = arg.partition("=")
    return f"{free[name]}{equals}{value}" if name in free else arg


def read_options(config: pytest.Config) -> Options:
    """The session's options; the command line beats the ini file.

    Raises:
        pytest.UsageError: a value that cannot be right; nothing that costs time is looked at.
    """
    values: dict[str, Any] = {}
    for option in TABLE:
        value, source, base = _raw(option, config)
        if value is None:
            continue
        try:
            values[option.name.replace("-", "_")] = _CONVERT[option.name](value, base)
        except ValueError as error:
            raise pytest.UsageError(f"{source}: {error}") from None
    return Options(**values, given=frozenset(values))


def report_folder(config: pytest.Config) -> Path | None:
    """The folder of ``--robust-report`` alone, whatever is wrong with other options; None without one.

    Raises:
        pytest.UsageError: the ini file's value cannot be read.
    """
    value, _, base = _raw(next(option for option in TABLE if option.name == "report"), config)
    return _folder(value, base) if value else None


def _raw(option: Option, config: pytest.Config) -> tuple[Any, str, Path]:
    """The value as it was given or None, where it was given, and the folder that its relative paths start from."""
    value = config.getoption(option.dest)
    if value is not None:
        return value, option.long, config.invocation_params.dir
    where = f"{option.dest} in {config.inipath or 'the ini file'}"
    try:
        value = config.getini(option.dest)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"{where}: {_INI_NEEDS.get(option.kind, error)}") from None
    base = config.inipath.parent if config.inipath else config.rootpath
    return (None if value in ("", []) else value), where, base


#: What pytest cannot read, and says in words of Python's.
_INI_NEEDS = {"number": "it is no whole number: write 0, or any above.", "flag": "it is no flag: write true or false."}


def _names(value: Sequence[str], _base: Path) -> tuple[str, ...]:
    names = [name.strip() for part in value for name in part.split(",")]
    if not all(names):
        raise ValueError(f"an empty name in {','.join(value)!r}: write NAME,NAME or give the option once per name.")
    return tuple(dict.fromkeys(names))


def _name(value: str, _base: Path) -> str:
    if not value.strip():
        raise ValueError("the name is empty.")
    return value.strip()


def _family(value: str, base: Path) -> str:
    name = _name(value, base)
    file, colon, function = name.rpartition(":")
    if not colon and not name.endswith(".py"):
        return name
    if not file or not function:
        raise ValueError(f"{value!r} names no function: write FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION.")
    return f"{_folder(file, base)}:{function}" if file.endswith(".py") else name


def _scale(value: str, _base: Path) -> str:
    if value not in SCALES:
        raise ValueError(f"unknown scale {value!r}: choose {' or '.join(SCALES)}.")
    return value


def _device(value: str, _base: Path) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", value):
        raise ValueError(f"unknown device {value!r}: choose auto, cpu, cuda, cuda:N or mps.")
    return value


def _seed(value: str | int, _base: Path) -> int:
    try:
        seed = int(value)
    except ValueError:
        raise ValueError(f"the seed {value!r} is not a whole number.") from None
    if seed < 0:
        raise ValueError(f"the seed is {seed}, but seeds count from 0.")
    return seed


def _flag(value: bool, _base: Path) -> bool:
    return value


def _folder(value: str, base: Path) -> Path:
    return _path(value, base, "folder")


def _file(value: str, base: Path) -> Path:
    return _path(value, base, "file")


def _path(value: str, base: Path, noun: str) -> Path:
    if not value:
        raise ValueError(f"the {noun}'s name is empty.")
    path = Path(value).expanduser()
    return path if path.is_absolute() else base / path


_CONVERT: dict[str, Callable[[Any, Path], Any]] = {
    "defense": _names,
    "attack": _names,
    "family": _family,
    "dataset": _name,
    "scale": _scale,
    "device": _device,
    "data-root": _folder,
    "download": _flag,
    "strict-data": _flag,
    "cache": _folder,
    "seed": _seed,
    "report": _folder,
    "baseline": _file,
    "save-baseline": _file,
}
