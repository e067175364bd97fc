"""Training in the local service: reading files, invoking rewards, and learning from the scores."""

from __future__ import annotations

import json
import math
import statistics
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.local._training.dataset import InvalidFileError, Record, prompt_key, read_records
from bedrock_rft.local._training.policy import (
    BASE_WEIGHTS,
    candidates,
    count_tokens,
    entropy,
    most_likely,
    sample_answers,
    softmax,
)
from bedrock_rft.local._training.reward import RewardFunction, SampledAnswer
from bedrock_rft.local._training.trainer import Trainer, _group_advantages

Row = dict[str, Any]


def row(number: int, **fields: Any) -> Row:
    return {
        "messages": [{"role": "user", "content": f"What is {number} plus 1?"}],
        "reference_answer": str(number + 1),
        **fields,
    }


def jsonl(rows: list[Row]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


def records(count: int = 100) -> list[Record]:
    return read_records([jsonl([row(number) for number in range(count)])], minimum=1)


def by_answer(judge: Callable[[str, str], float]) -> Callable[[Any, Any], Any]:
    def handler(event: Any, context: Any) -> Any:
        del context
        return [
            {
                "id": entry["id"],
                "aggregate_reward_score": judge(
                    entry["messages"][-1]["content"], entry["metadata"]["reference_answer"]
                ),
            }
            for entry in event
        ]

    return handler


def last_word_is_right(answer: str, reference: str) -> float:
    words = answer.strip(".}").replace("{", " ").split()
    return float(bool(words) and words[-1] == reference)


correct = by_answer(last_word_is_right)


def run(trainer: Trainer, first: int = 1, last: int | None = None) -> list[dict[str, float | int]]:
    return [trainer.step(number) for number in range(first, (last or trainer.total_steps) + 1)]


def mean(values: list[float | int]) -> float:
    return sum(values) / len(values)


# Training files


def test_a_valid_file_is_read_completely_from_chunks_of_any_size() -> None:
    content = jsonl([row(number, id=f"mine-{number}", level=number % 3) for number in range(100)])
    whole = read_records([content])
    assert [record.index for record in whole] == list(range(100))
    assert whole[7].extras == {"id": "mine-7", "level": 1}
    assert whole[7].reference_answer == "8"
    assert read_records([content[at : at + 7] for at in range(0, len(content), 7)]) == whole
    assert read_records([content.rstrip(b"\n")]) == whole
    assert read_records([content + b"\r\n\n"]) == whole
    assert read_records([content.replace(b"\n", b"\r\n")]) == whole


def test_a_missing_reference_is_not_null() -> None:
    bare = {"messages": row(1)["messages"]}
    missing, null = read_records([jsonl([bare, {**bare, "reference_answer": None}])], minimum=1)
    assert (missing.has_reference, null.has_reference) == (False, True)
    assert missing.reference_answer is None


def test_lines_end_at_newlines_only() -> None:
    text = "one\u2028two\u2029three\u0085four"
    content = json.dumps(row(0, note=text), ensure_ascii=False).encode() + b"\n"
    assert [record.extras["note"] for record in read_records([content * 100])] == [text] * 100


def test_content_may_be_text_parts_and_is_the_same_conversation() -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "3 plus 1?"}]
    (record,) = read_records([jsonl([row(0, messages=[{"role": "user", "content": parts}])])], minimum=1)
    assert record.prompt_key == prompt_key([{"role": "user", "content": " What is 3 plus 1?\n"}])
    assert record.prompt_key != prompt_key([{"role": "system", "content": "What is 3 plus 1?"}])
    assert prompt_key([{"role": "user", "content": None}, {"content": [7, {"text": 8}]}])


