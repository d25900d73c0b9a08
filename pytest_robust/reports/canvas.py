"""What every figure starts from and ends with: a canvas without a window, colours, and the file.

matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: Classes or series in order (Okabe & Ito's palette, safe for colour-blind readers, and two more).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c6bb1", "#666666", "#a65628")
#: Pixels per inch of every file.
DPI = 120
#: About the width of a character of a title, in inches.
CHARACTER = 0.1
#: Inches that a name beside an axis needs for itself.
NAME = 0.15


def new_figure(width: float, height: float, title: str) -> Any:
    """An empty matplotlib figure of so many inches, with a title over all its panels, which breaks its lines."""
    # The object interface: pyplot would choose a GUI backend and keep every figure alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    fitting = max(20, int(width / CHARACTER))
    lines = [textwrap.fill(line, fitting) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), parse_math=False)  # a user's name may hold dollar signs
    return figure


def save_figure(figure: Any, path: str | Path) -> Path:
    """Write the figure as the file `path`, in a folder that is made if it is not there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path


def named_ticks(names: Sequence[str], inches: float) -> tuple[range, list[str]]:
    """Positions and names of the ticks along a side of so many inches; every k-th where not all of them have room."""
    step = max(1, math.ceil(len(names) * NAME / inches))
    return range(0, len(names), step), list(names[::step])
