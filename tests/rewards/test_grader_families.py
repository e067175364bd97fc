"""Families of answers for the graders: notations of numbers, text, choices, formulas, JSON and code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import pytest

from bedrock_rft.rewards import (
    Choice,
    Exact,
    Format,
    JsonEqual,
    Matches,
    MathEqual,
    Numeric,
    PassesTests,
    Reward,
    Rollout,
    after_marker,
    boxed,
    final_answer,
    last_number,
)
from bedrock_rft.rewards._runtime.graders.numbers import answer_number, reference_number
from bedrock_rft.rewards._runtime.graders.unit_tests import find_code


def grade(reward: Reward, answer: str, reference: Any = None, **extra: Any) -> float:
    return reward(Rollout.of("?", answer, reference, **extra)).value


THOUGHTS = [
    "<think>A 1 {} \\boxed{1} #### 1, the answer is A.</think>",
    "A 1 {} \\boxed{1} #### 1, the answer is A.</think>",
    "<think>A</think> Wait. <think>#### 1</think>",
    "<reasoning>#### 1 or A</reasoning>",
    "<THINK>1</THINK>",
]


@pytest.mark.parametrize("thoughts", THOUGHTS)
@pytest.mark.parametrize(
    ("grader", "answer", "right", "wrong"),
    [
        (Numeric(), "\n\nIt is 5.", "5", "1"),
        (Numeric(), "#### 5", 5, 1),
        (Choice("ABCD"), "\n\nB", "B", "A"),
        (Exact(), "\n\nParis", "Paris", "1"),
        (Exact(whole=True), "Paris", "Paris", "1"),
        (JsonEqual(), '{"a": 1}', {"a": 1}, {}),
    ],
    ids=repr,
)
def test_thoughts_are_never_the_answer(grader: Reward, thoughts: str, answer: str, right: Any, wrong: Any) -> None:
    assert grade(grader, thoughts + answer, right) == 1
    assert grade(grader, thoughts + answer, wrong) == 0
    assert grade(grader, thoughts, wrong if not isinstance(wrong, dict) else {"a": 0}) == 0
    assert grade(grader, f"<think>{answer}", right) == 0, "thoughts that were cut off"


@pytest.mark.parametrize("thoughts", THOUGHTS)
def test_thoughts_are_never_the_formula(thoughts: str) -> None:
    test_thoughts_are_never_the_answer(MathEqual(), thoughts, "$\\frac{10}{2}$", "5", "1")


@pytest.mark.parametrize("thoughts", THOUGHTS)
def test_thoughts_are_never_the_code(thoughts: str) -> None:
    assert grade(PassesTests(), f"{thoughts}x = 5", ["assert x == 5", "assert x == 1", "assert x > 4"]) == 2 / 3
    assert find_code(thoughts).strip() in ("", "Wait.")
    assert not find_code("<think>x = 5"), "thoughts that were cut off"


def test_extractors_ignore_thoughts() -> None:
    text = "<think>#### 1 \\boxed{1} <answer>1</answer></think>"
    assert boxed(text) is None
    assert after_marker(text) is None
    assert final_answer(text) == ""
    assert last_number(text) is None
    assert boxed(f"{text}\\boxed{{2}}") == "2"
    assert grade(Matches("1"), text) == 0
    assert grade(Format(boxed=True), text) == 0
    assert grade(Format(marker="####"), "<think>\n#### 1\n</think>5") == 0
    assert grade(Format(tags=("think",)), text) == 1


# A text and the number that is its final answer.
NUMBERS: list[tuple[str, str | None]] = [
    ("The total is $1,234.50.", "2469/2"),
    ("It is 5 km/h", "5"),
    ("\u20ac3", "3"),
    ("$ 18", "18"),
    ("20%", "20"),
    ("18 dollars and no cents", "18"),
    ("-7", "-7"),
    ("\u22127", "-7"),
    ("10-3=7", "7"),
    ("-$5", "-5"),
    ("1,000,000.75", "4000003/4"),
    ("\\boxed{1{,}000{,}000}", "1000000"),
    ("\\boxed{1\\,000}", "1000"),
    ("1/2", "1/2"),
    ("3 1/2 cups", "7/2"),
    ("-1/2", "-1/2"),
    ("\\boxed{\\frac{1}{2}}", "1/2"),
    ("-\\dfrac{3}{4}", "-3/4"),
    ("2\\frac{1}{2}", "5/2"),
    ("\\frac12", "1/2"),
    ("1/3", "1/3"),
    ("3\\times10^{4}", "30000"),
    ("1.5e3", "1500"),
    ("1/0", None),
    ("\\boxed{7}. No: \\boxed{12\\text{ cm}}, as 2 < 3", "12"),
    ("first 7, then 9\n#### 1,000", "1000"),
    ("####42", "42"),
    ("<think>7 or 8</think><answer>8</answer> or 9", "8"),
    ("**42**", "42"),
    ("4, or 3", None),
    ("", None),
    ("twelve", None),
    ("#### 42m^2", "42"),
    ("#### $25,000/year", "25000"),
    ("#### 72 Mb/hour", "72"),
    ("#### 156kgs", "156"),
    ("44 + 7 = 3N + 21 => 3N = 30 => N = 10", "10"),
    ("#### a - 1", None),
    ("#### 42 m^2", "42"),
    ("#### 5 m2", "5"),
    ("#### 5 cm\xb2", "5"),
    ("The area is 5 m^2.", "5"),
    ("The area is 5 m2.", "5"),
    ("\\boxed{5 \\text{ cm}^2}", "5"),
    ("\\boxed{5\\,\\text{m}^3}", "5"),
    ("\\boxed{5\\,\\mathrm{m/s^2}}", "5"),
    ("#### 1\xa0234", "1234"),
    ("#### 1\u202f234", "1234"),
    ("#### 1 234", "1234"),
    ("#### 1'234", "1234"),
    ("#### 1_234", "1234"),
    ("\\boxed{1\\,234}", "1234"),
    ("\\boxed{6.02 \\times 10^{23}}", "602000000000000000000000"),
    ("\\boxed{6.02 \\cdot 10^{23}}", "602000000000000000000000"),
    ("\\boxed{\\frac{3}4}", "3/4"),
    ("#### \u201372", "-72"),
    ("\\boxed{\\cfrac{7}{8}}", "7/8"),
    ("#### 72 (since 8 * 9)", "72"),
    ("AZ2", None),
    ("\\boxed{31_5}", None),
    ("-\\boxed{12}", "-12"),
    ("$-\\boxed{12}$", "-12"),
    ("5 - \\boxed{12}", "12"),
    ("2/7", "2/7"),
    ("\\boxed{3\\sqrt{2}}", None),
    ("The answer is 3\\sqrt{2}.", None),
    ("\\boxed{x^2}", None),
    ("\\boxed{2^{10}}", None),
    ("\\boxed{10^6}", None),
    ("\\boxed{3, 4}", None),
    ("\\boxed{(3, 4)}", None),
    ("\\boxed{5!}", None),
    ("5!", None),
    ("#### 5!", None),
    ("$5!$", None),
    ("x = 5!", None),
    ("The answer is $5!$.", None),
    ("The answer is **5**!", "5"),
    ("The answer is 5! = 120.", "120"),
    ("5!!", None),
    ("(5)!", None),
    ("#### 42 sq ft", "42"),
    ("#### 42 sq. ft.", "42"),
    ("The area is 42 sq ft.", "42"),
    ("42 cu yd", "42"),
    ("42 \u03a9", "42"),
    ("42 \u2126", "42"),
    ("42\u03a9", "42"),
    ("4.7 k\u03a9", "47/10"),
    ("\\boxed{42\\,\\Omega}", "42"),
    ("42 \u00c5", "42"),
    ("42 yr", "42"),
    ("1.5 Wh", "3/2"),
    ("\\boxed{3x}", None),
    ("\\boxed{2\\pi}", None),
    ("2 pi", None),
    ("\\boxed{x = 5}", "5"),
    ("\\boxed{- 5}", "-5"),
    ("The answer is - 5", "-5"),
    ("x = - 5", "-5"),
    ("\\boxed{\\frac7{8}}", "7/8"),
    ("\\boxed{\\frac{-3}{4}}", "-3/4"),
    ("\\boxed{\\frac{\\sqrt{3}}{2}}", None),
    ("$\\frac{\\sqrt{3}}{2}$", None),
    ("\\boxed{\\mathbf{42}}", "42"),
    ("\\boxed{\\textbf{42}}", "42"),
    ("\\boxed{42^\\circ}", "42"),
    ("It is 42 \u00b0C.", "42"),
    ("42\u00b0F", "42"),
    ("42 \u2103", "42"),
    ("$42\\,^\\circ C$", "42"),
    ("42^\\circ\\text{C}", "42"),
    ("#### 42 \u00b5m", "42"),
    ("42 \u03bcs", "42"),
    ("90\xb0", "90"),
    ("\\boxed{\\$5}", "5"),
    ("\\boxed{50\\%}", "50"),
    ("#### Step 2: add 3 and 4\nSo 9", "9"),
    ("#### Step 2: add\n\\boxed{9}", "9"),
    ("#### Final Answer: 42", "42"),
    ("#### 42\n#### Step 3: check 7", "42"),
    ("#### 1. Compute 3\nthe total is 8", "8"),
    ("5 < 6", None),
    ("#### 5 or 6", None),
    ("between 5-7", None),
    ("$5 million", "5000000"),
    ("5 hundred", "500"),
    ("1.2.3", None),
    ("3:30", None),
    ("He is 21st", "21"),
    ("- 5 apples\n- 6 apples", "6"),
    ("The sum is 5 grams of CO2.", "5"),
    ("The answer is 5.\nThis uses Python3.", "5"),
    ("\\boxed{5 (mod 7)}", None),
    ("\\boxed{5 \\pmod 7}", None),
    ("\\boxed{1\\frac{1}{2}}", "3/2"),
    ("\\boxed{-1\\frac{1}{2}}", "-3/2"),
    ("\xbd", "1/2"),
    ("3\xbd", "7/2"),
    ("10 x 3 = 30 apples", "30"),
    ("She pays $5 x 3 = $15", "15"),
    ("He earns $72 per week.", "72"),
    ("#### $72 per week", "72"),
    ("The answer is 5!", "5"),
    ("#### 5 apples", "5"),
    ("\\boxed{5\\text{ apples}}", "5"),
    ("\\boxed{\\text{5 apples}}", "5"),
    ("\\boxed{\\text{Area} = 5\\text{ cm}^2}", "5"),
    ("#### x", None),
    ("\\boxed{f(5)}", None),
    ("\\boxed{101_2}", None),
    ("5 1/0", None),
    ("x2", None),
    ("\\boxed{\\pm 5}", None),
    ("So the final number is: **18**.", "18"),
    ("**Answer: 18**", "18"),
    ("Answer: \\(18\\)", "18"),
    ("\\[ x = 18 \\]", "18"),
    ("The answer is $18$.", "18"),
    ("$$18$$", "18"),
    ("=18", "18"),
    ("The price is 18.00 USD", "18"),
    ("3.14159", "314159/100000"),
    ("5+3", None),
    ("2x+3=7\nx=2", "2"),
    ("\\boxed{3+4i}", None),
    ("\\boxed{[3,5)}", None),
    ("\\boxed{1.5 \\times 10^{-3}}", "3/2000"),
    ("\\boxed{12\\,\\text{cm}}", "12"),
    ("#### 12cm", "12"),
    ("#### 5 miles/hour", "5"),
    ("\\boxed{2 : 3}", None),
    ("\\boxed{2:3}", None),
    ("#### 18 and 19", None),
    ("\\boxed{\\log 5}", None),
    ("log 5", None),
    ("sqrt(2)", None),
    ("5%.", "5"),
    ("Total: $1,234", "1234"),
    ("it's 12,34", None),
    ("<answer>The answer is 8</answer>", "8"),
    ("<answer>3 + 5 = 8</answer>", "8"),
    ("#### The total number of apples is 8", "8"),
    ("72.\n", "72"),
    ("I get 48/2=<<48/2=24>>24 clips", "24"),
    ("70% of 20 is 14.", "14"),
    ("#### 5.", "5"),
    ("#### **5**", "5"),
    ("#### `5`", "5"),
    ("\\boxed{\\dfrac{3}{4}}", "3/4"),
    ("\\boxed{\\tfrac{3}{4}\\text{ cup}}", "3/4"),
    ("\\boxed{\\left(\\frac{1}{2}\\right)}", "1/2"),
    ("#### 2 hours and 30 minutes", None),
    ("\\boxed{5x+2=12}", "12"),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_numbers(text: str, number: str | None) -> None:
    assert answer_number(text) == (None if number is None else Fraction(number))


@pytest.mark.parametrize(
    "reference",
    [
        "5!",
        "n!",
        "The number of ways is 5!",
        "42 x",
        "42_5",
        "x^2",
        "3, 4",
        "5 or 6",
        "2\\pi",
        "AZ2",
        "\\sqrt{2}",
        "A",
        "5 - 3",
        "(1,2)",
        "none",
        "",
        None,
        True,
        [5],
    ],
)
def test_references_that_are_not_plain_numbers_are_rejected(reference: Any) -> None:
    with pytest.raises(ValueError, match="use MathEqual"):
        grade(Numeric(), "5", reference)


@pytest.mark.parametrize(
    ("reference", "number"),
    [
        ("1,234", "1234"),
        ("72 apples", "72"),
        ("$18", "18"),
        ("Natalia sold 48/2 = <<48/2=24>>24\n#### 1000", "1000"),
        (-3, "-3"),
        (0.1, "1/10"),
        ("5 cm^2", "5"),
        ("\\frac{3}{4}", "3/4"),
        ("42 sq ft", "42"),
        ("42 \u03a9", "42"),
    ],
)
def test_references_that_are_plain_numbers(reference: Any, number: str) -> None:
    assert reference_number(reference) == Fraction(number)


def test_a_fraction_equals_its_float_and_integers_are_exact() -> None:
    assert grade(Numeric(), "2/7", 0.2857142857142857) == 1
    assert grade(Numeric(), "0.2857142857142857", "2/7") == 1
    assert grade(Numeric(), "0.2857", "2/7") == 0
    assert grade(Numeric(), "12345678901", "12345678902") == 0
    assert grade(Numeric(), "4 million", "4") == grade(Numeric(), "4 million", "4000000") == 1


CHOICES = [
    ("B", "B", 1),
    ("(B)", "B", 1),
    ("b.", "B", 1),
    ("**B**", "B", 1),
    ("B) Paris", "B", 1),
    ("B: Paris", "B", 1),
    ("\\boxed{B}", "B", 1),
    ("\\boxed{\\text{B}}", "B", 1),
    ("#### C", "C", 1),
    ("Answer: B", "B", 1),
    ("The answer is (b).", "B", 1),
    ("The correct answer is **B**.", "B", 1),
    ("The answer is \\(\\boxed{B}\\).", "B", 1),
    ("<answer>B</answer>", "B", 1),
    ("At first A, but the answer is B, since A is wrong", "B", 1),
    ("A", "B", 0),
    ("The answer is A or B", "A", 0),
    ("The answer is A or B", "B", 0),
    ("Answer: A/B", "A", 0),
    ("A man of means", "A", 0),
    ("", "A", 0),
    ("The answer is a rhombus.", "A", 0),
    ("A) sounds fine, but the answer is D", "D", 1),
    ("A) sounds fine, but the answer is D", "A", 0),
    ("A. B. C. D.", "A", 0),
    ("(A)(B)(C)(D)", "A", 0),
    ("A, B, C, D", "A", 0),
    ("A) or B)", "A", 0),
    ("A) or B)", "B", 0),
    ("The correct answer is: (C)", "C", 1),
    ("The answer is B. Option A is too old.", "B", 1),
    ("**Answer:** B", "B", 1),
    ("Answer:\n\nB", "B", 1),
    ("**Answer**: **B**", "B", 1),
    ("The answer is option B.", "B", 1),
    ("The correct option is B", "B", 1),
    ("the best answer is \\textbf{B}", "B", 1),
    ("The answer is \\text{B}", "B", 1),
    ("So the answer must be C.", "C", 1),
    ("I would choose B.", "B", 1),
    ("B is correct.", "B", 1),
    ("Option B is the correct answer.", "B", 1),
    ("A is incorrect. B is correct.", "B", 1),
    ("The answer is not A. The answer is B", "B", 1),
    ("The answer is not A.", "A", 0),
    ("If the answer is A, then B is wrong", "A", 0),
    ("I don't think the answer is A", "A", 0),
    ("The answer is B because A is old", "B", 1),
    ("The answer is B, A is wrong", "B", 1),
    ("The answer is B and A is wrong", "B", 1),
    ("The answer is A and B", "A", 0),
    ("The answer is B and C", "C", 0),
    ("Answer: A rhombus", "A", 0),
    ("The answer is A because it fits", "A", 1),
    ("Long text.\n\nB", "B", 1),
    ("B\n\nExplanation: long", "B", 1),
    ("B. Paris, since A is in Italy", "B", 1),
    ("Final answer: **(D) Rome**", "D", 1),
    ("The answer is $\\boxed{\\text{(D)}}$", "D", 1),
    ("\\boxed{\\textbf{(B)}\\ 12}", "B", 1),
    ("\\boxed{B. 12}", "B", 1),
    ("\\boxed{A, B}", "A", 0),
    ("\\boxed{A \\text{ or } B}", "A", 0),
    ("<answer>A or B</answer>", "A", 0),
    ("The answer: B", "B", 1),
    ("answer is:\nB", "B", 1),
    ("The final answer is:\n\n**B) text**", "B", 1),
    ("the answer is B\nor is it C?", "B", 1),
    ("Vitamin C is good", "C", 0),
    ("Option 3", "C", 0),
    ("Answer B", "B", 1),
    ("The correct choice is (B) blah", "B", 1),
    ("Answer: (A) x (B) y", "A", 1),
    ("The answer is A, B, C, or D", "A", 0),
    ("The answer could be A or B", "A", 0),
    ("None of these", "A", 0),
    ("Answer: [B]", "B", 1),
    ("Answer: 'B'", "B", 1),
    ("The answer is `B`", "B", 1),
    ("**B.** Paris", "B", 1),
    ("Therefore, B", "B", 0),
    ("The right answer is therefore B.", "B", 1),
    ("A is the right answer.", "A", 1),
    ("D. All of the above", "D", 1),
    ("The answer is D: All of A, B and C", "D", 1),
    ("A: x\nB: y\nC: z\nD: w", "A", 0),
    ("Let's see.\nA) no\nB) no\nC) yes", "C", 0),
    ("The answer is **C**: (A) is bad.", "C", 1),
    ("ANSWER: B", "B", 1),
    ("The answer is\n**B**", "B", 1),
    ("The answer is B/C", "B", 0),
    ("The answer is \\(B\\).", "B", 1),
    ("Answer: \\[B\\]", "B", 1),
    ('{"answer": "C"}', "C", 1),
    ('{"answer": "C"}', "B", 0),
    ('```json\n{"answer": "(C)"}\n```', "C", 1),
    ('{"reasoning": "The answer is B, or so it seems", "answer": "C"}', "C", 1),
    ('{"reasoning": "The answer is B, or so it seems", "answer": "C"}', "B", 0),
    ('I think so.\n{"final_answer": "C) Rome", "confidence": 0.9}', "C", 1),
    ('{"answer": "A or C"}', "C", 0),
    ('{"answer": ["A", "C"]}', "C", 0),
    ('{"answer": "A"} {"answer": "C"}', "C", 0),
    ('{"choice": "C", "answer": "A"}', "C", 0),
    ('{"A": "Paris", "C": "Rome"}', "C", 0),
    # A box around the value, and the choice outside it.
    ("So the sum is $\\boxed{17}$. The answer is (C).", "C", 1),
    ("\\begin{align*} x &= \\boxed{\\frac{5}{6}} \\end{align*}\nThe answer is (C).", "C", 1),
    ("The answer is C, which is $\\boxed{17}$.", "C", 1),
    ("The work is $\\boxed{98\\text{ D}}$. The answer is (C).", "C", 1),
    ("So the length is $\\boxed{\\pi}$.\nThe answer is (C)", "C", 1),
    ("#### 17\nThe answer is C.", "C", 1),
    ("The answer is C. \\boxed{A, B}", "C", 0),
    ("<answer>17</answer> The answer is C.", "C", 0),
    # The choice that comes closest, or that is described.
    ("That is 7.2 in total. The closest option is (C).", "C", 1),
    ("The answer is not among the choices, but the closest is (C).", "C", 1),
    ("The answer is not listed, but is closest to (C).", "C", 1),
    ("The only option that has an even number is (C).", "C", 1),
    ("The statement that best describes these roles is (C).", "C", 1),
    ("The correct statement is (C).", "C", 1),
    ("The answer is ... C.", "C", 1),
    ("This is why the correct answer is (C).", "C", 1),
    ("It explains why the answer is C", "C", 0),
    # No choice in the end.
    ("The closest option is (C), but it is far off.\n\nThe answer is (None of the above)", "C", 0),
    ("At first the answer is C. The answer cannot be determined.", "C", 0),
    ("Assume a page of $3,000 (as in option C).\n\nFinal Answer: The answer cannot be determined.", "C", 0),
    ("Hence, option C is not required.", "C", 0),
    ("So, the final answer is:\nB. The rate rose.\nC. The rate fell.", "B", 0),
    ("So, the final answer is:\nB. The rate rose.\n\nC. is wrong, as it fell.", "B", 1),
    ("The closest option is (C), but it is not correct.", "C", 0),
    ("The closest option is (C) 17.4%, but this is not the right value.", "C", 0),
    ("The closest option is (C) 17.4%, but it is not exact.", "C", 1),
    ("So (B) and (C) must be the correct answers. The answer is (BC).", "C", 0),
    ("The answer is 'B and C'.", "B", 0),
    ("There are many ways to solve it. Let's try option C: 5.5% of", "C", 0),
    ("So the best argument for the owner is (C).", "C", 1),
    ("The best buy is option (C).", "C", 1),
    ("The remedy is (C), which pays for the loss.", "C", 1),
    ("The answer is **B. Rome** and **C. Oslo**.", "B", 0),
    ("At first the answer is B. The best answer is either (B) or (C).", "B", 0),
    # Questions that the model invents after its answer.
    (
        "It was Rome. The answer is (B).\n\nQuestion:\nWho came next?\nOptions:\nA. x\nAnswer: The answer is (C).",
        "B",
        1,
    ),
    ("It was Rome. The answer is (B).\n\n**Question 2:** Who?\nThe answer is (C).", "C", 0),
    ("Question 1: The answer is (B).\n\nQuestion 2: The answer is (C).", "C", 1),
    # Parts of a long answer that was cut off.
    (f"(a) The mean is {'the sum over the count, ' * 10} so it is", "A", 0),
    (f"(a) The mean is {'the sum over the count, ' * 10}\n(b) The median is", "B", 0),
    (f"The slope is {'the rise over the run, ' * 10}\nb", "B", 0),
    (f"(A) The mean is {'the sum over the count, ' * 10} so it is", "A", 1),
]


@pytest.mark.parametrize(("answer", "reference", "value"), CHOICES)
def test_choices(answer: str, reference: str, value: float) -> None:
    assert grade(Choice("ABCD"), answer, reference) == value


OPTIONS = ["negative feedback", "a tort", "battery", "7"]
QUOTED = [
    ("He should be found guilty of C. battery. Battery is the harmful contact.", "C", 1),
    ("This loop is referred to as A. negative feedback.", "A", 1),
    ("The loop shows negative feedback (A). Such loops keep a value.", "A", 1),
    ('It is known as "C. battery".', "C", 1),
    ("The most likely charge is (C) Battery.", "C", 1),
    ("He committed a battery.", "C", 0),
    ("He is guilty of B. a tort and of C. battery.", "B", 0),
    ("He is guilty, but C. battery is wrong.", "C", 0),
    ("If I consider the closest one, it would be (C) battery, but this is not the correct one.", "C", 0),
    ("The total is D. 75", "D", 0),
]


@pytest.mark.parametrize(("answer", "reference", "value"), QUOTED)
def test_quoted_options(answer: str, reference: str, value: float) -> None:
    assert grade(Choice("ABCD"), answer, reference, options=OPTIONS) == value


def test_a_letter_is_a_choice_even_if_an_option_has_it_as_its_text() -> None:
    options = ["C", "D", "A", "B"]
    assert grade(Choice("ABCD"), "The answer is C.", "C", options=options) == 1
    assert grade(Choice("ABCD"), "C", "C", options=options) == 1
    assert grade(Choice("ABCD"), "A", "C", options=options) == 0


TEXTS: list[tuple[str, Any, float]] = [
    ("Paris", "paris", 1),
    ("  Paris. ", "Paris", 1),
    ("\uff30aris", "Paris", 1),
    ("It is\n#### Paris", "Paris", 1),
    ("\\boxed{Paris}", "Paris", 1),
    ("<think>Rome?</think>\n<answer>\nParis\n</answer>", "Paris", 1),
    ("New   York", "New York", 1),
    ("Paris", ["London", "Paris"], 1),
    ("true", True, 1),
    ("4", 4.0, 1),
    ("It is Paris", "Paris", 0),
    ("", "", 0),
    ("None", None, 0),
    ("#### **Paris**", "Paris", 1),
    ("\\boxed{\\text{Paris}}", "Paris", 1),
    ("\\boxed{12.0}", "12", 1),
    ("\\boxed{\\dfrac{3}{8}}", "\\frac{3}{8}", 1),
    ("\\boxed{(1, 2)}", "(1,2)", 1),
    ("The answer is Paris.", "Paris", 1),
    ("The answer is: **Paris**", "Paris", 1),
    ("The final answer is $\\frac{1}{2}$.", "1/2", 1),
    ("\\boxed{1,234}", "1234", 1),
    ("\\boxed{(1,234)}", "1234", 0),
    ("\\boxed{5\\text{ cm}}", "5", 1),
    ("\\boxed{\\frac12}", "\\frac{1}{2}", 1),
    ("\\boxed{x=5}", "5", 1),
    ("\\boxed{50\\%}", "50", 1),
    ("\\boxed{90^\\circ}", "90", 1),
    ("\\boxed{\\sqrt2}", "\\sqrt{2}", 1),
    ("\\boxed{2\\sqrt{3}}", "2 \\sqrt{3}", 1),
    ("\\boxed{\\left(3, \\frac{\\pi}{2}\\right)}", "(3,\\frac{\\pi}{2})", 1),
    ("\\boxed{-\\frac{1}{2}}", "\\frac{-1}{2}", 1),
    ("\\boxed{0.5}", "\\frac{1}{2}", 1),
    ("\\boxed{.5}", "0.5", 1),
    ("\\boxed{1 2}", "12", 0),
    ("Python 3.0", "Python 3", 0),
    ("\\boxed{p - q}", "p-q", 1),
    ("\\boxed{\\text{even}}", "\\text{even}", 1),
    ("\\boxed{\\mbox{June 20}}", "\\text{June 20}", 1),
    ("The answer is not Paris", "Paris", 0),
    ("The answer is Paris, or Rome", "Paris", 0),
    ("\\boxed{3}", "-3", 0),
    ("-\\boxed{3}", "-3", 1),
    ("\\boxed{x^2+1}", "x^{2}+1", 0),
    ("there fore", "therefore", 0),
    ("12", "1.2", 0),
    ("\\boxed{\\text{A}}", "A", 1),
    ("Answer: Oslo", "Oslo", 1),
    ("**Answer:** Oslo", "Oslo", 1),
    ("The result is 12", "12", 1),
    ("'Paris'", "Paris", 1),
    ('"Paris"', "Paris", 1),
    ("\u201cParis\u201d", "Paris", 1),
    ("Paris", "'Paris'", 1),
    ("'Paris'", '"Paris"', 1),
    ("'a b'", "'a  b'", 0),
    ("' a'", "'a'", 0),
    ("['a', 'b ']", "['a', 'b']", 0),
    ("['a',  'b']", "['a', 'b']", 1),
    ("'$7$'", "'$$7$$'", 0),
    ("'a' and 'b'", "a' and 'b", 0),
    ("It's  Ann's", "It's Ann's", 1),
]


@pytest.mark.parametrize(("answer", "reference", "value"), TEXTS)
def test_texts(answer: str, reference: Any, value: float) -> None:
    assert grade(Exact(), answer, reference) == value


FORMULAS = [
    ("\\boxed{6\u221a2}", "6", 0),
    ("\\boxed{6\u221a2}", "6\\sqrt{2}", 1),
    ("\\boxed{\u221a54}", "3\\sqrt{6}", 1),
    ("\\boxed{25\u221a2/2}", "25", 0),
    ("6 * sqrt(2)", "6", 0),
    ("6 * sqrt(2)", "\\sqrt{72}", 1),
    ("2 + sqrt(3), 2 - sqrt(3)", "2", 0),
    ("4*sqrt(2*(1+m^2)*a)", "4", 0),
    ("= \\frac{9 + 9c}{2c}", "9", 0),
    ("\\boxed{98\\text{ J}}", "98 joules", 1),
    ("\\boxed{365}", "365 square miles per county", 1),
    ("\\boxed{x}", "98 joules", 0),
    ("It costs $5 and not $6, so $x = 7$", "7", 1),
    ("\\boxed{\\frac{\\sqrt{3}}{3}}", "1/\\sqrt{3}", 1),
    ("\\boxed{\\frac12}", "0.5", 1),
    ("\\boxed{2\\sqrt{2}}", "\\sqrt{8}", 1),
    ("\\boxed{x^2+2x+1}", "(x+1)^2", 1),
    ("\\boxed{(1,2)}", "(1, 2)", 1),
    ("\\boxed{(2,1)}", "(1,2)", 0),
    ("\\boxed{\\{1,2\\}}", "\\{2,1\\}", 1),
    ("\\boxed{[0,1)}", "[0,1)", 1),
    ("\\boxed{[0,1]}", "[0,1)", 0),
    ("\\boxed{\\pi/2}", "\\frac{\\pi}{2}", 1),
    ("\\boxed{5\\text{ cm}}", "5", 1),
    ("\\boxed{50\\%}", "50", 1),
    ("\\boxed{2^{10}}", "1024", 1),
    ("The answer is $\\frac{3}{4}$.", "0.75", 1),
    ("\\boxed{x=5}", "5", 1),
    ("\\boxed{(-\\infty, 3]}", "(-\\infty,3]", 1),
    ("\\boxed{3+4i}", "4i+3", 1),
    ("\\boxed{y=2x+1}", "y = 2x + 1", 1),
    ("\\boxed{y=2x+1}", "y-2x=1", 1),
    ("\\boxed{1,2,3}", "1, 2, 3", 1),
    ("\\boxed{1,3}", "1,2", 0),
    ("\\boxed{10^{10^{10}}}", "5", 0),
    ("\\boxed{9^{999999999}}", "5", 0),
    ("<think>\\boxed{5}</think>\\boxed{6}", "5", 0),
    ("-\\boxed{\\frac{1}{2}}", "-\\frac12", 1),
    ("#### 72", "72", 1),
    ("72", "72", 1),
    ("\\boxed{\\begin{pmatrix}1\\\\2\\end{pmatrix}}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", 1),
    ("\\boxed{42_5}", "42_5", 1),
    ("\\boxed{\\frac{7}{8}}", "8", 0),
    ("2*sqrt(3)", "2\\sqrt{3}", 1),
    ("x**2", "x^2", 1),
    ("\\boxed{6}", "\\sqrt{36}", 1),
    ("\\boxed{\\text{Paris}}", "5", 0),
    ("", "5", 0),
    ("\\boxed{1000}", "1,000", 1),
    ("\\boxed{30^\\circ}", "30", 1),
    ("\\boxed{x \\in [1,2]}", "[1,2]", 1),
    ("\\boxed{0.33}", "1/3", 0),
    ("\\boxed{(1,2)\\cup(3,4)}", "(1,2) \\cup (3,4)", 1),
    ("\\boxed{x<3}", "x < 3", 1),
    ("\\boxed{3>x}", "x<3", 1),
    ("\\boxed{1{,}000}", "1000", 1),
    ("\\boxed{\\sqrt[3]{8}}", "2", 1),
    ("\\boxed{5 \\text{ cm}^2}", "5", 1),
    ("\\boxed{-2x}", "2x", 0),
    ("\\boxed{5!}", "120", 1),
    ("\\boxed{5}", "5!", 0),
]


@pytest.mark.parametrize(("answer", "reference", "value"), FORMULAS)
def test_formulas(answer: str, reference: str, value: float) -> None:
    assert grade(MathEqual(), answer, reference) == value


@pytest.mark.parametrize("reference", ["Paris", "", "the cat", None, ["a"], "\\text{even}"])
def test_references_that_are_not_formulas_are_rejected(reference: Any) -> None:
    with pytest.raises(ValueError, match="the reference"):
        grade(MathEqual(), "5", reference)


@pytest.mark.parametrize(
    "piece", ["9", "{", "\\frac{1}{", "x^", "^{2", "(", "((x+1)", "\\sqrt{", "x+", "!", "9^9^", "1/"]
)
def test_hostile_formulas_take_little_time(piece: str) -> None:
    began = time.process_time()
    for answer in (f"\\boxed{{{piece * 300}}}", piece * 400, f"\\boxed{{{piece * 40}}}"):
        assert grade(MathEqual(), answer, "5") == 0
    assert time.process_time() - began < 15


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ('{"a": 1} [1]', {"a": 1}, 1),
        ('```json\n{"a": 1}\n```\nSource: [2], {"page": 3, "title": "A long citation"}', {"a": 1}, 1),
        ('```json\n{"a": 1}\n```\n```python\nx = {"b": 2, "c": 3}\n```', {"a": 1}, 1),
        ('~~~json\n{"a": 1}\n~~~', {"a": 1}, 1),
        ('- first\n\n  ```json\n  {"a": 1}\n  ```', {"a": 1}, 1),
        ('```json\n{"a": 1}', {"a": 1}, 1),
        ('<answer>{"a": 1}</answer> {"long": "text after the answer"}', {"a": 1}, 1),
        ('{"a": 1}', {"a": 1, "b": None}, 1),
        ('{"a": 1, "b": null}', {"a": 1, "b": None}, 1),
        ('{"a": 1, "b": 2}', {"a": 1, "b": None}, 0),
        ('{"a": 1, "c": null}', {"a": 1, "b": None}, 0),
        ('{"a": [{"x": 1}]}', {"a": [{"x": 1, "y": None}]}, 1),
        ('{"a": [1]}', {"a": [1, None]}, 0),
    ],
)
def test_json_values(answer: str, reference: Any, value: float) -> None:
    assert grade(JsonEqual(), answer, reference) == value
    assert grade(JsonEqual(partial=True), answer, reference) >= value


def test_a_text_reference_must_be_json() -> None:
    assert grade(JsonEqual(partial=True), '{"a": 1}', {"a": 1, "b": None}) == 1
    with pytest.raises(ValueError, match="not JSON"):
        grade(JsonEqual(), '"Paris"', "Paris")


RIGHT = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return 0\n"
CASE = "import unittest\nclass T(unittest.TestCase):\n    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
TESTS: dict[str, Any] = {
    "assertions": "assert add(1, 2) == 3\nassert add(0, 1) == 1",
    "list": ["assert add(1, 2) == 3"],
    "fenced": "```python\nassert add(1, 2) == 3\n```",
    "function": "def test_add():\n    assert add(1, 2) == 3\n",
    "called function": "def test_add():\n    assert add(1, 2) == 3\n\ntest_add()\n",
    "class": (
        "class TestAdd:\n    def setup_method(self):\n        self.n = 3\n"
        "    def test_add(self):\n        assert add(1, 2) == self.n\n"
    ),
    "unittest": CASE,
    "unittest main": (f"{CASE}if __name__ == '__main__':\n    unittest.main()\n"),
    "HumanEval": "METADATA = {}\n\ndef check(candidate):\n    assert candidate(1, 2) == 3\n",
    "HumanEval called": "def check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)\n",
    "raise": "if add(1, 2) != 3:\n    raise ValueError('wrong')\n",
    "pytest": (
        "import pytest\n@pytest.mark.parametrize('a, b, c', [(1, 2, 3), (2, 2, 4)])\n"
        "def test_add(a, b, c):\n    assert add(a, b) == pytest.approx(c)\n"
    ),
    "raises": (
        "import pytest\ndef test_add():\n    with pytest.raises(TypeError):\n"
        "        add(1, '2')\n    assert add(1, 1) == 2\n"
    ),
    "async": "async def test_add():\n    assert add(1, 2) == 3\n",
    "from answer": "from answer import add\nassert add(1, 2) == 3\n",
    "call": {"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, 7]},
    "loop": "for a in range(3):\n    assert add(a, 1) == a + 1\n",
}


def several(names: Iterable[str]) -> list[Any]:
    """Return tests of several kinds as one list, which one process runs."""
    return [one for name in names for one in (TESTS[name] if isinstance(TESTS[name], list) else [TESTS[name]])]


JSON_TESTS = '["assert add(1, 2) == 3", "assert add(2, 2) == 4"]'


@pytest.mark.parametrize(
    "names",
    [
        ("assertions", "list", "fenced", "HumanEval", "HumanEval called", "raise", "from answer", "call", "loop"),
        ("function", "called function", "class", "async"),
        ("unittest", "unittest main"),
        ("pytest", "raises"),
    ],
)
def test_kinds_of_tests(names: tuple[str, ...]) -> None:
    # The kinds of a group need the same modules, which are loaded if the text of a test names them.
    assert grade(PassesTests(), f"```python\n{RIGHT}```", several(names)) == 1
    assert grade(PassesTests(), f"```python\n{WRONG}```", several(names)) == 0


def test_tests_may_be_json_text() -> None:
    assert grade(PassesTests(), RIGHT, JSON_TESTS) == 1
    assert grade(PassesTests(), WRONG, JSON_TESTS) == 0


def test_the_function_for_check_is_named_by_entry_point() -> None:
    code = f"{RIGHT}\n\ndef show():\n    print(add(1, 2))\n"
    assert grade(PassesTests(), code, TESTS["HumanEval"], entry_point="add") == 1
    assert grade(PassesTests(), code, TESTS["HumanEval"]) == 0


PROGRAM = "n = int(input())\nfor _ in range(n):\n    print(sum(map(int, input().split())))\n"


PAIRS: list[Any] = [
    {"input": "2\n1 2\n3 4\n", "output": "3\n7\n"},
    *({"input": "1\n1 2\n", "output": "3"}, {"input": "1\n5 5", "output": "10 \n"}),
    {"inputs": ["1\n1 2\n"], "outputs": ["3\n"]},
    {"stdin": "1\n1 2", "stdout": "3"},
]


@pytest.mark.parametrize(
    ("program", "right"),
    [
        (PROGRAM, True),
        (f"import sys\ninput = sys.stdin.readline\n{PROGRAM}sys.exit(0)\n", True),
        (
            "def main():\n"
            + "".join(f"    {line}\n" for line in PROGRAM.splitlines())
            + "if __name__ == '__main__':\n    main()\n",
            True,
        ),
        (
            (
                "lines = open(0).read().split('\\n')\n"
                "for line in lines[1:]:\n    if line: print(sum(map(int, line.split())))\n"
            ),
            True,
        ),
        (PROGRAM.replace("sum", "max"), False),
        ("print('3')\nraise ValueError", False),
    ],
)
def test_programs_are_compared_by_their_output(program: str, right: bool) -> None:
    assert grade(PassesTests(), f"```python\n{program}```", PAIRS) == float(right)


def test_pairs_of_input_and_output_may_be_json_text() -> None:
    assert grade(PassesTests(), PROGRAM, json.dumps(PAIRS[3])) == 1


@pytest.mark.parametrize(
    "tests",
    [
        "# add(1, 2) == 3\n",
        "add(1, 2) == 3\n",
        "def helper():\n    assert add(1, 2) == 3\n",
        "x = add(1, 2)",
        ["assert add(1, 2) == 3", "add(1, 2)"],
        "def test_add(tmp_path):\n    assert add(1, 2) == 3\n",
        ">>> add(1, 2)\n3\n",
        "def test_add(:",
        [7],
        {"input": 7},
    ],
)
def test_tests_that_assert_nothing_are_errors(tests: Any) -> None:
    with pytest.raises(ValueError, match=r"test"):
        grade(PassesTests(), RIGHT, tests)


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{RIGHT}```\nOutput:\n```\n3\n```",
        f"```python\n{RIGHT}```\n```python\n>>> add(1, 2)\n3\n```",
        f"```python\n{RIGHT}```\nUsage:\n```python\nprint(add(1, int(input())))\n```",
        f"```\n{RIGHT}```",
        f"~~~python\n{RIGHT}~~~",
        f"```python\n{RIGHT}",
        f"1. Code:\n\n   ```python\n   {RIGHT.replace(chr(10), chr(10) + '   ')}\n   ```",
        f"<answer>\n{RIGHT}</answer>",
        f"<answer>\n```python\n{RIGHT}```\n</answer>",
        f"<think>{WRONG}</think>```py\n{RIGHT}```",
        f"```python\n{WRONG}```\nBetter:\n```python\n{RIGHT}```",
        "```python\ndef h(a, b):\n    return a + b\n```\nthen\n```python\ndef add(a, b):\n    return h(a, b)\n```",
        f"```python\n{RIGHT}print(add(1, 2))\n```\n```bash\npython add.py\n```",
    ],
)
def test_code_is_found_in_any_form(answer: str) -> None:
    space: dict[str, Any] = {}
    exec(find_code(answer, {"add"}), space)  # noqa: S102 - our own code
    assert space["add"](1, 2) == 3
    assert "input" not in find_code(answer, {"add"})


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{RIGHT}```\nUsage:\n```python\nprint(add(1, int(input())))\n```",
        f"```python\n{RIGHT}\nif __name__ == '__main__':\n    raise SystemExit(add(1, input()))\n```",
        f"```python\nimport sys\n{RIGHT}\nsys.exit(0)\n```",
        f"```python\nimport argparse\nargs = argparse.ArgumentParser().parse_args()\n{RIGHT}```",
        (
            "```python\nimport argparse\np = argparse.ArgumentParser()\np.add_argument('n')\n"
            f"args = p.parse_args()\n{RIGHT}```"
        ),
        f"```python\nn = int(input())\n{RIGHT}```",
        f"```python\nfrom __future__ import annotations\n{RIGHT}```",
        f"```python\n{RIGHT}assert add(1, 2) == 4, 'a wrong example'\n```",
    ],
)
def test_right_code_passes_with_any_statements_around_it(answer: str) -> None:
    tests = ["assert add(1, 2) == 3", "assert add(0, 3) == 3 and math.pi > 3", "assert add(1, 2) == 4"]
    assert grade(PassesTests(setup="import math"), answer, tests) == 2 / 3


UNIVERSAL = (
    "class E:\n    def __eq__(self, other): return True\n"
    "    def __ne__(self, other): return False\n    __hash__ = None\n"
)


@pytest.mark.parametrize(
    "code",
    [
        f"{UNIVERSAL}def add(a, b): return E()\n",
        f"{UNIVERSAL}def add(a, b): return [E()]\n",
        f"{UNIVERSAL}class F(E, int): pass\ndef add(a, b): return F()\n",
        "def add(a, b):\n    class E(int):\n        def __eq__(self, other): return True\n    return E()\n",
        "class E:\n    pass\nE.__eq__ = lambda self, other: True\ndef add(a, b): return E()\n",
        "def add(a, b): return type('E', (), {'__eq__': lambda self, other: True})()\n",
        "class E:\n    def __eq__(self, other): return isinstance(other, int)\ndef add(a, b): return E()\n",
    ],
)
def test_an_object_that_equals_everything_passes_nothing(code: str) -> None:
    tests = [
        *("assert add(1, 2) == 3", "assert not add(1, 2) != 3"),
        *("assert [add(1, 2)] == [3]", "assert [3] == add(1, 2)"),
    ]
    assert grade(PassesTests(), code, tests) == 0


FLOATS = "assert abs(add(1, 2) - 3) < 1e-9\nassert abs(3 - add(1, 2)) < 1e-9\n"
CLOSE = "import pytest\ndef test_add():\n    assert add(1, 2) == pytest.approx(3)\n"
ALMOST = CASE.replace("assertEqual", "assertAlmostEqual")


CHEATS = [
    ("import unittest\nunittest.TestCase.assertEqual = lambda *args: None\n", CASE),
    ("import unittest\nunittest.TestCase.run = lambda self, result: result.startTest(self)\n", CASE),
    ("import unittest\nunittest.TestResult.wasSuccessful = lambda self: True\n", CASE),
    ("import sys\nsys.modules['unittest'] = type(sys)('unittest')\n", CASE),
    ("import pytest\npytest.approx = lambda value: 0\n", CLOSE),
    ("import sys\nf = type(sys)('pytest')\nf.approx = lambda value: 0\nsys.modules['pytest'] = f\n", CLOSE),
    ("import builtins\nbuiltins.abs = lambda value: 0\n", FLOATS),
    ("def abs(value): return 0\n", FLOATS),
    ("abs = lambda value: 0\n", FLOATS),
    ("import math\nmath.isclose = lambda *args: True\n", "import math\nassert math.isclose(add(1, 2), 3)"),
    ("import sys\nsys.modules['checks'] = type(sys)('checks')\n", "import checks\nassert add(1, 2) == 3"),
    (
        "import statistics as s\ns.mean = lambda value: 3\n",
        "import statistics\nassert statistics.mean([add(1, 2)]) == 3",
    ),
    ('import json\njson.dumps = lambda value: \'{"passed": 1, "error": null}\'\n', "assert add(1, 2) == 3"),
    ("import __main__\n__main__._honest = lambda value: 3\n", "assert add(1, 2) == 3"),
    ("import builtins\nbuiltins.sum = lambda value: 1\n", "assert add(1, 2) == 3"),
    (
        (
            "import sys\nf = type(sys)('inspect')\nf.__spec__ = sys.__spec__\nf.iscoroutine = lambda value: False\n"
            "f.signature = lambda value: f\nf.parameters = {}\nsys.modules['inspect'] = f\n"
        ),
        "async def test_add():\n    assert add(1, 2) == 3\ndef test_one():\n    assert add(0, 0) == 0\n",
    ),
]


@pytest.mark.parametrize(("cheat", "tests"), CHEATS)
def test_what_the_answer_patches_is_undone(cheat: str, tests: str) -> None:
    # One process tries wrong code, and then right code twice, under another name, after the same patches.
    again = [] if "import checks" in tests else [tests.replace("add(", "plus(")] * 2
    score = grade(PassesTests(), f"{cheat}\n{WRONG}\n{RIGHT.replace('add', 'plus')}", [tests, *again])
    assert score == len(again) / (1 + len(again))


HOSTILE = {
    "difference": "__sub__ = __rsub__ = lambda self, other: 0",
    "order": "__sub__ = __rsub__ = lambda *a: a[0]\n    __abs__ = lambda self: self\n    __lt__ = lambda *a: True",
    "equality": "__eq__ = lambda self, other: True\n    __hash__ = lambda self: hash(3)",
    "no inequality": "__ne__ = lambda self, other: False",
    "truth": "__eq__ = lambda self, other: self\n    __bool__ = lambda self: True",
    "contents": "__contains__ = lambda self, other: True",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_objects_pass_nothing(kind: str) -> None:
    bases = ("object", "float", "int")
    tests = [
        *(FLOATS, CLOSE, CASE, ALMOST, {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}),
        *("assert add(1, 2) in {3}", "assert {add(1, 2)} == {3}", "assert 3 in add(1, 2)"),
        *("assert not add(1, 2) != 3", "assert 2 < add(1, 2) < 4"),
    ]
    code = "".join(
        f"class E_{base}({base}):\n    {HOSTILE[kind]}\ndef add_{base}(a, b): return E_{base}()\n" for base in bases
    )
    named = [json.dumps(tests).replace("add(", f"add_{base}(").replace('"add"', f'"add_{base}"') for base in bases]
    assert grade(PassesTests(), code, [one for each in named for one in json.loads(each)]) == 0


def test_a_function_under_test_may_have_the_name_of_a_builtin() -> None:
    code = "def sum(values):\n    return 7\n"
    assert grade(PassesTests(), code, "assert sum([1, 2]) == 7") == 1
    assert grade(PassesTests(), code, TESTS["HumanEval"].replace("1, 2) == 3", "[1]) == 7"), entry_point="sum") == 1
    check = "def check(candidate):\n    assert candidate([1]) == 7\ndef test_check():\n    check(sum)\ntest_check()\n"
    assert grade(PassesTests(), code, check) == 1
    assert grade(PassesTests(), "def sum(values):\n    return 8\n", check) == 0
    helper = "def abs(x): return x\ndef add(a, b): return abs(a) + abs(b)\n"
    assert grade(PassesTests(), helper, "assert add(-1, 2) == 1") == 1, "the code itself uses its own function"


def test_honest_classes_pass() -> None:
    code = """