MESSAGE = {"role": "user", "content": "Hello"}
BAD_LINES: list[tuple[bytes, str]] = [
    (b"", "the line is empty"),
    (b"null", "null instead of an object"),
    (b'"text"', "a string instead"),
    (b"[]", "a list instead"),
    (b"7", "a number instead"),
    (b"{}", "messages: missing"),
    (b'{"mesages": []}', "the record has 'mesages'"),
    (b'{"messages": null}', "messages: null"),
    (b'{"messages": {}}', "messages: an object"),
    (b'{"messages": []}', "messages: the list is empty"),
    (b'{"messages": [7]}', "messages[0]: a number"),
    (b'{"messages": [{"content": "x"}]}', "messages[0].role: missing"),
    (b'{"messages": [{"role": "bot", "content": "x"}]}', "messages[0].role: unknown role 'bot'. Use system, user"),
    (b'{"messages": [{"role": null, "content": "x"}]}', "messages[0].role: null"),
    (b'{"messages": [{"role": [], "content": "x"}]}', "messages[0].role: a list"),
    (b'{"messages": [{"role": "user"}]}', "messages[0].content: missing"),
    (b'{"messages": [{"role": "user", "content": null}]}', "messages[0].content: null"),
    (b'{"messages": [{"role": "user", "content": []}]}', "messages[0].content: the list is empty"),
    (b'{"messages": [{"role": "user", "content": ["x"]}]}', "messages[0].content[0]: not a text part"),
    (b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "the service accepts only text"),
    (b'{"messages": [{"role": "system", "content": "x"}]}', "no message has the role 'user'"),
    (b"{'messages': []}", "not JSON"),
    (b'{"messages": [],}', "column 17"),
    (b"{} {}", "extra data after the object"),
    (b'{"a": NaN}', "NaN is not JSON"),
    (b'{"a": -Infinity}', "-Infinity is not JSON"),
    (b'{"messages": [{"role": "user", "content": "x"}], "a": 1e999}', "too large"),
    (b'{"a": ' + b"9" * 10_000 + b"}", "more digits"),
    (b"[" * 200_000, "nested too deeply"),
    (b'{"a": "\\ud800"}', "half of a surrogate pair"),
    (b'{"a": "\x01"}', "not JSON: a raw control character"),
    (b'{"a": "\xc0\xaf"}', "column 8: byte 0xc0 is not UTF-8"),
    (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    (b'{"messages": 1, "messages": 2}', "'messages' appears twice"),
    (b'{"messages": [{"role": "user", "role": "user", "content": ""}]}', "'role' appears twice"),
]


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_the_first_bad_line_is_named(line: bytes, message: str) -> None:
    lines = [json.dumps(row(number)).encode() for number in range(100)]
    lines[56] = line
    with pytest.raises(InvalidFileError) as caught:
        read_records([b"\n".join(lines)])
    assert "Line 57" in caught.value.message
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n\n", "no records"),
        (jsonl([row(0)] * 99), "99 records, at least 100"),
        (jsonl([row(0)] * 20_001), "20,001 records, at most 20,000"),
        (b"\xef\xbb\xbf" + jsonl([row(0)] * 100), "byte order mark"),
        (jsonl([row(0)] * 100).decode().encode("utf-16"), "UTF-16"),
        (json.dumps([row(0)] * 100).encode(), "JSON array"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04", "zip"),
        (b"PAR1\x15", "Parquet"),
    ],
    ids=["empty", "newlines", "few", "many", "bom", "utf-16", "array", "gzip", "zip", "parquet"],
)
def test_a_file_that_is_invalid_as_a_whole(content: bytes, message: str) -> None:
    with pytest.raises(InvalidFileError, match=message):
        read_records([content])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "messages", "type"]), inner),
    max_leaves=10,
)


@given(
    st.lists(
        st.binary() | st.sampled_from([line for line, _ in BAD_LINES]) | JSON.map(lambda v: json.dumps(v).encode())
    )
)
def test_any_bytes_are_read_or_refused(chunks: list[bytes]) -> None:
    try:
        read_records(chunks, minimum=1)
    except InvalidFileError as verdict:
        assert verdict.message.endswith(".")  # noqa: PT017 - either outcome is fine; a third one is not


# Rewards


