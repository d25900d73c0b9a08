"""What every paper's tests share: contradicted claims are strict expected failures; rankings are printed at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_robust.bench.bench import Bench
from pytest_robust.bench.families import DEFAULTS, family_title
from pytest_robust.claims.paper import Paper
from pytest_robust.data.streamed import StreamedDataset
from pytest_robust.evaluation.rank_correlation import TOO_FEW
from pytest_robust.harness.selection import subject_of
from pytest_robust.harness.session import session_of
from pytest_robust.harness.verdicts import ClaimFailed
from pytest_robust.reports.results import studies_in
from pytest_robust.studies.ranking import RobustnessRanking

CLAIMS = Path(__file__).parent / "claims"


@pytest.fixture(autouse=True)
def contradicted(request: pytest.FixtureRequest) -> None:
    """Expect a failure where the paper's file says that the reproduction contradicts the claim, strictly."""
    subject = subject_of(request.node)
    if not subject.paper:
        return
    bench: Bench = request.getfixturevalue("robust_bench")
    callspec = getattr(request.node, "callspec", None)
    where = {
        **({} if callspec is None else callspec.params),
        "claim": subject.claim,
        "dataset": bench.settings.dataset,
        "scale": bench.settings.scale,
        "seed": bench.settings.seed,
        # Of the papers that compare networks; the others' entries name none.
        "family": family_title(bench.settings.family or DEFAULTS.get(bench.settings.dataset, "")),
    }
    reason = Paper.read(CLAIMS / f"{subject.paper}.toml").contradiction(**where)
    if reason is not None:
        # Only a failed claim is expected: missing data, a bug or an attack that did not work must not pass for one.
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True, raises=ClaimFailed))


@pytest.fixture(autouse=True)
def trainable(request: pytest.FixtureRequest) -> None:
    """Skip a paper that trains networks where there are test images only; undefended families may be pretrained."""
    subject = subject_of(request.node)
    if not subject.paper or subject.defense == ("none",):
        return
    bench: Bench = request.getfixturevalue("robust_bench")
    if isinstance(bench.dataset, StreamedDataset):
        pytest.skip(f"trains networks, and {bench.dataset.name} has test images only")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The ranking of the run's family, for who came to see that; not under ``-q``."""
    studies = [] if config.get_verbosity() < 0 else studies_in(session_of(config).records.events)
    for study in studies:
        if study["study"] == "robustness ranking":
            ranking = RobustnessRanking.from_dict(study)
            terminalreporter.section(
                f"robustness ranking of {ranking.family}, {ranking.images} of {ranking.all_images} images of "
                f"{ranking.data} attacked"
            )
            terminalreporter.write_line("From the least to the most accurate network; sizes in pixel levels, 0 to 255.")
            terminalreporter.write_line(
                "Accuracy is over all images; every figure is in the report (--robust-report=DIR)."
            )
            terminalreporter.write_line(f"\n{ranking.summary()}")
            if len(ranking.networks) <= TOO_FEW:
                terminalreporter.write_line(
                    f"\nNo verdict on ρ: {TOO_FEW + 1} networks or more could tell an order of theirs from chance."
                )


@pytest.fixture
def figures(robust_report_dir: Path | None, tmp_path: Path) -> Path:
    """The report folder; without one, tables and figures are made all the same and thrown away."""
    return robust_report_dir or tmp_path


@pytest.fixture
def threshold(request: pytest.FixtureRequest, robust_bench: Bench) -> float:
    """The paper's threshold of the name given, at `paper` scale on the paper's own data sets only."""
    settings = robust_bench.settings
    paper = Paper.read(CLAIMS / f"{subject_of(request.node).paper}.toml")
    found = paper.threshold(settings.dataset, request.param)
    if settings.scale != "paper" or found is None:
        pytest.skip("asserted at --scale=paper on the paper's own data sets, mnist and cifar10")
    return found
