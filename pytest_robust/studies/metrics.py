"""What a robustness ranking measures of each network under each attack."""

from __future__ import annotations

#: Figures of each network and attack, in the order of tables, and how people write them.
METRICS = {
    "success": "success rate",
    "l2": "mean L2",
    "l2_median": "median L2",
    "linf": "mean L∞",
    "linf_median": "median L∞",
    "rms": "mean RMS",
    "floor": "share at one level",
    "pass_score": "mean PASS",
}
#: Those that are compared with accuracy. RMS orders networks as L2 does, and the median of L∞ is mostly a tie.
CORRELATED = ("success", "l2", "l2_median", "linf", "floor", "pass_score")
#: A perturbation of at most so many pixel levels is the smallest that an 8-bit image can have.
FLOOR = 1.0
