"""Graders of OpenAI as rewards: scores of its documented examples, translations of every kind, and refusals by name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai.types import fine_tuning, graders
from support.bedrock_runtime import Runtime, runtime

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards import (
    Formula,
    Handler,
    Judge,
    LabelModel,
    Numeric,
    PythonGrader,
    Rollout,
    ScoreModel,
    Similarity,
    StringCheck,
    from_openai,
    invoke,
    openai_inputs,
    openai_source,
    package,
)
from bedrock_rft.rewards._runtime.graders import llm_judge as judging

JUDGE = "openai.gpt-oss-120b-1:0"
Json = dict[str, Any]


def check(text: str, reference: str, operation: str = "eq", name: str = "check") -> Json:
    return {"type": "string_check", "name": name, "input": text, "reference": reference, "operation": operation}


def similar(metric: str, text: str = "{{sample.output_text}}", reference: str = "{{item.reference_answer}}") -> Json:
    return {
        "type": "text_similarity",
        "name": "similar",
        "input": text,
        "reference": reference,
        "evaluation_metric": metric,
    }


def python(source: str, name: str = "code") -> Json:
    return {"type": "python", "name": name, "source": source, "image_tag": "2025-05-08"}


def multi(formula: str, **parts: Json) -> Json:
    return {"type": "multi", "name": "all", "graders": parts, "calculate_output": formula}


def rollout(answer: str, reference: Any = None, tools: Any = None, **extra: Any) -> Rollout:
    message = {"role": "assistant", "content": answer} | ({"tool_calls": tools} if tools else {})
    return Rollout("r1", ({"role": "user", "content": "Question?"}, message), reference, extra)


OUTPUT = "{{ sample.output_text }}"
REFERENCE = "{{ item.reference_answer }}"
EQUAL = check(OUTPUT, REFERENCE)
CALLED = [{"id": "c1", "type": "function", "function": {"name": "get_acceptors", "arguments": '{"smiles": "CCO"}'}}]
# OpenAI's guide: graders of tool calls, of two JSON fields, and a Python grader.
TOOLS = multi(
    "0.5 * function_name + 0.5 * arguments",
    function_name=check("get_acceptors", "{{sample.output_tools[0].function.name}}"),
    arguments=check('{"smiles": "{{item.smiles}}"}', "{{sample.output_tools[0].function.arguments}}"),
)
CONTACT = multi(
    "(name + email) / 2",
    name=similar("fuzzy_match", "{{sample.output_json.name}}", "{{item.name}}") | {"pass_threshold": 0.9},
    email=check("{{sample.output_json.email}}", "{{item.email}}"),
)
FUZZY = python(
    "from rapidfuzz import fuzz, utils\n\ndef grade(sample, item) -> float:\n"
    '    output_text = sample["output_text"]\n    reference_answer = item["reference_answer"]\n'
    "    return fuzz.WRatio(output_text, reference_answer, processor=utils.default_process) / 100.0\n"
)
JOHN = {"name": "John Doe", "email": "john.doe@gmail.com"}
BEAR = rollout("fuzzy wuzzy was a bear", "fuzzy wuzzy had no hair")
CONSTANT = python("def grade(sample, item):\n    return 1.0")

SCORES: list[tuple[str, Json, Rollout, float]] = [
    ("eq", EQUAL, rollout("Paris", "Paris"), 1),
    ("eq is case-sensitive", EQUAL, rollout("paris", "Paris"), 0),
    ("eq counts spaces", EQUAL, rollout("Paris ", "Paris"), 0),
    ("eq without thoughts", EQUAL, rollout("<think>Rome?</think>\n\nParis", "Paris"), 1),
    ("ne", check(OUTPUT, REFERENCE, "ne"), rollout("Rome", "Paris"), 1),
    ("ne of equal", check(OUTPUT, REFERENCE, "ne"), rollout("Paris", "Paris"), 0),
    ("like", check(OUTPUT, REFERENCE, "like"), rollout("It is Paris.", "Paris"), 1),
    ("like is case-sensitive", check(OUTPUT, REFERENCE, "like"), rollout("It is PARIS.", "Paris"), 0),
    ("like is one-way", check(OUTPUT, REFERENCE, "like"), rollout("Par", "Paris"), 0),
    ("ilike", check(OUTPUT, REFERENCE, "ilike"), rollout("It is PARIS.", "Paris"), 1),
    ("a constant", check("{{item.label}}", "yes"), rollout("", label="yes"), 1),
    ("a nested field", check(OUTPUT, "{{item.a.city[0].name}}"), rollout("A", a={"city": [{"name": "A"}]}), 1),
    ("a quoted field", check(OUTPUT, "{{item['two words']}}"), rollout("A", **{"two words": "A"}), 1),
    ("a number", check("{{sample.output_json.n}}", "{{item.n}}"), rollout('{"n": 3}', n=3), 1),
    ("a boolean", check("{{sample.output_json.ok}}", "true"), rollout('{"ok": true}'), 1),
    ("an object", check("{{sample.output_json}}", "{{item.o}}"), rollout('{"a":[1]}', o={"a": [1]}), 1),
    ("no JSON", check("{{sample.output_json.n}}", "{{item.n}}", "ne"), rollout("three", n=3), 0),
    ("fenced JSON is none", check("{{sample.output_json.n}}", "{{item.n}}"), rollout("```json\n{}\n```", n=3), 0),
    ("the prompt", check(OUTPUT, "{{item.messages[0].content}}"), rollout("Question?"), 1),
    ("choices", check("{{sample.choices[0].message.content}}", "A"), rollout("A"), 1),
    ("tool calls", TOOLS, rollout("", tools=CALLED, smiles="CCO"), 1),
    ("tool calls, other arguments", TOOLS, rollout("", tools=CALLED, smiles="CCC"), 0.5),
    ("no tool call", TOOLS, rollout("text", smiles="CCO"), 0),
    ("fuzzy_match", similar("fuzzy_match"), rollout("PARIS France!", "paris france"), 1),
    ("fuzzy_match in part", similar("fuzzy_match"), BEAR, 0.7556),
    ("bleu of equal", similar("bleu"), rollout("the cat sat on the mat", "the cat sat on the mat"), 1),
    ("bleu in part", similar("bleu"), BEAR, 0.2136),
    ("gleu", similar("gleu"), BEAR, 0.2143),  # 3 of 14 n-grams
    ("rouge_1", similar("rouge_1"), BEAR, 0.4),  # 2 of 5 words
    ("rouge_2", similar("rouge_2"), BEAR, 0.25),  # 1 of 4 pairs
    ("rouge_3", similar("rouge_3"), rollout("a b c d", "a b c e"), 0.5),
    ("rouge_4", similar("rouge_4"), rollout("a b c d", "a b c e"), 0),
    ("rouge_5", similar("rouge_5"), rollout("a b c d e", "a b c d e"), 1),
    ("rouge_l", similar("rouge_l"), rollout("a x b y", "a b"), 0.6667),
    ("two fields", CONTACT, rollout(json.dumps(JOHN), **JOHN), 1),
    ("two fields, one wrong", CONTACT, rollout(json.dumps(JOHN), **(JOHN | {"email": "x"})), 0.5),
    ("two fields, a misspelling", CONTACT, rollout(json.dumps(JOHN), **(JOHN | {"name": "Jon Doe"})), 0.9667),
    ("python", CONSTANT, rollout(""), 1),
    ("python with a library", FUZZY, BEAR, 0.7556),
    ("python with imports and helpers", python("import math\ndef half(x): return x / 2\ndef grade(sample, item):\n"
     "    return half(len(sample['output_json'])) + math.floor(item['w']['x'])"), rollout("[1]", w={"x": 1.9}), 1.5),
    ("python with its keys", python("def grade(sample, item): return float(sorted(sample) == ['choices', 'output_json',"
     " 'output_text', 'output_tools'] and sorted(item) == ['messages', 'reference_answer'])"), rollout("", "x"), 1),
    ("a range", multi("(100 - abs(wanted - got)) / 100", wanted=python("def grade(s, i): return i['score']"),
     got=python("def grade(s, i): return int(s['output_text'])")), rollout("70", score=90), 0.8),
    ("functions", multi("min(a, 3, 2) + max(a) + floor(1.9) + ceil(0.1) + sqrt(4) + log(exp(1)) + abs(-a)", a=CONSTANT),
     rollout(""), 1 + 1 + 1 + 1 + 2 + 1 + 1),
    ("powers", multi("2 ^ 3 ^ 2 + -a ^ 2", a=CONSTANT), rollout(""), 511),
    ("a list of graders", {"type": "multi", "graders": [CONSTANT], "calculate_output": "code"}, rollout(""), 1),
    ("one grader", {"type": "multi", "graders": CONSTANT, "calculate_output": "code / 2"}, rollout(""), 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("grader", "given", "score"), [one[1:] for one in SCORES], ids=[one[0] for one in SCORES])
def test_scores(grader: Json, given: Rollout, score: float) -> None:
    reward = from_openai(grader)
    assert reward(given).value == pytest.approx(score, abs=1e-4)
    space: Json = {}
    exec(openai_source(grader), space)  # noqa: S102 - the SDK wrote it
    assert space["total"](given).value == pytest.approx(score, abs=1e-4)
    assert space["total"](given).parts == reward(given).parts


def test_kinds() -> None:
    assert len(SCORES) > 30
    assert repr(from_openai(EQUAL)) == "StringCheck(name='check')", "the templates are the defaults"
    assert isinstance(from_openai(similar("rouge_l")), Similarity)
    assert isinstance(from_openai(CONSTANT), PythonGrader)
    assert isinstance(from_openai(TOOLS), Formula)
    assert dict(from_openai(CONTACT)(rollout(json.dumps(JOHN), **JOHN)).parts) == {"name": 1.0, "email": 1.0}


def test_a_grader_is_found_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    method: Json = {"type": "reinforcement", "reinforcement": {"grader": CONTACT, "hyperparameters": {"n_epochs": 1}}}
    job: Json = {"id": "ftjob-1", "object": "fine_tuning.job", "model": "o4-mini", "method": method}
    path.write_text(json.dumps(job), encoding="utf-8")
    wanted = repr(from_openai(CONTACT))
    forms: list[object] = [
        job,
        path,
        str(path),
        json.dumps(job),
        {"grader": CONTACT, "model_sample": "", "item": {}},
        method,
        method["reinforcement"],
        fine_tuning.FineTuningJob.construct(**job),
        graders.MultiGrader.construct(**CONTACT),
    ]
    assert [repr(from_openai(form)) for form in forms] == [wanted] * len(forms)
    assert repr(from_openai(graders.StringCheckGrader(**EQUAL))) == repr(from_openai(EQUAL))


MODEL: Json = {
    "type": "score_model",
    "name": "graded",
    "input": [{"role": "user", "content": f"Reference: {REFERENCE}. Model answer: {OUTPUT}"}],
    "model": "o4-mini-2025-04-16",
}


@pytest.mark.parametrize(
    ("grader", "error"),
    [
        (similar("cosine"), "grader cannot be translated: the metric 'cosine' .*text-embedding-3-large; use rouge_l"),
        (similar("meteor"), "WordNet.*use rouge_l"),
        (similar("levenshtein"), "metric must be one of fuzzy_match, bleu"),
        (check(OUTPUT, REFERENCE, "neq"), "operation must be one of eq, ne, like, ilike"),
        (check("{{ sample.output_audio.transcript }}", "x"), "sample has output_text, output_json"),
        (check("{{ item.id }}", "x"), r"\{\{ item.id \}\} is not available.*rename the field"),
        (check("{{ item.metadata.x }}", "x"), "rename the field"),
        (check("{{ item.x | upper }}", "x"), "is not a variable"),
        (check("{{ env.HOME }}", "x"), "is not a variable"),
        (EQUAL | {"weight": 2}, "string_check has no field 'weight'"),
        ({"type": "string_check", "input": "x"}, "needs .*'operation', 'reference'"),
        ({"type": "regex"}, "its type 'regex' is unknown"),
        ({"type": "lambda", "lambda": {"function": "arn"}}, "Pass its ARN"),
        ({"model": "gpt-4o"}, "neither a type nor a method"),
        ({"method": {"type": "supervised"}}, "a job with the method 'supervised', so the value has no grader"),
        (python("def score(sample, item): return 1"), "no function grade"),
        (python("def grade(:"), "is not Python: line 1"),
        (multi("a + b", a=EQUAL), "has 'b', but the graders are a"),
        (multi("a)", a=EQUAL), "cannot be parsed"),
        (multi("__import__('os')", a=EQUAL), "has .* only numbers"),
        (multi("a.name", a=EQUAL), "only numbers"),
        (multi("a if a else 0", a=EQUAL), "only numbers"),
        (multi("sqrt(a, a)", a=EQUAL), "only numbers"),
        (multi("a", a=similar("cosine")), r"grader\.a cannot be translated"),
        (multi("check", a=EQUAL) | {"graders": [EQUAL, EQUAL]}, "two of its graders have the same name"),
        (MODEL, rf"its model 'o4-mini-2025-04-16' is not on Bedrock\. .*judge='{JUDGE}'\. Another model"),
        ("no-such-file.json", "cannot be read"),
        ("{", "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        (__file__ + "\0", "cannot be read"),
        (3, "it is of type int"),
    ],
)
def test_refusals_name_the_alternative(grader: Any, error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        from_openai(grader)


@pytest.mark.parametrize(
    ("changes", "judge", "error"),
    [
        ({"sampling_params": {"seed": 1}}, JUDGE, "sampling_params.seed is not available"),
        ({"sampling_params": {"reasoning_effort": "minimal"}}, JUDGE, "reasoning_effort 'minimal'.*low, medium, high"),
        ({"sampling_params": {"reasoning_effort": "low"}}, "amazon.nova-pro-v1:0", f"use judge='{JUDGE}'"),
        ({"input": [{"role": "user", "content": {"type": "input_image"}}]}, JUDGE, "'input_image'. Describe it"),
        ({"input": [{"role": "assistant", "content": "x"}]}, JUDGE, "must have the role 'user'"),
        ({"input": [{"role": "tool", "content": "x"}]}, JUDGE, "the roles of messages"),
        ({"range": [1, 0]}, JUDGE, "scale must be"),
        ({}, {"gpt-4o": JUDGE}, r"judge=\{'o4-mini-2025-04-16': …\}"),
        ({"type": "label_model", "labels": ["a"], "passing_labels": ["a"]}, JUDGE, "not all of them"),
    ],
)
def test_refusals_of_model_graders(changes: Json, judge: Any, error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        from_openai(MODEL | changes, judge=judge)


@pytest.fixture
def bedrock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-key-0123456789")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setattr(judging, "_clients", clients := dict[tuple[str | None, float], Any]())
    with runtime() as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", found.url)
        yield found
        for client in clients.values():
            client.close()


def test_score_model_sends_the_prompt_and_reads_the_result(bedrock: Runtime) -> None:
    reward = from_openai(
        MODEL
        | {
            "input": [
                {"role": "developer", "content": [{"type": "input_text", "text": "Be strict."}]},
                {"role": "user", "content": f"Reference: {REFERENCE}."},
                {"role": "user", "content": {"type": "output_text", "text": f"Model answer: {OUTPUT}"}},
            ],
            "range": [0, 100],
            "pass_threshold": 50,
            "sampling_params": {"max_completions_tokens": 999, "top_p": 1, "reasoning_effort": "low"},
        },
        judge={"o4-mini-2025-04-16": JUDGE},
    )
    assert isinstance(reward, ScoreModel)
    assert isinstance(reward, Judge)
    bedrock.answer = lambda _: (200, "", '{"steps": [{"description": "d", "conclusion": "c"}], "result": 70}')
    score = reward(rollout("0.9", 1.0))
    assert score.value == 70.0
    assert score.metrics["graded_input_tokens"] == 1000
    (asked,) = bedrock.asked
    assert asked["messages"] == [
        {"role": "user", "content": [{"text": "Reference: 1.0."}, {"text": "Model answer: 0.9"}]}
    ]
    assert asked["system"][0] == {"text": "Be strict."}
    assert '"result": a number from 0 to 100' in asked["system"][1]["text"]
    assert asked["inferenceConfig"] == {"maxTokens": 999, "topP": 1.0}
    assert asked["additionalModelRequestFields"] == {"reasoning_effort": "low"}
    assert reward.models == (JUDGE,)
    bedrock.answer = lambda _: (200, "", '{"result": 170}')
    assert reward(rollout("0.9", 1.0)).value == 100.0, "limited to the range"


def test_a_response_without_a_number_is_an_error(bedrock: Runtime) -> None:
    reward = from_openai(MODEL, judge=JUDGE)
    bedrock.answer = lambda _: (200, "", '{"result": "good"}')
    event = [{"id": "1", "messages": [{"role": "assistant", "content": "x"}], "reference_answer": "x"}]
    (result,) = Handler(reward)(event)
    assert result["aggregate_reward_score"] == 0
    assert result["metrics_list"][0] == {"name": "reward_error", "value": 1.0, "type": "Metric"}


def test_a_system_message_alone_is_sent_as_the_users(bedrock: Runtime) -> None:
    reward = from_openai(
        MODEL | {"input": [{"role": "system", "content": "Grade {{sample.output_json.x}}"}]}, judge=JUDGE
    )
    bedrock.answer = lambda _: (200, "", "0.25")
    assert reward(rollout('{"x": "this"}')).value == 0.25
    assert bedrock.asked[0]["messages"] == [{"role": "user", "content": [{"text": "Grade this"}]}]
    assert reward(rollout("no JSON")).value == 0
    assert len(bedrock.asked) == 1, "no call without the text to grade"


def test_label_model(bedrock: Runtime) -> None:
    labels = {"type": "label_model", "labels": ["good", "fair", "bad"], "passing_labels": ["good", "fair"]}
    reward = from_openai(MODEL | labels, judge=JUDGE)
    assert isinstance(reward, LabelModel)
    replies = iter(["fair", "bad", "awful"])
    bedrock.answer = lambda _: (200, "", json.dumps({"steps": [], "result": next(replies)}))
    assert [reward(rollout("a", "b")).value for _ in range(2)] == [1.0, 0.0]
    assert '"result": one of ["good", "fair", "bad"]' in bedrock.asked[0]["system"][0]["text"]
    with pytest.raises(judging.JudgeError, match="none of the labels"):
        reward(rollout("a", "b"))


def test_a_record_without_the_field_is_an_error() -> None:
    with pytest.raises(ValueError, match="there is no 'label'"):
        from_openai(check(OUTPUT, "{{item.label}}"))(rollout("x"))
    with pytest.raises(ValueError, match="there is no 'reference_answer'"):
        StringCheck()(rollout("x"))
    with pytest.raises(ValueError, match="not a number"):
        from_openai(python("def grade(s, i): return 'good'"))(rollout("x"))
    with pytest.raises(ValueError, match="has no value"):
        from_openai(multi("log(a)", a=check("x", "y")))(rollout("x"))
    assert math.isclose(from_openai(multi("a ^ 0.5", a=CONSTANT))(rollout("x")).value, 1)


def test_the_arguments_of_python_graders() -> None:
    sample, item = openai_inputs(rollout('<think>a</think>\n{"b": 1}', {"c": 2}, CALLED, d=3))
    assert sample["output_text"] == '{"b": 1}'
    assert sample["output_json"] == {"b": 1}
    assert sample["output_tools"] == CALLED
    assert sample["choices"][0]["message"] == {"role": "assistant", "content": '{"b": 1}', "tool_calls": CALLED}
    assert item == {"reference_answer": {"c": 2}, "d": 3, "messages": [{"role": "user", "content": "Question?"}]}
    assert openai_inputs(Rollout("r", ()))[0] == {
        "output_text": "",
        "output_json": None,
        "output_tools": [],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}}],
    }


def test_written_code_reads_well() -> None:
    written = openai_source(multi("0.5 * Name + code", Name=similar("fuzzy_match"), code=FUZZY))
    assert written.startswith('"""Reward translated from an OpenAI grader.\n\nIt needs these packages, here and in La')
    assert "from bedrock_rft.rewards import Formula, Rollout, Similarity, openai_inputs, reward\n" in written
    assert FUZZY["source"] in written
    assert (
        'name = Similarity(metric="fuzzy_match", name="Name"' in re.sub(r"\s+", " ", written) or "Similarity" in written
    )
    assert written.endswith("\nlambda_handler = total.handler\n")
    two = openai_source(multi("a + b", a=CONSTANT, b=python("def grade(sample, item):\n    return 2.0\n")))
    assert 'b = PythonGrader(\n    source="""def grade(sample, item):\n    return 2.0\n""",\n    name="b",\n)' in two