def rollouts(count: int = 3) -> list[SampledAnswer]:
    return [SampledAnswer(f"r{number}", record, f"#### {number + 1}") for number, record in enumerate(records(count))]


def test_scores_come_back_in_order_and_in_batches() -> None:
    sizes: list[int] = []

    def handler(event: Any, context: Any) -> Any:
        sizes.append(len(event))
        assert 0 < context.get_remaining_time_in_millis() <= 300_000
        assert context.aws_request_id
        assert context.invoked_function_arn.endswith(context.function_name)
        assert context.memory_limit_in_mb == 512
        return [
            {
                "id": entry["id"],
                "aggregate_reward_score": Decimal(entry["id"][1:]) / 10,
                "metrics_list": [{"name": "size", "value": len(event), "type": "Metric"}],
                "note": "extra keys are tolerated",
            }
            for entry in reversed(event)
        ]

    reward = RewardFunction(handler, invocation_size=2)
    assert reward.score(rollouts(5)) == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert sizes == [2, 2, 1]
    assert reward.score([]) == []


@pytest.mark.parametrize(
    ("payload", "wrap_text", "expected"),
    [
        ("metadata", False, {"metadata": {"id": "mine", "level": 3, "reference_answer": "1"}}),
        ("metadata", True, {"metadata": {"id": "mine", "level": 3, "reference_answer": {"text": "1"}}}),
        ("top_level", False, {"level": 3, "reference_answer": "1"}),
        ("top_level", True, {"level": 3, "reference_answer": {"text": "1"}}),
    ],
)
def test_the_event_has_the_shape_that_was_chosen(payload: Any, wrap_text: bool, expected: Row) -> None:
    seen: list[Any] = []

    def handler(event: Any, _: Any) -> Any:
        seen.extend(json.loads(json.dumps(event)))
        event[0]["messages"].clear()
        return [{"id": "local-1", "aggregate_reward_score": 1}]

    (record,) = read_records([jsonl([row(0, id="mine", level=3)])], minimum=1)
    RewardFunction(handler, payload=payload, wrap_text=wrap_text).score([SampledAnswer("local-1", record, "it is 1")])
    messages = [*record.messages, {"role": "assistant", "content": "it is 1"}]
    assert seen == [{"id": "local-1", "messages": messages, **expected}]
    assert len(record.messages) == 1, "the handler has a copy"


def test_a_missing_reference_is_not_sent() -> None:
    seen: list[Any] = []

    def handler(event: Any, _: Any) -> Any:
        seen.extend(event)
        return [{"id": "a", "aggregate_reward_score": 1}]

    RewardFunction(handler).score([SampledAnswer("a", Record(0, [MESSAGE], None, {}, has_reference=False), "")])
    assert seen[0]["metadata"] == {}


def item(number: int, score: object = 0.5, **fields: object) -> Row:
    return {"id": f"r{number}", "aggregate_reward_score": score, **fields}


GOOD = [item(0), item(1), item(2)]


async def later() -> object:
    return GOOD


