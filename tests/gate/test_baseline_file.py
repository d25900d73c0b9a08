"""The file of a baseline: what was written is read, and figures of different settings are never compared."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.errors import GateError
from pytest_robust.gate.baseline_file import Baseline, Entry, differences, packed, write_baseline

SETTINGS = {"metric": "accuracy", "attack": "pgd", "parameters": {"eps": 0.1, "max_iter": 40}, "seed": 0}


def entry(bits=(True, False, True), **changes):
    made = Entry(
        file="robust.toml",
        measures="pgd accuracy",
        settings=SETTINGS,
        data={"name": "d", "fingerprint": "f"},
        model={"name": "m"},
        n=len(bits),
        outcomes=packed(bits),
    )
    return replace(made, **changes)


@given(st.lists(st.booleans(), max_size=70))
def test_outcomes_survive_bit_by_bit(bits):
    assert entry(bits).bits == bits
    assert len(packed(bits)) <= 4 * (len(bits) // 24 + 1)


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "new" / "base.json"
    write_baseline(path, [asdict(entry()), asdict(entry())], {"python": "3"})
    read = Baseline.read(path)
    assert read.entries == (entry(),)
    assert read.entry("robust.toml", "pgd accuracy", dict(SETTINGS), "m").bits == [True, False, True]
    assert json.loads(path.read_text(encoding="utf-8"))["versions"] == {"python": "3"}


def test_a_failed_write_is_a_sentence_and_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "base.json"
    write_baseline(path, [asdict(entry())], {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(GateError, match=r"No space left on device.*--robust-save-baseline"):
        write_baseline(path, [], {})
    assert Baseline.read(path).entries == (entry(),)
    assert [p.name for p in tmp_path.iterdir()] == ["base.json"]


def test_files_of_one_run_are_kept_apart(tmp_path):
    other = entry((False,), file="other/robust.toml")
    baseline = Baseline(tmp_path / "b.json", (entry(), other))
    assert baseline.entry("other/robust.toml", "pgd accuracy", SETTINGS, "m") is other


def test_a_file_that_has_moved_is_found_where_it_can_be_no_other_gates(tmp_path):
    kept = entry()
    assert Baseline(tmp_path / "b.json", (kept,)).entry("moved/robust.toml", "pgd accuracy", SETTINGS, "m") is kept


@pytest.mark.parametrize(
    ("entries", "model", "said"),
    [
        ([entry()], "n", "is of 'robust.toml' (model 'm'), and this is 'b/robust.toml' (model 'n'): give the baseline"),
        ([entry(), entry(file="a/robust.toml")], "m", "is of 'a/robust.toml' (model 'm'), 'robust.toml' (model 'm')"),
    ],
)
def test_another_gates_figures_are_never_compared_with(tmp_path, entries, model, said):
    with pytest.raises(GateError) as raised:
        Baseline(tmp_path / "b.json", tuple(entries)).entry("b/robust.toml", "pgd accuracy", SETTINGS, model)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed was 0 and is 1;"),
        ({"parameters": {"eps": 0.2, "max_iter": 40}}, "eps was 0.1 and is 0.2;"),
        ({"parameters": {"eps": 0.1}}, "max_iter was 40 and is not given;"),
        ({"norm": "l2", "seed": 3}, "norm was not given and is l2, seed was 0 and is 3;"),
    ],
)
def test_other_settings_are_refused_with_what_differs(tmp_path, change, said):
    baseline = Baseline(tmp_path / "b.json", (entry(),))
    with pytest.raises(GateError, match=r"was made with other settings of 'pgd accuracy'") as raised:
        baseline.entry("robust.toml", "pgd accuracy", {**SETTINGS, **change}, "m")
    assert said in str(raised.value)


def test_the_nearest_of_several_says_what_differs(tmp_path):
    far = entry(settings={**SETTINGS, "seed": 7, "parameters": {"eps": 0.3, "max_iter": 4}})
    with pytest.raises(GateError, match="settings of 'pgd accuracy': seed was 0 and is 1; go back"):
        Baseline(tmp_path / "b.json", (far, entry())).entry("robust.toml", "pgd accuracy", {**SETTINGS, "seed": 1}, "m")


def test_another_attack_has_nothing_to_compare_with(tmp_path):
    with pytest.raises(GateError, match="holds nothing for 'square accuracy'"):
        Baseline(tmp_path / "b.json", (entry(),)).entry(
            "robust.toml", "square accuracy", {**SETTINGS, "attack": "square"}, "m"
        )


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
)
def test_equal_settings_and_no_others_have_no_differences(old, new):
    assert (differences(old, new) == []) == (old == new)
    assert differences({"p": old}, {"p": new}) == differences(old, new)