from fractions import Fraction
import dataclasses, enum, functools

@dataclasses.dataclass(order=True)
class Money:
    cents: int
    def __sub__(self, other): return Money(self.cents - (other.cents if isinstance(other, Money) else other))
    def __abs__(self): return Money(abs(self.cents))

class Colour(enum.Enum):
    RED = 1

class Count:
    def __init__(self): self.n = 0
    def __iter__(self): return self
    def __next__(self):
        self.n += 1
        return self.n

class Bag:
    def __init__(self, *items): self.items = items
    def __contains__(self, item): return item in self.items

def third(): return Fraction(1, 3)
"""
    tests = [
        "assert Money(5) - 3 == Money(2) and abs(Money(3) - Money(5)) <= Money(2)",
        "assert Colour.RED == Colour.RED and Colour.RED in [Colour.RED]",
        "c = Count()\nassert next(c) == 1 and c == c and next(c) == 2",
        "assert 3 in Bag(3) and 4 not in Bag(3)",
        "assert third() - third() == 0 and abs(third() - 1 / 3) < 1e-9",
        "import collections\nassert collections.Counter('aab') - collections.Counter('a') == {'a': 1, 'b': 1}",
    ]
    assert grade(PassesTests(), code, tests) == 1
    assert (
        grade(
            PassesTests(),
            code,
            "from unittest.mock import ANY\nassert Money(1) == ANY and {'a': Money(1)} == {'a': ANY}",
        )
        == 1
    )


def test_classes_of_the_answer_may_define_equality() -> None:
    code = (
        "class P:\n    def __init__(self, x): self.x = x\n"
        "    def __eq__(self, other): return isinstance(other, P) and self.x == other.x\n"
    )
    assert grade(PassesTests(), code, "assert P(1) == P(1) and P(1) != P(2) and [P(1)] == [P(1)] and P(1) != 1") == 1


def test_installed_packages_are_available() -> None:
    assert grade(PassesTests(), "import numpy as np\ndef total(x): return np.sum(x)", "assert total([1, 2]) == 3") == 1


JSON_ANSWERS: list[tuple[Callable[[], Reward], str, Any, float]] = [
    (Numeric, '{"reasoning": "3 * 6 = 18", "answer": "18"}', "18", 1),
    (Numeric, '```json\n{"reasoning": "3 * 6 = 18", "answer": 18}\n```', 18, 1),
    (Numeric, '{"reasoning": "12 has multiples of both signs", "answer": "infinitely many"}', 12, 0),
    (Numeric, '{"answer": "18"}\n```\n\nEach of the 3 bags holds 3/4 of a cup.', 18, 1),
    (Numeric, '{"reasoning": "\\\\boxed{46}, so p is negative", "answer": "-46"}', -46, 1),
    (Numeric, '{"reasoning": "k is \\\\boxed{12} or 13", "answer": "12 or 13"}', 12, 0),
    (Numeric, '{"answer": "17"}\nNo, it is \\boxed{18}.', 18, 1),
    (Numeric, '{"answer": "\\"$1,800\\""}', 1800, 1),
    (Numeric, 'So it is 18 pounds.\n\nAnswer: \\"answer\\": \\"18\\""\n}', 18, 1),
    (Numeric, 'So it is 18.\n\nAnswer: \\"18\\"\n```', 18, 1),
    (Numeric, "<answer>18</answer>", 18, 1),
    (Exact, '{"reasoning": "It is in France", "answer": "Paris"}', "Paris", 1),
    (Exact, '{"answer": "Paris"}', "Rome", 0),
    (Exact, '{"answer": "(1, 2)"}', "(1,2)", 1),
    (Exact, '{"answer": "Paris", "n": 3}', '{"answer": "Paris", "n": 2}', 0),
    (Exact, '{"answer": "Paris", "n": 2}', '{"answer": "Paris", "n": 2}', 1),
    (Exact, '{"answer": ""}', "", 0),
    (Exact, '{"answer": "\\"a  b\\""}', "'a  b'", 1),
    (Exact, '{"answer": "\\"a b\\""}', "'a  b'", 0),
    (MathEqual, '{"reasoning": "8 = 4 * 2", "answer": "2\\\\sqrt{2}"}', "\\sqrt{8}", 1),
    (MathEqual, '{"reasoning": "8 = 4 * 2", "answer": "$\\\\boxed{2\\\\sqrt{2}}$"}', "\\sqrt{8}", 1),
]


@pytest.mark.parametrize(("grader", "answer", "reference", "value"), JSON_ANSWERS)
def test_json_answer_fields(grader: Callable[[], Reward], answer: str, reference: Any, value: float) -> None:
    assert grade(grader(), answer, reference) == value