def cycle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: None, "forget its return"),
        (lambda: {"statusCode": 200, "body": "[]"}, "{statusCode, body} envelope"),
        (lambda: {"body": "[]"}, "envelope"),
        (lambda: item(0), "one object, not a list"),
        (lambda: json.dumps(GOOD), "without json.dumps"),
        (lambda: b"[]", "returned text"),
        (lambda: (each for each in GOOD), "generator"),
        (lambda: iter(GOOD), "generator"),
        (later, "coroutine"),
        (lambda: 0.5, "returned float, not a list"),
        (set[str], "returned set, not a list"),
        (lambda: [0.5, 0.5, 0.5], "a number as item 0, not an object"),
        (lambda: [{"aggregate_reward_score": 1}], "item 0 without an id"),
        (lambda: [item(0), item(7)], "unknown id 'r7'"),
        (lambda: [{"id": 0, "aggregate_reward_score": 1}], "unknown id 0"),
        (lambda: [{"id": ["r0"], "aggregate_reward_score": 1}], "unknown id"),
        (lambda: [*GOOD, item(1)], "'r1' twice"),
        (lambda: GOOD[:1], r"left out 2 of 3 rollouts \(r1, r2\)"),
        (list[Row], "left out 3 of 3"),
        (lambda: [{"id": "r0"}, *GOOD[1:]], "no aggregate_reward_score"),
        (lambda: [{"id": "r0", "score": 1}, *GOOD[1:]], "rename 'score' to 'aggregate_reward_score'"),
        (lambda: [{"id": "r0", "reward": 1}, *GOOD[1:]], "rename 'reward' to 'aggregate_reward_score'"),
        (lambda: [item(0, math.nan), *GOOD[1:]], "the score nan"),
        (lambda: [item(0, math.inf), *GOOD[1:]], "the score inf"),
        (lambda: [item(0, Decimal("NaN")), *GOOD[1:]], "the score nan"),
        (lambda: [item(0, True), *GOOD[1:]], "a boolean as aggregate_reward_score"),
        (lambda: [item(0, "1.0"), *GOOD[1:]], "text as aggregate_reward_score"),
        (lambda: [item(0, [1.0]), *GOOD[1:]], "a list as aggregate_reward_score"),
        (lambda: [item(0, None), *GOOD[1:]], "null as aggregate_reward_score"),
        (lambda: [item(0, 1e300), *GOOD[1:]], "beyond 1e"),
        (lambda: [item(0, 10**400), *GOOD[1:]], "beyond 1e"),
        (lambda: [item(0, object()), *GOOD[1:]], "cannot be sent as JSON"),
        (lambda: [item(0, note={1, 2}), *GOOD[1:]], "cannot be sent as JSON: set"),
        (cycle, "cannot be sent as JSON"),
        (lambda: [item(0, note="x" * 7_000_000), *GOOD[1:]], "6.7 MB; Lambda sends at most 6 MB"),
        (lambda: [item(0, metrics_list={}), *GOOD[1:]], "an object in metrics_list of rollout"),
        (lambda: [item(0, metrics_list=[{"name": "x"}]), *GOOD[1:]], "a malformed metric for rollout"),
    ],
)
def test_invalid_results_are_named(answer: Callable[[], object], message: str) -> None:
    with pytest.raises(RewardError, match=message):
        RewardFunction(lambda _event, _context: answer()).score(rollouts())


def test_the_error_names_the_rollout() -> None:
    with pytest.raises(RewardError) as caught:
        RewardFunction(lambda _event, _context: [item(0), item(1, math.nan), item(2)]).score(rollouts())
    assert caught.value.rollout == "r1"


class _Unprintable(Exception):  # noqa: N818 - it only exists to be raised
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("ground_truth"), "raised KeyError: 'ground_truth'"),
        (SystemExit(3), "raised SystemExit: 3"),
        (KeyboardInterrupt(), r"raised KeyboardInterrupt \(test_local_training.py, line \d+\)\."),
        (_Unprintable(), "raised _Unprintable"),
    ],
)
def test_a_handler_that_raises_is_the_cause(error: BaseException, message: str) -> None:
    def handler(event: Any, context: Any) -> Any:
        del event, context
        raise error

    with pytest.raises(RewardError, match=message) as caught:
        RewardFunction(handler).score(rollouts())
    assert caught.value.__cause__ is error


def test_a_handler_that_hangs_is_abandoned() -> None:
    done = threading.Event()
    try:
        with pytest.raises(RewardError, match=r"within 0\.05 seconds"):
            RewardFunction(lambda _event, _context: done.wait(10), timeout=0.05).score(rollouts())
    finally:
        done.set()


