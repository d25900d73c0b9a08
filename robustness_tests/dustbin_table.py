"""The dustbin paper's Table I as this run measured it: Markdown beside the paper's figures."""

from __future__ import annotations

from pathlib import Path

from dustbin_study import ATTACKS, PAPER, VARIANTS, DustbinStudy
from tabulate import tabulate

from pytest_robust.evaluation.evaluation import Evaluation

ROWS = {"fgsm": "FGS", "bim": "I-FGS", "fgsm_targeted": "T-FGS", "deepfool": "DeepFool", "cw_l2": "C&W L2"}


def write_table_1(study: DustbinStudy, folder: Path) -> Path:
    """Acc / Rej / Err of every network under every attack, each "measured (the paper's)"."""
    dataset = study.bench.settings.dataset

    def cell(variant: str, attack: str, evaluation: Evaluation) -> str:
        shares = {"accuracy": evaluation.accuracy, "rejected": evaluation.rejection, "error": evaluation.error}
        if variant == "naive":  # it rejects nothing
            del shares["rejected"]
        return " / ".join(
            f"{share.value:.2%} ({PAPER.figure(dataset, kind, attack, variant):.2%})" for kind, share in shares.items()
        )

    cells = [[ROWS[a], *(cell(v, a, study.under(v, a)) for v in VARIANTS)] for a in ATTACKS]
    headers = ["", f"{study.title('naive')}: Acc / Err", *(f"{study.title(v)}: Acc / Rej / Err" for v in VARIANTS[1:])]
    text = tabulate(cells, headers, tablefmt="github", disable_numparse=True)
    about = f"Transferred attacks (paper: Table I), {dataset}: measured (the paper's, {PAPER.like(dataset)})"
    page = folder / "dustbin-table-1.md"
    page.write_text(f"{about}\n\n{text}\n", encoding="utf-8")
    return page
