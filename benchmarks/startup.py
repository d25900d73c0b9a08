"""What the plugin costs a pytest run that does not use it: paired runs with it and with ``-p no:robust``.

Run ``python benchmarks/startup.py [pairs]``. It prints the medians and exits with 1 if the plugin adds more than 20 ms,
or if importing its module takes more than 5 ms.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_MILLISECONDS = 20.0
MOST_IMPORT_MILLISECONDS = 5.0
IMPORT = """
import pytest, time
start = time.perf_counter()
import pytest_robust.plugin
print(1000 * (time.perf_counter() - start))
"""


def environment(folder: Path) -> dict[str, str]:
    """With compiled modules kept, as for any user, but in `folder`: compiling is no part of a usual start."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS")}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "pycache")}


def run(folder: Path, *options: str) -> float:
    """Milliseconds of one pytest run on a trivial test file."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_trivial.py"]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(folder), check=True, stdout=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - start)


def paired(folder: Path, pairs: int) -> tuple[list[float], list[float]]:
    """Milliseconds with and without the plugin, alternating which goes first; the first pair warms up."""
    # Blocking a plugin costs pytest some ten milliseconds by itself, so both sides block one.
    blocked = ("another", "robust")
    taken: dict[str, list[float]] = {name: [] for name in blocked}
    for pair in range(pairs + 1):
        for name in blocked[:: 1 if pair % 2 else -1]:
            taken[name].append(run(folder, "-p", f"no:{name}"))
    return taken["another"][1:], taken["robust"][1:]


def import_milliseconds(folder: Path, runs: int) -> float:
    """Median of importing the entry-point module when pytest is there already."""
    command = [sys.executable, "-c", IMPORT]
    results = [
        subprocess.run(command, env=environment(folder), check=True, capture_output=True, text=True)
        for _ in range(runs)
    ]
    return statistics.median(float(result.stdout) for result in results)


def main(pairs: int) -> int:
    """Measure, print, judge."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_trivial.py").write_text("def test_trivial():\n    assert True\n")
        with_it, without = paired(folder, pairs)
        imported = import_milliseconds(folder, pairs)
    added = statistics.median(w - o for w, o in zip(with_it, without, strict=True))
    print(f"pytest with the plugin    {statistics.median(with_it):7.1f} ms (median of {pairs})")
    print(f"pytest without            {statistics.median(without):7.1f} ms")
    print(f"added, median of pairs    {added:7.1f} ms (at most {MOST_MILLISECONDS:g})")
    print(f"import of its module      {imported:7.1f} ms (at most {MOST_IMPORT_MILLISECONDS:g})")
    return int(added > MOST_MILLISECONDS or imported > MOST_IMPORT_MILLISECONDS)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