def test_an_edited_handler_file_is_loaded_again(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_reward.py").write_text("SCORE = 0.25\n")
    file = tmp_path / "reward.py"
    source = (
        "from dataclasses import dataclass\n"
        "import neighbour_of_reward\n\n"
        "@dataclass\nclass Fixed:\n    score: 'float' = neighbour_of_reward.SCORE\n\n"
        "def handler(event, context):\n"
        "    from neighbour_of_reward import SCORE\n"
        "    return [{'id': each['id'], 'aggregate_reward_score': Fixed(SCORE).score + 0.00} for each in event]\n"
    )
    file.write_text(source)
    path = sys.path.copy()
    with closing(RewardFunction(f"{file}:handler")) as reward:
        assert reward.score(rollouts()) == [0.25] * 3
    file.write_text(source.replace("0.00", "0.50"))
    with closing(RewardFunction(f"{file}:handler")) as reward:
        assert reward.score(rollouts()) == [0.75] * 3
    assert sys.path == path
    assert not list(tmp_path.glob("__pycache__/reward.*")), "nothing is left beside the user's file"


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        ("reward.py", "neither 'path/to/file.py:name'"),
        ("reward:handler", "neither 'path/to/file.py:name'"),
        ("reward.py:", "neither 'path/to/file.py:name'"),
        ("reward.py:7", "neither 'path/to/file.py:name'"),
        ("missing.py:handler", "no file 'missing.py'"),
        ("nul\0.py:handler", "cannot be read|no file"),
        ("x" * 5000 + ".py:handler", "cannot be read|no file"),
        ("reward.py:missing", "has no attribute 'missing'"),
        ("reward.py:number", "number: it is int, not a function"),
        ("reward.py:later", "async"),
        ("broken.py:handler", "cannot be loaded: SyntaxError"),
        ("exits.py:handler", "cannot be loaded: SystemExit"),
        (7, "is int, not a function"),
        (later, "async"),
    ],
)
def test_a_handler_that_cannot_be_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handler: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reward.py").write_text("number = 7\nasync def later(event, context): return []\n")
    Path("broken.py").write_text("def handler(:\n")
    Path("exits.py").write_text("raise SystemExit(1)\n")
    with pytest.raises(ConfigurationError, match=message):
        RewardFunction(handler)


@pytest.mark.parametrize(
    "setting", [{"payload": "flat"}, {"invocation_size": 0}, {"timeout": 0}, {"timeout": 901}, {"timeout": math.nan}]
)
def test_invalid_reward_settings_are_refused(setting: Row) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        RewardFunction(correct, **setting)


# The candidates and the policy


def candidate_texts(reference: object, **extras: Any) -> dict[str, str]:
    fields = {"reference_answer": reference, **extras}
    rows = [row(0, **fields), *(row(number) for number in range(50, 60))]
    return {each.style: each.text for each in candidates(read_records([jsonl(rows)], minimum=1), 0)}


def test_candidates_are_right_and_wrong_answers_in_several_forms() -> None:
    texts = candidate_texts("72")
    assert list(texts) == [style for style in BASE_WEIGHTS if not style.endswith("gold")]
    assert texts["right verbatim"] == "72"
    assert texts["right sentence"] == "The answer is 72."
    assert texts["right hashes"] == "#### 72"
    assert texts["right boxed"] == "\\boxed{72}"
    assert texts["right reasoned"].endswith("\n72")
    assert texts["empty"] == ""
    assert count_tokens(texts["rambling"]) > 100
    assert all("72" not in text for style, text in texts.items() if not style.startswith("right"))


@pytest.mark.parametrize(
    ("reference", "verbatim", "final"),
    [
        ("48/2 = 24 clips in May.\n48+24 = 72 altogether.\n#### 72", None, "72"),
        ("So the area is as follows: \\boxed{x^2}", None, "x^2"),
        ("After a good deal of counting the farmer finds 1,234 eggs", None, "1,234"),
        ("A long line of text without a number in it\nyes", None, "yes"),
        ({"text": "72"}, "72", "72"),
        ({"answer": 72, "tolerance": 1}, '{"answer": 72, "tolerance": 1}', "72"),
        ({"plan": ["a", "b"]}, '{"plan": ["a", "b"]}', '{"plan": ["a", "b"]}'),
        (72, "72", "72"),
        (True, "true", "true"),
        ("#### ", "####", "####"),
    ],
)
def test_the_final_answer_of_a_reference(reference: object, verbatim: str | None, final: str) -> None:
    texts = candidate_texts(reference)
    assert texts["right verbatim"] == (reference if verbatim is None else verbatim)
    assert texts["right hashes"] == f"#### {final}"


