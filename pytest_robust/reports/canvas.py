"""What every figure starts from and ends with: a canvas without a window, colours, and the file.

matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: Classes or series in order (Okabe & Ito's palette, safe for colour-blind readers, and two more).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c6bb1", "#666666", "#a65628")
#: Pixels per inch of every file.
DPI = 120


def new_figure(width: float, height: float, title: str) -> Any:
    """An empty matplotlib figure of so many inches, with a title over all its panels."""
    # The object interface: pyplot would choose a GUI backend and keep every figure alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, parse_math=False)  # a user's name may hold dollar signs
    return figure


def save_figure(figure: Any, path: str | Path) -> Path:
    """Write the figure as the file `path`, in a folder that is made if it is not there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path
