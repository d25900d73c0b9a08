"""From decisions to figures: rates with exact intervals, paired comparisons, AUROC, and verdicts on them."""