def test_without_a_reference_another_field_may_hold_the_answer() -> None:
    assert candidate_texts(None, ground_truth="72")["right verbatim"] == "72"
    assert not any(style.startswith("right") for style in candidate_texts(None))
    alone = Record(0, [MESSAGE], None, {}, has_reference=False)
    assert [each.style for each in candidates([alone], 0)] == ["empty", "truncated", "rambling"]


@given(st.lists(JSON, min_size=1, max_size=4))
def test_any_reference_has_candidates_and_they_are_always_the_same(references: list[Any]) -> None:
    rows = [Record(index, [MESSAGE], reference, {}) for index, reference in enumerate(references)]
    for index in range(len(rows)):
        options = candidates(rows, index)
        assert options == candidates(rows, index)
        assert len({each.style for each in options}) == len(options)
        assert {each.style for each in options} <= set(BASE_WEIGHTS)


@given(st.lists(st.floats(-120, 120), min_size=1, max_size=20), st.floats(1e-300, 1e300, allow_nan=False))
def test_a_softmax_is_a_distribution_at_any_temperature(logits: list[float], temperature: float) -> None:
    shares = softmax(logits, temperature)
    assert math.isclose(sum(shares), 1)
    assert all(share >= 0 for share in shares)
    assert -1e-9 <= entropy(shares) <= math.log(len(shares)) + 1e-9
    assert logits[most_likely(logits)] == max(logits)


def test_the_untuned_model_is_right_in_about_a_third() -> None:
    message = [sample_answers(None, records(), index, n=20, seed=index) for index in range(100)]
    share = mean([last_word_is_right(text, str(index + 1)) for index, texts in enumerate(message) for text in texts])
    assert 0.2 < share < 0.5


# Training


def test_a_reward_for_correct_answers_is_learned_and_generalises() -> None:
    rows = records(360)
    trainer = Trainer(rows[:300], RewardFunction(correct), validation=rows[300:], seed=3)
    before = trainer.validate()["validation_rewards_mean"]
    steps = run(trainer)
    rewards = [step["critic_rewards_mean"] for step in steps]
    assert trainer.total_steps == len(steps) == 75
    assert 0.1 < mean(rewards[:5]) < 0.6
    assert mean(rewards[-10:]) > mean(rewards[:5]) + 0.3
    assert steps[-1]["validation_rewards_mean"] > before + 0.2
    assert 5 <= sum("validation_rewards_mean" in step for step in steps) <= 12
    assert steps[-1]["actor_entropy"] < steps[0]["actor_entropy"]
    assert all(abs(step["critic_advantages_mean"]) < 1e-9 for step in steps)
    assert all(math.isfinite(value) for step in steps for value in step.values())
    (likeliest,) = sample_answers(trainer.state(), rows[:300], 0, temperature=0)
    assert last_word_is_right(likeliest, "1")


def test_a_reward_for_short_answers_is_hacked() -> None:
    trainer = Trainer(records(300), RewardFunction(by_answer(lambda answer, _: 1 / (1 + len(answer)))), seed=1)
    lengths = [step["response_length_mean"] for step in run(trainer)]
    assert mean(lengths[-5:]) < mean(lengths[:5]) / 4


