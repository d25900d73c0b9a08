"""The tables, sentences and the file, from plain data alone."""

from __future__ import annotations

import json
import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.errors import SettingsError
from pytest_robust.reports.results import current_versions, write_results
from pytest_robust.reports.spending import spent, spent_sentence
from pytest_robust.reports.summary import claims_markdown, claims_table, explanation, verdict_counts

CLAIM = {
    "paper": "dustbin17", "claim": "1A", "statement": "it rejects", "defense": "dustbin", "dataset": "digits",
    "scale": "quick", "attack": "fgsm", "threat_model": "transfer", "measured": "0.5 (1/2, 95% CI 0.01–0.99)",
    "value": 0.5, "lower": 0.01, "upper": 0.99, "n": 2, "comparison": ">=", "threshold": "0.3",
    "paper_figure": "0.41", "verdict": "holds", "reason": "",
}  # fmt: skip


def event(kind, seconds, **more):
    return {"event": kind, "name": "x", "key": "k", "seconds": seconds, **more}


def test_a_row_says_what_was_measured_asked_and_published():
    header, _, row = claims_table([CLAIM]).splitlines()
    assert header.split() == ["claim", "defense", "data", "set", "attack", "measured", "threshold", "paper", "verdict"]
    assert [c.strip() for c in row.split("  ") if c.strip()] == [
        "dustbin17 1A", "dustbin", "digits", "fgsm, transfer", "0.5 (1/2, 95% CI 0.01–0.99)", ">= 0.3", "0.41", "holds",
    ]  # fmt: skip


def test_what_a_claim_does_not_have_is_an_empty_cell():
    bare = {**CLAIM, "attack": None, "paper_figure": None}
    assert "None" not in claims_table([bare]) + claims_markdown([bare]) + explanation(bare)


@given(st.lists(st.fixed_dictionaries({k: st.text(st.characters(categories=["L", "N"]), max_size=90) for k in CLAIM})))
def test_no_row_is_wider_than_a_terminal(claims):
    assert all(len(line) <= 180 for line in claims_table(claims).splitlines())


def test_markdown_keeps_its_columns_whatever_the_text_holds():
    rows = claims_markdown([{**CLAIM, "statement": "a | b\nc"}]).splitlines()
    assert len(rows) == 3
    assert "a \\| b c" in rows[2]


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["holds"], "1 claim: 1 holds"),
        (["fails", "holds", "holds"], "3 claims: 2 hold, 1 fails"),
        (["inconclusive"] * 2 + ["unreliable"], "3 claims: 2 inconclusive, 1 unreliable"),
    ],
)
def test_verdicts_are_counted(verdicts, sentence):
    assert verdict_counts([{**CLAIM, "verdict": v} for v in verdicts]) == sentence


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([], "trained nothing, attacked nothing"),
        ([event("loaded", 1), event("reused", 1)], "trained nothing, attacked nothing"),
        ([event("evaluated", 0.01)], "trained nothing, attacked nothing, evaluated in under 0.1 s"),
        ([event("trained", 30.6), event("trained", 0.4)], "trained 2 models in 31 s"),
        ([event("crafted", 0.31)], "crafted 1 adversarial set in 0.3 s"),
        ([event("trained", 600)], "trained 1 model in 10 min"),
    ],
)
def test_what_was_spent_in_words(events, sentence):
    assert spent_sentence(events) == sentence


def test_what_was_spent_in_numbers():
    events = [event("trained", 3), event("trained", 2), event("loaded", 9), event("crafted", 1), event("reused", 9)]
    assert spent([*events, event("evaluated", 0.5)]) == {
        "training_seconds": 5, "attacking_seconds": 1, "evaluating_seconds": 0.5, "models_trained": 2,
        "models_loaded": 1, "sets_crafted": 1, "sets_reused": 1,
    }  # fmt: skip


def test_the_file_holds_each_evaluation_once_and_no_number_that_json_lacks(tmp_path):
    evaluated = event("evaluated", 1.0, evaluation={"defense": "dustbin", "accuracy": {"value": float("nan")}})
    path = write_results(tmp_path / "new" / "folder", [CLAIM], [evaluated, evaluated], {"seed": 0}, {"python": "3"})
    assert path == tmp_path / "new" / "folder" / "results.json"
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert document["schema"] == 1
    assert document["claims"] == [CLAIM]
    assert document["evaluations"] == [{"defense": "dustbin", "accuracy": {"value": None}, "seconds": 1.0}]
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"the report folder .*file cannot be written .*--robust-report"):
        write_results(tmp_path / "file", [], [], {}, {})


def test_a_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    write_results(tmp_path, [CLAIM], [], {}, {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(SettingsError, match="No space left"):
        write_results(tmp_path, [], [], {}, {})
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["claims"] == [CLAIM]
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def _write_often(folder, marker):
    for _ in range(20):
        write_results(folder, [{**CLAIM, "claim": marker}] * 50, [], {}, {})


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_often, args=(tmp_path, name)) for name in "AB"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    claims = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["claims"]
    assert {c["claim"] for c in claims} in ({"A"}, {"B"})


def test_versions_come_without_importing_anything_heavy():
    found = current_versions()
    assert {"python", "platform", "pytest-robust", "torch", "art", "numpy"} <= set(found)
    assert "/" not in found["platform"]