def test_a_translated_reward_is_packaged(tmp_path: Path) -> None:
    reward = from_openai(multi("a + 0.5 * b", a=EQUAL, b=CONSTANT))
    made = package(reward)
    assert made.requirements == ()
    given = [rollout("4", "4"), Rollout("r2", rollout("5").messages, "4")]
    assert [one.score for one in invoke(made, given).scores] == [1.5, 0.5]
    assert package(from_openai(MODEL, judge=JUDGE)).models == (JUDGE,)
    again = Formula("2 * n", {"n": Numeric()})
    assert again(rollout("4", 4)).value == 2
    assert from_openai(multi("a", a=similar("rouge_l"))).requirements[0] == "rouge-score"
    assert {"nltk", "numpy", "absl-py", "six"} <= set(from_openai(similar("rouge_l")).requirements)
    assert from_openai(FUZZY).requirements == ("rapidfuzz",)
    path = tmp_path / "reward.py"
    path.write_text(openai_source(multi("a + 0.5 * b", a=EQUAL, b=CONSTANT)), encoding="utf-8")
    assert package(f"{path}:lambda_handler").handler == "lambda_function.lambda_handler"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r"needs sacrebleu: pip install 'bedrock_rft\[similarity\]'"):
        from_openai(similar("bleu"))