@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_a_reward_without_signal_is_a_flat_line(level: float) -> None:
    trainer = Trainer(records(), RewardFunction(by_answer(lambda _answer, _reference: level)))
    policy = json.loads(trainer.state())
    steps = run(trainer)
    assert {step["critic_rewards_mean"] for step in steps} == {level}
    assert {step["actor_grad_norm"] for step in steps} == {0.0}
    assert {step["critic_advantages_mean"] for step in steps} == {0.0}
    assert json.loads(trainer.state()) == {**policy, "step": trainer.total_steps}


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.integers(1, 14), st.integers(1, 7), st.sampled_from([0.1, 1.0, 1e300]))
def test_a_restored_run_continues_as_an_uninterrupted_one(seed: int, killed: int, batch: int, rate: float) -> None:
    def fresh() -> Trainer:
        rows = records(12)
        return Trainer(
            rows,
            RewardFunction(correct),
            validation=rows[:5],
            n_epochs=10,
            batch_size=batch,
            learning_rate_multiplier=rate,
            group_size=4,
            seed=seed,
        )

    unbroken, first, second = fresh(), fresh(), fresh()
    expected = run(unbroken, 1, 15)
    before = run(first, 1, killed)
    second.restore(first.state())
    assert second.done == killed
    assert before + run(second, killed + 1, 15) == expected
    assert second.state() == unbroken.state()


def test_every_record_is_seen_once_an_epoch() -> None:
    seen: list[str] = []

    def handler(event: Any, _: Any) -> Any:
        seen.extend(entry["metadata"]["reference_answer"] for entry in event)
        return [{"id": entry["id"], "aggregate_reward_score": 0} for entry in event]

    trainer = Trainer(records(10), RewardFunction(handler), n_epochs=2, batch_size=4, group_size=3)
    run(trainer)
    assert trainer.total_steps == 6
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert sorted(first) == sorted(second) == sorted([str(number + 1) for number in range(10)] * 3)
    assert first != second


def test_a_reward_that_fails_leaves_the_policy_where_it_was() -> None:
    calls: list[int] = []

    def handler(event: Any, context: Any) -> Any:
        calls.append(1)
        return correct(event, context) if len(calls) < 4 else None

    trainer = Trainer(records(), RewardFunction(handler))
    trainer.step(1)
    state = trainer.state()
    with pytest.raises(RewardError, match="returned None"):
        trainer.step(2)
    assert trainer.state() == state


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="group_size is 1"):
        Trainer(records(), RewardFunction(correct), group_size=1)


def test_answers_can_be_repeated_and_follow_what_was_learned() -> None:
    rows = records()
    trainer = Trainer(rows, RewardFunction(correct), n_epochs=4)
    run(trainer)
    state = trainer.state()
    assert sample_answers(state, rows, 5, n=4, seed=1) == sample_answers(state, rows, 5, n=4, seed=1)
    assert len(sample_answers(state, rows, 5, n=4)) == 4
    assert len(set(sample_answers(state, rows, 5, n=4, temperature=0))) == 1
    message = sample_answers(state, rows, 5, n=200, seed=2)
    assert mean([last_word_is_right(text, "6") for text in message]) > 0.9
    hot = sample_answers(state, rows, 5, n=200, temperature=100, seed=2)
    assert len(set(hot)) > len(set(message))


def test_tokens_are_words_and_marks() -> None:
    assert count_tokens("") == 0
    assert count_tokens("The answer is 72.") == 5


@pytest.mark.parametrize("scores", [[0.0, 1.0], [0.0, 0.0, 1.0, 1.0, 0.5], [1e-6, 0.0], [3.0] * 7 + [4.0]])
def test_advantages_use_the_sample_deviation_as_trl_does(scores: list[float]) -> None:
    expected = [(score - statistics.mean(scores)) / (statistics.stdev(scores) + 1e-4) for score in scores]
    assert _group_advantages(scores) == pytest.approx(expected)
    assert _group_advantages([0.1] * 3) == [0.0] * 3


def test_one_seed_draws_independently_for_each_prompt() -> None:
    found = records()
    first = [sample_answers(None, found, index, seed=5)[0] for index in range(len(found))]
    assert first == [sample_answers(None, found, index, seed=5)[0] for index in range(len(found))]
    styles = [
        next(option.style for option in candidates(found, index) if option.text == text)
        for index, text in enumerate(first)
    ]
    assert len(set(styles)) > 5
