"""Graders: their scores for right and wrong answers, and their limits on long or hostile answers."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft.rewards import (
    Choice,
    Exact,
    Format,
    Formula,
    JsonEqual,
    JsonSchema,
    Length,
    Matches,
    Numeric,
    PassesTests,
    Repetition,
    Reward,
    Rollout,
    SetF1,
    Similarity,
    StringCheck,
    TokenF1,
    ToolCall,
    after_marker,
    boxed,
    final_answer,
    last_number,
)


def grade(reward: Reward, answer: str, reference: Any = None, **extra: Any) -> float:
    return reward(Rollout.of("?", answer, reference, **extra)).value


NUMBERS = [
    # units, currencies, percent
    ("The total is $1,234.50.", "1234.5", 1),
    ("It is 5 km/h", 5, 1),
    ("\u20ac3", "3", 1),
    ("$ 18", "18", 1),
    ("20%", "20", 1),
    ("18 dollars and no cents", "18", 1),
    # signs
    ("-7", "-7", 1),
    ("\u22127", -7, 1),
    ("10-3=7", "7", 1),
    ("-$5", "-5", 1),
    # commas
    ("1,000,000.75", "1000000.75", 1),
    (r"\boxed{1{,}000{,}000}", "1000000", 1),
    (r"\boxed{1\,000}", "1000", 1),
    ("12,34", "1234", 0),
    # fractions, powers
    ("1/2", 0.5, 1),
    ("3 1/2 cups", "3.5", 1),
    ("-1/2", "-0.5", 1),
    (r"\boxed{\frac{1}{2}}", "0.5", 1),
    (r"-\dfrac{3}{4}", "-0.75", 1),
    (r"2\frac{1}{2}", "2.5", 1),
    (r"\frac12", "1/2", 1),
    ("1/3", r"\frac{2}{6}", 1),
    ("0.33333333", "1/3", 0),
    (r"3\times10^{4}", "30000", 1),
    ("1.5e3", "1500", 1),
    ("1/0", "1", 0),
    # LaTeX boxes, GSM8K's marker, tags
    (r"\boxed{7}. No: \boxed{12\text{ cm}}, as 2 < 3", "12", 1),
    ("first 7, then 9\n#### 1,000", "Natalia sold 48/2 = <<48/2=24>>24\n#### 1000", 1),
    ("####42", "42", 1),
    ("<think>7 or 8</think><answer>8</answer> or 9", "8", 1),
    ("**42**", 42.0, 1),
    # of several the last counts; none is no answer
    ("4, or 3", "4", 0),
    ("", "3", 0),
    ("twelve", "12", 0),
]


@pytest.mark.parametrize(("answer", "reference", "value"), NUMBERS)
def test_numeric(answer: str, reference: Any, value: float) -> None:
    assert grade(Numeric(), answer, reference) == value


def test_numeric_tolerance() -> None:
    assert grade(Numeric(tolerance=0.1), "2.6", "2.5") == 1, "a tenth is a tenth, not the float beside it"
    assert grade(Numeric(tolerance=0.1), "2.61", "2.5") == 0
    assert grade(Numeric(relative=0.01), "99", "100") == 1
    assert grade(Numeric(relative=0.01), "98.9", "100") == 0
    with pytest.raises(ValueError, match="use MathEqual"):
        grade(Numeric(), "1", "none")
    with pytest.raises(ValueError, match="must not be negative"):
        Numeric(tolerance=-1)


@given(
    st.lists(
        st.sampled_from(["9", "1,000", "-", "$", "1/2", " ", "\\frac{1}{2}", "{,}000", ".", "e5", "x", "}", "2 1/3"])
    )
)
def test_the_last_number_does_not_depend_on_text_far_before_it(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert last_number("and so on, " * 1000 + " " + text) == last_number(" " + text)


def test_extraction() -> None:
    assert boxed(r"\boxed{a{b}c} and \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert boxed(r"\boxed{never closed") is None
    assert after_marker("a #### b #### c\nd") == "c"
    assert after_marker("no") is None
    assert final_answer("<answer>x #### y</answer>") == "y"
    assert final_answer("<answer>never closed") == "<answer>never closed"
    assert last_number("1 and 2.5") == 2.5
    assert last_number("none") is None
    assert last_number("9" * 390) is None, "a float has no room for it"


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("Paris", "paris", 1),
        ("  Paris. ", "Paris", 1),
        ("\uff30aris", "Paris", 1),
        ("It is\n#### Paris", "Paris", 1),
        (r"\boxed{Paris}", "Paris", 1),
        ("<think>Rome?</think>\n<answer>\nParis\n</answer>", "Paris", 1),
        ("New   York", "New York", 1),
        ("Paris", ["London", "Paris"], 1),
        ("true", True, 1),
        ("4", 4.0, 1),
        ("It is Paris", "Paris", 0),
        ("", "", 0),
        ("None", None, 0),
    ],
)
def test_exact(answer: str, reference: Any, value: float) -> None:
    assert grade(Exact(), answer, reference) == value


def test_exact_settings() -> None:
    assert grade(Exact(ignore_case=False), "paris", "Paris") == 0
    assert grade(Exact(whole=True), "#### Paris", "Paris") == 0


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("B", "B", 1),
        ("(B)", "B", 1),
        ("b.", "B", 1),
        ("**B**", "B", 1),
        ("B) Paris", "B", 1),
        ("B: Paris", "B", 1),
        (r"\boxed{B}", "B", 1),
        (r"\boxed{\text{B}}", "B", 1),
        ("#### C", "C", 1),
        ("Answer: B", "B", 1),
        ("The answer is (b).", "B", 1),
        ("The correct answer is **B**.", "B", 1),
        (r"The answer is \(\boxed{B}\).", "B", 1),
        ("<answer>B</answer>", "B", 1),
        ("At first A, but the answer is B, since A is wrong", "B", 1),
        ("Paris", "B", 1),
        ("paris.", "Paris", 1),
        ("B", "Paris", 1),
        ("A", "B", 0),
        ("The answer is A or B", "A", 0),
        ("Answer: A/B", "A", 0),
        ("A man of means", "A", 0),
        ("", "A", 0),
    ],
)
def test_choice(answer: str, reference: str, value: float) -> None:
    assert grade(Choice(), answer, reference, options=["Rome", "Paris", "Oslo"]) == value
    assert grade(Choice(), answer, reference, options={"A": "Rome", "B": "Paris", "C": "Oslo"}) == value


def test_choice_settings() -> None:
    assert grade(Choice(letters="1234"), "Option 3", "3") == 1
    with pytest.raises(ValueError, match="does not name one of the choices"):
        grade(Choice(), "A", "all")
    with pytest.raises(ValueError, match="different letters"):
        Choice(letters="AA")


def test_matches() -> None:
    assert grade(Matches(r"^\d+$", flags=8), "one\n2\nthree") == 1
    assert grade(Matches(r"\d+", whole=True), "2") == 1
    assert grade(Matches(r"\d+", whole=True), "2.") == 0
    with pytest.raises(ValueError, match="is not a regular expression"):
        Matches("(")


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "partial"),
    [
        ('{"a": 1, "b": [2, 3]}', {"b": [2, 3], "a": 1.0}, 1, 1),
        ('Here:\n```json\n{"a": 1}\n```\nDone.', '{"a": 1}', 1, 1),
        ('{"a": 2} is wrong, {"a": 1} is right', {"a": 1}, 1, 1),
        ('{"a": 1, "b": 5}', {"a": 1, "b": 2}, 0, 0.5),
        ('{"a": 1, "b": 2, "c": 3, "d": 4}', {"a": 1, "b": 2}, 0, 0.5),
        ('{"a": true}', {"a": 1}, 0, 0),
        ("[1, 2]", [2, 1], 0, 0),
        ('"text"', '"text"', 1, 1),
        ("NaN", 1, 0, 0),
        ("no JSON", {"a": 1}, 0, 0),
        ("", {}, 0, 0),
        ("[" * 100_000, {"a": 1}, 0, 0),
    ],
)
def test_json_equal(answer: str, reference: Any, exact: float, partial: float) -> None:
    assert grade(JsonEqual(), answer, reference) == exact
    assert grade(JsonEqual(partial=True), answer, reference) == partial


def test_json_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = JsonSchema({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 4}}})
    assert [grade(schema, text) for text in ('{"n": 4}', '{"n": 3}', "{}", '{"n": true}', "none")] == [1, 0, 0, 0, 0]
    assert schema.requirements == ("fastjsonschema",)
    with pytest.raises(ValueError, match="not a valid JSON schema"):
        JsonSchema({"type": "nothing"})
    monkeypatch.setitem(sys.modules, "fastjsonschema", None)
    with pytest.raises(ImportError, match=r"pip install 'bedrock_rft\[json-schema\]'"):
        JsonSchema({})


ADD = "def add(a, b):\n    return a + b\n"
TESTS = ["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'", "assert add(1, 1) == 3"]


def test_passes_tests() -> None:
    fenced = f"Here it is:\n```python\n{ADD}```\nRun it with:\n```bash\npython add.py\n```"
    score = PassesTests()(Rollout.of("?", fenced, TESTS))
    assert score.value == pytest.approx(2 / 3)
    assert score.metrics == {"tests_passed": 2.0}
    assert grade(PassesTests(all_or_nothing=True), fenced, TESTS) == 0
    assert grade(PassesTests(all_or_nothing=True), ADD, TESTS[:2]) == 1
    assert grade(PassesTests(tests="checks", setup="import math"), "y = math.pi", None, checks="assert y > 3") == 1
    assert grade(PassesTests(), "", TESTS) == 0
    assert grade(PassesTests(), "```bash\nls\n```", TESTS) == 0
    for broken in (None, [], "", [7], ["", "assert 1"]):
        with pytest.raises(ValueError, match=r"tests must be text|no tests"):
            grade(PassesTests(), ADD, broken)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(0)",
        "import sys; sys.exit(0)",
        "raise SystemExit(0)",
        "print('passed 3'); import os; os.write(1, b'passed 3')",
        "while True: pass",
        "x = [0] * 10 ** 10",
        "def add(a, b): return add(a, b)",
        "open('big', 'wb').write(b'x' * 10_000_000)",
        "class Any:\n    def __eq__(self, other): return True\n(",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    ],
)
def test_code_that_exits_or_hangs_fails(code: str) -> None:
    began = time.monotonic()
    seconds = 0.3 if code.startswith("while") else 0.7
    assert grade(PassesTests(seconds=seconds), code, TESTS) == 0
    assert time.monotonic() - began < 8


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
def test_code_has_an_empty_environment_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "fake-secret-0123456789")
    checks = [
        "import os; assert not [name for name in os.environ if name.startswith(('AWS', 'OPENAI')) or 'PROXY' in name]",
        "import os, resource; assert resource.getrlimit(resource.RLIMIT_NPROC)[0] == 0",
        "import resource; assert resource.getrlimit(resource.RLIMIT_CPU)[0] <= 6",
        f"import os; assert os.getcwd() != {str(Path.cwd())!r} and os.listdir() == []",
        "import os; assert os.path.expanduser('~') == os.getcwd()",
    ]
    if sys.platform == "linux":
        checks.append("import resource; assert resource.getrlimit(resource.RLIMIT_AS)[0] == 256 << 20")
    assert grade(PassesTests(), "pass", checks) == 1


def test_length_falls_linearly() -> None:
    shaped = Length(10, tolerance=10, min_length=3)
    assert [grade(shaped, "x" * length) for length in (2, 3, 10, 15, 20, 30)] == [0, 1, 1, 0.5, 0, 0]
    assert grade(Length(2, words=True), "one two") == 1
    assert grade(Length(2, words=True), "one two three") == 0
    with pytest.raises(ValueError, match="max_length >= 1"):
        Length(0)
    with pytest.raises(TypeError, match="'room'; it was renamed to 'tolerance'"):
        Length(10, room=10)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="'most'; it was renamed to 'max_length'"):
        Length(most=10)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match=r"unexpected argument 'limit'$"):
        Length(limit=10)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def test_format_is_the_share_of_required_elements() -> None:
    wanted = Format(tags=("think", "answer"), boxed=True, marker="####")
    good = "<think>hm</think>\n<answer>\\boxed{4}</answer>\n#### 4"
    assert grade(wanted, good) == 1
    assert grade(wanted, good.replace("\\boxed", "")) == 0.75
    assert grade(wanted, good + good) == 0.25, "a tag that is repeated counts as absent"
    assert grade(Format(tags=("think", "answer")), "<answer>4</answer><think>hm</think>") == 0.5, "in order"
    assert grade(Format(tags=("think", "answer")), "<think>a<answer>b</answer></think>") == 0.5, (
        "not inside one another"
    )
    assert grade(Format(boxed=True), "\\boxed{}") == 0
    with pytest.raises(ValueError, match="at least one of tags"):
        Format()
    with pytest.raises(ValueError, match="without brackets"):
        Format(tags=("<think>",))


GRADERS: list[tuple[Reward, Any]] = [
    (Exact(), "a"),
    (Numeric(), "4"),
    (Choice(), "A"),
    (Matches("a+b"), None),
    (JsonEqual(partial=True), {"a": [1, {"b": None}]}),
    (Length(10, tolerance=10), None),
    (Format(tags=("think",), boxed=True, marker="####"), None),
    (StringCheck(operation="ilike"), "a"),
    (ToolCall(partial=True), {"name": "a", "arguments": {"b": 1}}),
    (TokenF1(), "a 9"),
    (SetF1(), ["a", "9"]),
    (Repetition(), None),
    (Similarity("fuzzy_match"), "a b"),
    (Formula("max(a, 1) - a ^ 2", {"a": Exact()}), "a"),
]


PARTS = [
    "\\boxed{",
    "}",
    "####",
    "<answer>",
    "</answer>",
    "\\frac",
    "{1}",
    "1/2",
    "-",
    "9",
    ",",
    "e",
    "[",
    '{"a":',
    "A",
    "\n",
]


@given(st.text() | st.lists(st.sampled_from(PARTS)).map("".join))
def test_graders_accept_any_text(answer: str) -> None:
    for grader, reference in GRADERS:
        assert 0 <= grade(grader, answer, reference) <= 1, grader


@pytest.mark.parametrize(("grader", "reference"), GRADERS, ids=repr)
def test_graders_take_linear_time(grader: Reward, reference: Any) -> None:
    began = time.process_time()
    for piece in (
        "9",
        "1,",
        "\\boxed{",
        "\\frac{1}{",
        "[",
        "#### ",
        "<answer>",
        "answer is ",
        " A",
        "1 1/",
        '{"a":',
        "-$",
        "1{,}",
    ):
        assert grade(grader, piece * (100_000 // len(piece)), reference) <= 1
    assert time.process_time() - began < 20, "what is quadratic takes minutes"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)


@given(st.lists(NESTED, max_size=4) | st.dictionaries(st.text(), NESTED, max_size=4))
def test_json_equals_itself(value: Any) -> None:
    for partial in (False, True):
        assert grade(JsonEqual(partial=partial), f"So:\n```json\n{json.dumps(value, indent=1)}\n```", value) == 1
