"""robust.toml: what it may say, and for whatever it may not, one sentence with the line."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_robust.errors import GateError, SettingsError, UnknownNameError
from pytest_robust.gate.reading import Attacks, parse_gate, read_gate
from pytest_robust.gate.requirements import Diagnose, Requirement
from pytest_robust.gate.toml_lines import Lines

GATE = '[gate]\nmodel = "m:model"\ndata = "m:data"\n'
PARAMETERS = {"pgd": ("norm", "eps", "max_iter", "steps"), "square": ("eps", "max_iter")}


def check_parameter(name, key, value):
    if not isinstance(value, int):
        raise SettingsError(f"the attack {name!r}: {key}={value!r} is no number.")


ATTACKS = Attacks(lambda _: None, PARAMETERS.__getitem__, check_parameter)


def parsed(text, gate=GATE):
    return parse_gate(gate + text, "robust.toml", ATTACKS)


def one(text):
    return parsed(f"[[require]]\n{text}").requirements[0]


def test_the_file_of_the_documentation():
    gate = parsed(
        """
        confidence = 0.99
        [[require]]
        metric = "accuracy"
        at_least = 0.92
        [[require]]
        attack = "pgd"
        norm = "linf"
        eps = "8/255"
        steps = 40
        metric = "accuracy"
        at_least = 0.45
        [[require]]
        attack = "square"
        max_drop_from_baseline = 0.01
        """
    )
    assert (gate.model, gate.data, gate.confidence, gate.path) == ("m:model", "m:data", 0.99, "robust.toml")
    assert (gate.inconclusive, gate.unreliable, gate.diagnose) == (None, "fail", None)
    assert [replace(r, parameters=dict(r.parameters)) for r in gate.requirements] == [
        Requirement("accuracy", "at_least", 0.92, line=6),
        Requirement(
            "accuracy", "at_least", 0.45, "pgd", "linf", 8 / 255, {"steps": 40}, eps_text="8/255", line=9
        ),
        Requirement("accuracy", "max_drop_from_baseline", 0.01, "square", line=16),
    ]  # fmt: skip
    assert [r.title for r in gate.requirements] == [
        "clean accuracy >= 0.92",
        "pgd linf eps=8/255 steps=40 accuracy >= 0.45",
        "square accuracy drop <= 0.01",
    ]


def test_sequential_holds_for_all_requirements_unless_one_says_otherwise():
    gate = parsed("sequential = true\n[[require]]\nat_least = 0.5\n[[require]]\nat_least = 0.6\nsequential = false")
    assert [r.sequential for r in gate.requirements] == [True, False]


def test_a_diagnosis_is_of_the_attack_that_it_names_or_of_the_first_requirement_that_has_one():
    text = '[[require]]\nat_least = 0.5\n[[require]]\nattack = "square"\nmax_iter = 9\nat_least = 0.5\n[diagnose]\n'
    like = parsed(f"{text}images = 50").diagnose
    assert replace(like, parameters=dict(like.parameters)) == Diagnose(
        "square", parameters={"max_iter": 9}, images=50, line=10
    )  # fmt: skip
    named = parsed(f'{text}attack = "pgd"\neps = 0.1\nsteps = 9\ntraining = "m:t"').diagnose
    assert replace(named, parameters=dict(named.parameters)) == Diagnose(
        "pgd", None, 0.1, {"steps": 9}, training="m:t", line=10
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "read"), [('"8/255"', 8 / 255), ('" 1 / 4 "', 0.25), ("0.3", 0.3), ("1", 1.0), ('"0.5/1"', 0.5)]
)
def test_budgets_are_numbers_or_fractions(written, read):
    assert one(f'attack = "pgd"\neps = {written}\nat_least = 0.5').eps == read


@pytest.mark.parametrize("norm", ['"linf"', '"inf"', '"Linf"', "inf"])
def test_norms_have_the_names_that_people_write(norm):
    assert one(f'attack = "pgd"\nnorm = {norm}\nat_least = 0.5').norm == "linf"


def test_a_distance_in_l2_may_be_longer_than_one():
    assert one('attack = "pgd"\nnorm = "l2"\neps = 3\nat_least = 0.5').eps == 3


#: What may not be, after the three lines of GATE and a header: line, the part of the message that says why.
MISTAKES = {
    "a typo": ("atleast = 0.4", 5, 'unknown key "atleast" in [[require]]; did you mean "at_least"?'),
    "a typo beside an attack": (
        'attack = "pgd"\nat_least = 0.4\nstep = 40', 7, 'unknown key "step" in [[require]]; did you mean "steps"?',
    ),
    "a parameter of another attack": ('attack = "square"\nat_least = 0.4\nsteps = 9', 7, 'unknown key "steps"'),
    "a parameter that is no number": (
        'attack = "pgd"\nat_least = 0.4\nsteps = "many"', 7, "the attack 'pgd': steps='many' is no number.",
    ),
    "diagnose with a parameter that is no number": (
        'at_least = 0.4\n[diagnose]\nattack = "pgd"\nsteps = []', 8, "the attack 'pgd': steps=[] is no number.",
    ),
    "a parameter and no attack": ("at_least = 0.4\nsteps = 9", 6, 'unknown key "steps"'),
    "a metric that nobody knows": (
        'metric = "acuracy"\nat_least = 0.4', 5, 'metric = "acuracy" in [[require]]: it must be one of accuracy,',
    ),
    "a metric without its attack": ('metric = "auroc"\nat_least = 0.4', 5, 'the metric "auroc" needs an attack'),
    "per cent": ("at_least = 92", 5, "at_least = 92 in [[require]]: it must be a share in [0, 1]: write 0.92 for"),
    "at least nothing": (
        "at_least = 0", 5, "at_least = 0 in [[require]]: every figure meets it, so that nothing is demanded.",
    ),
    "at most everything": ("at_most = 1.0", 5, "at_most = 1.0 in [[require]]: every figure meets it"),
    "any drop": ("max_drop_from_baseline = 1", 5, "every figure meets it, so that nothing is demanded."),
    "text": ('at_least = "0.9"', 5, 'at_least = "0.9" in [[require]]: it must be a number.'),
    "true": ("at_least = true", 5, "at_least = true in [[require]]: it must be a number."),
    "NaN": ("at_least = nan", 5, "it must be a number."),
    "no comparison": ('metric = "accuracy"', 4, "has nothing to compare with: give exactly one of at_least"),
    "two comparisons": ("at_least = 0.4\nat_most = 0.6", 4, "[[require]] has both at_least and at_most: give exactly"),
    "a budget beyond one": (
        'attack = "pgd"\nat_least = 0.4\neps = 8', 7, 'eps = 8, but images are in [0, 1], so a budget is in (0, 1]: '
        'did you mean "8/255"?',
    ),
    "no budget": ('attack = "pgd"\nat_least = 0.4\neps = 0', 7, "a budget is positive and finite"),
    "a broken fraction": ('attack = "pgd"\nat_least = 0.4\neps = "8/"', 7, "it must be a number or a fraction like"),
    "division by zero": ('attack = "pgd"\nat_least = 0.4\neps = "8/0"', 7, "it must be a number or a fraction like"),
    "a norm that is none": ('attack = "pgd"\nat_least = 0.4\nnorm = "l3"', 7, 'it must be "linf", "l2", "l1" or "l0"'),
    "a budget without an attack": ("at_least = 0.4\neps = 0.1", 6, "eps without an attack: name one"),
    "an empty name": ('attack = " "\nat_least = 0.4', 5, "it must be a string that is not empty"),
    "a drop of what should drop": (
        'attack = "pgd"\nmetric = "error"\nmax_drop_from_baseline = 0.1', 7, 'a drop of the metric "error" is no loss',
    ),
    "the same twice": (
        "at_least = 0.4\n[[require]]\nat_least = 0.4", 6, 'a second requirement "clean accuracy >= 0.4", after that of '
        "line 4: give one a name of its own.",
    ),
    "a string that spans lines, before": ('name = """a\n[[require]]\nb"""\natleast = 1', 8, 'unknown key "atleast"'),
    "an unknown table": ("at_least = 0.4\n[requires]", 6, '"requires" in the file; did you mean "require"?'),
    "diagnose with a typo": ("at_least = 0.4\n[diagnose]\nimage = 5", 7, 'in [diagnose]; did you mean "images"?'),
    "diagnose without any attack": ("at_least = 0.4\n[diagnose]", 6, "needs an attack, and no requirement has one"),
    "diagnose with a budget alone": ("at_least = 0.4\n[diagnose]\neps = 0.1", 6, "a budget without an attack"),
    "diagnose with no images": ("at_least = 0.4\n[diagnose]\nimages = 0", 7, "it must be a whole number, 1 or more"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_a_sentence_with_its_line(mistake):
    text, line, part = MISTAKES[mistake]
    with pytest.raises(GateError) as raised:
        one(text)
    assert str(raised.value).startswith(f"robust.toml:{line}: ")
    assert part in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("gate", "line", "part"),
    [
        ("", 1, "there is no table [gate]: it names the model and the data"),
        ("gate = 3\n", 1, "there is no table [gate]"),
        ('[gate]\ndata = "d"\n', 1, "[gate] lacks model"),
        ('\n[gate]\nmodel = "d"\n', 2, "[gate] lacks data"),
        (f'{GATE}modle = "x"\n', 4, 'unknown key "modle" in [gate]; did you mean "model"?'),
        (f"{GATE}confidence = 95\n", 4, "between 0 and 1, like 0.95: write 0.95 for 95 %"),
        (f"{GATE}confidence = 1.0\n", 4, "between 0 and 1"),
        (f"{GATE}sequential = 1\n", 4, "it must be true or false"),
        (f'{GATE}inconclusive = "warn"\n', 4, "it must be one of fail, skip, pass"),
        (f"{GATE}std = [0.2, 0]\n", 4, "a standard deviation is above 0"),
        (f"{GATE}mean = []\n", 4, "it must be a number"),
        (GATE, 1, "there is no [[require]]"),
        (f"{GATE}[require]\nat_least = 1\n", 4, "there is no [[require]]"),
        ("[gate]\nmodel = \n", 2, "this is no TOML: Invalid value."),
        ('[gate]\nmodel = "x', 2, "this is no TOML"),
        ("[gate]\n[gate]\n", 2, "this is no TOML: Cannot declare ('gate',) twice."),
    ],
)
def test_a_mistake_in_the_gates_own_table(gate, line, part):
    with pytest.raises(GateError) as raised:
        parsed("" if "require" in gate or gate == GATE or "TOML" in part else "[[require]]\nat_least = 0.4", gate)
    assert str(raised.value).startswith(f"robust.toml:{line}: ")
    assert part in str(raised.value)


def test_an_attack_that_nobody_knows_is_told_by_its_line():
    def check(name):
        raise UnknownNameError(f"unknown attack {name!r}; did you mean 'pgd'?")

    attacks = Attacks(check, dict, check_parameter)
    with pytest.raises(GateError, match=r"^robust.toml:6: unknown attack 'pdg'; did you mean 'pgd'\?$"):
        parse_gate(f'{GATE}[[require]]\nat_least = 0.5\nattack = "pdg"\nsteps = 4', "robust.toml", attacks)


def test_a_file_that_cannot_be_read_is_a_sentence(tmp_path):
    with pytest.raises(GateError, match=r"^robust.toml cannot be read: No such file or directory.$"):
        read_gate(tmp_path / "robust.toml", "robust.toml", ATTACKS)
    (tmp_path / "robust.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(GateError, match=r"^robust.toml cannot be read: 'utf-8'"):
        read_gate(tmp_path / "robust.toml", "robust.toml", ATTACKS)


NAMES = st.sampled_from(["a", "b", '"c d"', "'e.f'", "g"])
VALUES = st.sampled_from(
    ["1", '"x"', "'''\n[a]\nb = 2\n'''", '"""a\n\n[[b]]"""', "[\n1,\n  # c\n2]", "{h = 1, i = {j = 2}}", "[]"]
)  # fmt: skip


@st.composite
def documents(draw):
    """A TOML text whose every key is unique, with the line of each as it was written."""
    lines: list[str] = []
    expected: dict[tuple, int] = {}

    def assign(path, key, value):
        expected[(*path, tomllib.loads(f"{key} = 0").popitem()[0])] = len(lines) + 1
        lines.extend(f"{key} = {value}".split("\n"))

    def fill(path):
        for key in draw(st.lists(NAMES, unique=True, max_size=3)):
            lines.extend(draw(st.lists(st.sampled_from(["", "# [x]", "  "]), max_size=2)))
            assign(path, key, draw(VALUES))

    fill(())
    for i in range(draw(st.integers(0, 3))):
        expected["list", i] = len(lines) + 1
        lines.append("[[ list ]]  # [no]")
        fill(("list", i))
    if draw(st.booleans()):
        expected["table", "inner"] = len(lines) + 1
        lines.append("[table.inner]")
        fill(("table", "inner"))
    return "\n".join(lines), expected


@given(documents())
def test_every_key_has_the_line_on_which_it_begins(document):
    text, expected = document
    tomllib.loads(text)
    lines = Lines(text)
    assert {path: lines.of(path) for path in expected} == expected


def test_what_has_no_line_has_that_of_what_is_around_it():
    lines = Lines("a = 1\n[[r]]\nb = {c = [1, {d = 2}]}\n")
    assert [lines.of(p) for p in (("r", 0, "b", "c", 1, "d"), ("r", 0, "x"), ("r", 5), ("x",), ())] == [3, 2, 1, 1, 1]
