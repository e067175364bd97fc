"""`rewards.score` and `rewards.invoke`: exact order, errors and resumption on every kind of target and executor."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support.lambda_server import ARN, FakeLambda
from support.pool_rewards import careful, fragile

from bedrock_rft import rewards
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards import (
    Exact,
    Formula,
    Handler,
    Matches,
    PythonGrader,
    Rollout,
    ScoredAnswer,
    Similarity,
    package,
    reward,
)


def rows(count: int, **extra: Any) -> Iterator[dict[str, Any]]:
    for number in range(count):
        messages = [{"role": "user", "content": f"Question {number}"}]
        yield {"messages": messages, "reference_answer": str(number % 7), "answer": str(number % 5), **extra}


def expected(count: int) -> list[float]:
    return [float(number % 7 == number % 5) for number in range(count)]


def values(found: Iterator[ScoredAnswer]) -> list[float | None]:
    listed = list(found)
    assert [one.index for one in listed] == list(range(len(listed)))
    assert [one.id for one in listed] == [f"row-{number + 1}" for number in range(len(listed))]
    return [one.score for one in listed]


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as made:
        yield made


def test_results_are_in_order_on_every_executor(pool: Executor) -> None:
    assert values(rewards.score(careful, rows(300))) == expected(300)
    assert values(rewards.score(careful, rows(1000), executor=pool)) == expected(1000)
    assert values(rewards.score(0.5 * Exact() + 0.5 * careful, rows(300), executor=pool, batch_size=7)) == expected(300)
    with ThreadPoolExecutor(4) as threads:
        assert values(rewards.score(careful, rows(300), executor=threads, batch_size=1)) == expected(300)


def test_results_are_in_order_on_a_dask_cluster(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    (tmp_path / "mine.py").write_text(
        "def f(event, context):\n"
        "    wanted = [one['metadata']['reference_answer'] for one in event]\n"
        "    answers = [one['messages'][-1]['content'] for one in event]\n"
        "    scores = [float(answer == right) for answer, right in zip(answers, wanted)]\n"
        "    return [{'id': one['id'], 'aggregate_reward_score': score} for one, score in zip(event, scores)]\n"
    )
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        assert values(rewards.score(Exact(), rows(400), executor=executor, batch_size=20)) == expected(400)
        found = rewards.score(f"{tmp_path / 'mine.py'}:f", rows(100), executor=executor, batch_size=10)
        assert values(found) == expected(100)


def test_a_call_resumes_exactly_after_a_worker_was_killed(tmp_path: Path, pool: Executor) -> None:
    count, flag, stored = 600, tmp_path / "flag", tmp_path / "scores.jsonl"

    def deadly() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows(count)):
            row["flag"] = str(flag) if number == 400 else ""
            row["answer"] = "raise" if number in (100, 500) else row["answer"]
            yield row

    first: list[ScoredAnswer] = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as broken:
        with pytest.raises(RewardError, match=r"A worker process ended.*with resume= it continues") as raised:
            first.extend(rewards.score(careful, deadly(), executor=broken, resume=stored, batch_size=8))
        assert raised.value.code == "died"
    assert flag.exists()
    lines = stored.read_bytes().splitlines(keepends=True)
    assert 1 < len(lines) < count
    stored.write_bytes(b"".join(lines) + lines[-1][:20])  # the process ended within a line
    again = list(rewards.score(careful, deadly(), executor=pool, resume=stored))
    wanted = expected(count)
    wanted[100] = wanted[500] = 0.0
    assert [one.score for one in again] == wanted
    assert [one.index for one in again if one.parts["reward_error"]] == [100, 500]
    assert [one.index for one in again if one.error] == [100, 500]
    assert [json.loads(line)["index"] for line in stored.read_bytes().splitlines()[1:]] == list(range(count))
    assert list(rewards.score(careful, deadly(), resume=stored)) == again, "all from the file"


def test_a_file_of_other_scores_is_refused(tmp_path: Path) -> None:
    stored = tmp_path / "scores.jsonl"
    list(rewards.score(Exact(), rows(10), resume=stored))
    before = stored.read_bytes()
    with pytest.raises(ConfigurationError, match="scores of another reward"):
        list(rewards.score(Exact(ignore_case=False), rows(10), resume=stored))
    with pytest.raises(ConfigurationError, match="another row at position 0"):
        list(rewards.score(Exact(), reversed(list(rows(10))), resume=stored))
    assert stored.read_bytes() == before
    assert len(list(rewards.score(Exact(), rows(15), resume=stored))) == 15
    assert len(stored.read_bytes().splitlines()) == 16
    header = before.splitlines()[0].decode()
    for line in ("5", "[1]", "null"):
        stored.write_text(f"{header}\n{line}\n")
        with pytest.raises(ConfigurationError, match="was not written by score"):
            list(rewards.score(Exact(), rows(1), resume=stored))
    stored.write_text("[" * 100_000 + "\n")
    with pytest.raises(ConfigurationError, match="was not written by score"):
        list(rewards.score(Exact(), rows(1), resume=stored))
    stored.write_text("not JSON\n")
    with pytest.raises(ConfigurationError, match="was not written by score"):
        list(rewards.score(Exact(), rows(1), resume=stored))
    with pytest.raises(ConfigurationError, match="cannot use"):
        list(rewards.score(Exact(), rows(1), resume=tmp_path / "no" / "folder"))


def test_one_bad_answer_does_not_cost_its_batch_the_scores(pool: Executor) -> None:
    given = [{"messages": [{"role": "user", "content": "?"}], "answer": answer} for answer in ("2", "0", "4", "x")]
    for executor in (None, pool):
        found = list(rewards.score(fragile, given, executor=executor))
        assert [one.score for one in found] == [0.5, None, 0.25, None]
        assert "ZeroDivisionError" in str(found[1].error)
        assert "ValueError" in str(found[3].error)
        assert found[0].error is None


def test_a_reward_that_cannot_score_at_all_raises(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("import no_such_module\n")
    with pytest.raises(RewardError, match="cannot be loaded"):
        list(rewards.score(f"{tmp_path / 'bad.py'}:f", rows(3)))


def test_files_packages_and_lambda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from bedrock_rft.rewards import Exact\nlambda_handler = Exact().handler\n")
    assert values(rewards.score(f"{path}:lambda_handler", rows(100))) == expected(100)
    made = package(Exact())
    assert values(rewards.score(made, rows(100))) == expected(100)
    made.write(tmp_path / "mine.zip")
    assert values(rewards.score(tmp_path / "mine.zip", rows(100))) == expected(100)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE000000000001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret")
    with FakeLambda(Exact().handler) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        assert values(rewards.score(ARN, rows(100))) == expected(100)
        assert server.done["answered"] == 7, "batches of 16"
        done = rewards.invoke(ARN, rows(2))
        assert [one.score for one in done.scores] == expected(2)


def test_rows_are_read_as_results_are_used() -> None:
    read: list[int] = []
    counts: list[int] = []

    def counted() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows(1000)):
            read.append(number)
            yield row

    found = rewards.score(Exact(), counted(), batch_size=10, progress=counts.append)
    assert read == []
    for _ in range(25):
        next(found)
    assert len(read) <= 31
    assert counts == [10, 20]
    found.close()  # type: ignore[attr-defined] # a generator


def test_progress_is_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert values(rewards.score(Exact(), rows(64), progress=True))
    assert capsys.readouterr().err == "", "it is no terminal"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert values(rewards.score(Exact(), list(rows(130)), progress=True)) == expected(130)
    assert "0/130 [" in capsys.readouterr().err
    assert values(rewards.score(Exact(), rows(64), progress=True)) == expected(64)
    assert "scored: 0it [" in capsys.readouterr().err, "the number of rows is unknown"


def test_rows_in_every_form(tmp_path: Path) -> None:
    record: dict[str, Any] = {"id": "a", "messages": [{"role": "user", "content": "2 + 2?"}], "reference_answer": "4"}
    answer: dict[str, Any] = {"role": "assistant", "content": "4"}
    forms: list[Any] = [
        {**record, "answer": "4"},
        {**record, "answer": answer},
        (record, "4"),
        Rollout("a", (*record["messages"], answer), "4"),
        {"id": "a", "messages": [*record["messages"], answer], "metadata": {"reference_answer": "4"}},
        {"id": "a", "messages": [*record["messages"], answer], "reference_answer": {"text": "4"}},
    ]
    assert [(one.id, one.score) for one in rewards.score(Exact(), forms)] == [("a", 1.0)] * len(forms)
    (tmp_path / "answers.jsonl").write_text(json.dumps(forms[0]) + "\n")
    assert [one.score for one in rewards.score(Exact(), tmp_path / "answers.jsonl")] == [1.0]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ([{"messages": [{"role": "user", "content": "?"}]}], "Row 1 has no answer"),
        ([{"answer": "4"}], "Row 1 has no messages"),
        (["4"], "Row 1 has the type str"),
        ([()], "Row 1 has the type NoneType"),
        (4, "rows has the type int"),
    ],
)
def test_rows_without_an_answer_are_refused(given: Any, error: str) -> None:
    with pytest.raises(ConfigurationError, match=error):
        list(rewards.score(Exact(), given))


def test_settings_are_checked_before_the_first_row() -> None:
    with pytest.raises(ConfigurationError, match="batch_size is 0"):
        rewards.score(Exact(), [], batch_size=0)
    with pytest.raises(ConfigurationError, match="There is no file"):
        rewards.score("nowhere.py:f", [])


def test_a_reward_that_cannot_be_pickled_is_refused(pool: Executor) -> None:
    @reward
    def inner(_: Rollout) -> float:
        return 1.0

    assert copy.deepcopy(0.5 * inner)(Rollout.of("?", "a")).value == 0.5, "copying needs no pickle"
    assert copy.copy(inner) is inner
    with pytest.raises(ConfigurationError, match=r"cannot be sent to other processes.*file\.py:name"):
        rewards.score(inner, rows(1), executor=pool)


def test_rewards_can_be_pickled() -> None:
    source = "def grade(sample, item):\n    return 0.5"
    for one in (careful, careful.named("other"), Matches("a"), PythonGrader(source), Similarity("rouge_l")):
        one(Rollout.of("?", "a", "a"))  # fills caches
        again = pickle.loads(pickle.dumps(one))  # noqa: S301 - made here
        assert repr(again) == repr(one)
        assert again(Rollout.of("?", "a", "a")) == one(Rollout.of("?", "a", "a"))
    total = pickle.loads(pickle.dumps(Handler(Formula("2 * a", {"a": Exact()}).clip())))  # noqa: S301 - made here
    assert total.reward(Rollout.of("?", "a", "a")).value == 1


def test_invoke_returns_the_raw_response_and_the_scores(tmp_path: Path) -> None:
    rollout = Rollout.of("2 + 2?", "4", reference="4")
    done = rewards.invoke(Exact(), [rollout, ({"messages": []}, "5")])
    assert done.error is None
    assert [(one.id, one.score, one.metrics) for one in done.scores] == [
        ("rollout", 1.0, {"exact": 1.0, "reward_error": 0.0}),
        ("row-2", 0.0, {"exact": 0.0, "reward_error": 0.0}),
    ]
    assert done.response == Exact().handler(done.event)
    assert json.loads(done.to_json(tmp_path / "done.json"))["scores"][0]["score"] == 1.0
    assert len(repr(done)) < 200
    assert rewards.invoke(Exact(), {"messages": [], "answer": "x"}).scores[0].id == "row-1"


def test_invoke_returns_the_error_of_the_reward() -> None:
    def bare(event: Any, _: Any) -> Any:
        print("seen", len(event))  # noqa: T201 - captured
        return {"statusCode": 200, "body": "[]"}

    done = rewards.invoke(bare, [Rollout.of("?", "4")])
    assert done.response == {"statusCode": 200, "body": "[]"}
    assert done.scores == ()
    assert done.printed == "seen 1\n"
    with pytest.raises(RewardError, match="envelope of an HTTP endpoint"):
        done.raise_for_error()
    assert json.loads(done.to_json())["error"]["code"] == "envelope"
    raised = rewards.invoke(fragile, [Rollout.of("?", "0")])
    assert raised.response is None
    assert "ZeroDivisionError" in str(raised.error)


def test_the_error_says_why_an_answer_got_the_floor(tmp_path: Path) -> None:
    file = tmp_path / "crash.py"
    lines = (
        "from bedrock_rft.rewards import reward",
        "@reward",
        "def crash(rollout):",
        "    return rollout.reference['b']",
    )
    file.write_text("\n".join(lines))
    row: Any = ({"messages": [], "reference_answer": {"a": 1}}, "a")
    (found,) = rewards.score(f"{file}:crash", [row])
    assert (found.score, found.error) == (0.0, "KeyError: 'b' (crash.py, line 4)")
