"""The user's own reward, asked as the service asks it: batches of rollouts in, one score for each out.

What the service does with an answer it cannot use is not known, so here every such answer is an error that says what is
wrong with it: a rehearsal is the place to find out.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, NoReturn, cast

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.local._dataset import Record
from bedrock_rft.local._handler import Entry, invoke, load

__all__ = ["Reward", "Rollout"]

_LARGEST_ANSWER = 6 * 1024 * 1024  # Lambda's quota for what a function returns
_LONGEST = 900  # seconds; Lambda's own limit
_LARGEST_SCORE = 1e9  # the convention is 0 to 1; beyond this it is an accident, and its square no longer a number
_SCORE = "aggregate_reward_score"
_MEANT = ("score", "reward", "aggregate_score", "reward_score", "aggregateRewardScore", "value")
_SHAPE = f'[{{"id": …, "{_SCORE}": 0.0 to 1.0}}, …]'


@dataclass(frozen=True)
class Rollout:
    """One answer to one prompt.

    Attributes:
        id: the name under which the reward scores it; unique within a call of `Reward.score`.
        record: the prompt, with the reference answer and whatever else its line holds.
        answer: what the model said.
    """

    id: str
    record: Record
    answer: str


class Reward:
    """A Lambda entry point as a reward.

    Attributes:
        last_metrics: the mean of each named value in the `metrics_list` of the last call of `score`.
    """

    def __init__(
        self,
        handler: Entry | str,
        *,
        payload: Literal["metadata", "top_level"] = "metadata",
        wrap_text: bool = False,
        invocation_size: int = 16,
        timeout: float = 300.0,
    ) -> None:
        """Find the handler.

        Args:
            handler: a function of (event, context), or `path/to/file.py:handler_name`.
            payload: where the reference answer and further fields stand: under `metadata`, as documented, or beside
                `messages`, as AWS's sample reads them.
            wrap_text: send a reference answer that is a string as `{"text": …}`, as AWS's sample reads it.
            invocation_size: rollouts per call; the service's own number is not known.
            timeout: seconds a call may take, at most 900.

        Raises:
            ConfigurationError: there is no such handler, or a setting makes no sense.
        """
        if payload not in ("metadata", "top_level"):
            raise ConfigurationError(f"payload is '{payload}'; it must be 'metadata' or 'top_level'.")
        if invocation_size < 1:
            raise ConfigurationError(f"invocation_size is {invocation_size}; it must be at least 1.")
        if not 0 < timeout <= _LONGEST:
            raise ConfigurationError(f"timeout is {timeout}; Lambda allows more than 0 and at most {_LONGEST} seconds.")
        self.last_metrics: dict[str, float] = {}
        self._entry = load(handler)
        self._nested = payload == "metadata"
        self._wrap_text = wrap_text
        self._size = invocation_size
        self._timeout = timeout

    def score(self, rollouts: Sequence[Rollout]) -> list[float]:
        """Score rollouts, in their order.

        Raises:
            RewardError: the handler raised, took too long, or answered something that is not a score for each.
        """
        scores: list[float] = []
        seen: dict[str, list[float]] = {}
        for start in range(0, len(rollouts), self._size):
            batch = rollouts[start : start + self._size]
            event = [self._entry_of(rollout) for rollout in batch]
            result = _delivered(invoke(self._entry, event, timeout=self._timeout))
            items = _by_id(result, [rollout.id for rollout in batch])
            scores += [_score(items[rollout.id], rollout.id) for rollout in batch]
            for rollout in batch:
                for name, value in _metrics(items[rollout.id], rollout.id):
                    seen.setdefault(name, []).append(value)
        self.last_metrics = {name: sum(values) / len(values) for name, values in seen.items()}
        return scores

    def _entry_of(self, rollout: Rollout) -> dict[str, Any]:
        record = rollout.record
        fields = dict(record.extras)
        if record.has_reference:
            text = self._wrap_text and isinstance(record.reference_answer, str)
            fields["reference_answer"] = {"text": record.reference_answer} if text else record.reference_answer
        messages = [*record.messages, {"role": "assistant", "content": rollout.answer}]
        own = {"id": rollout.id, "messages": messages}
        # The service's own fields win: a user's `id` is not the rollout's.
        return {**own, "metadata": fields} if self._nested else {**fields, **own}


def _delivered(result: object) -> list[Any]:
    """What arrives of an answer: Lambda sends it as JSON."""
    _check_kind(result)
    try:
        text = json.dumps(result, ensure_ascii=False, default=_decimal)
        value = cast("list[Any]", json.loads(text))
    except (TypeError, ValueError, RecursionError) as error:
        raise RewardError(
            f"The reward handler's answer cannot be sent as JSON: {error}. Convert scores with float(…), drop the rest."
        ) from error
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > _LARGEST_ANSWER:
        raise RewardError(
            f"The reward handler's answer is {size / 1024 / 1024:.1f} MB; Lambda sends at most 6 MB. Return less text."
        )
    return value


def _decimal(value: object) -> float:
    # Lambda's own runtime does this one conversion.
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _check_kind(result: object) -> None:
    if isinstance(result, (list, tuple)):
        return
    if result is None:
        _fail("returned None: did it forget its return statement?")
    if isinstance(result, Mapping):
        if "statusCode" in result or "body" in result:
            _fail("returned the {statusCode, body} envelope of an HTTP endpoint; here the plain list is the answer")
        _fail("returned one object, not a list; even a single rollout is answered with a list")
    if isinstance(result, (str, bytes)):
        _fail("returned text; return the list itself, without json.dumps")
    if inspect.iscoroutine(result) or inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        _fail("returned a coroutine, which Lambda does not await; make it an ordinary function")
    if inspect.isgenerator(result) or inspect.isasyncgen(result) or hasattr(result, "__next__"):
        _fail("returned a generator; return a list: with yield there is nothing to send")
    _fail(f"returned {type(result).__name__}, not a list")


def _by_id(result: list[Any], ids: list[str]) -> dict[str, dict[str, Any]]:
    wanted, items = set(ids), dict[str, dict[str, Any]]()
    for place, value in enumerate(result):
        if not isinstance(value, dict):
            _fail(f"returned {_named(value)} as item {place}, not an object with id and {_SCORE}")
        item = cast("dict[str, Any]", value)
        if "id" not in item:
            _fail(f"returned item {place} without an id; copy it from the rollout")
        name = item["id"]
        if not isinstance(name, str) or name not in wanted:
            _fail(f"returned the unknown id {name!r:.80} in item {place}; copy each rollout's id as it is")
        if name in items:
            _fail(f"returned the id {name!r} twice; answer each rollout once", name)
        items[name] = item
    missing = [name for name in ids if name not in items]
    if missing:
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")  # noqa: PLR2004 - as many as were shown
        _fail(f"left out {len(missing)} of {len(ids)} rollouts ({shown}); answer every id", missing[0])
    return items


def _score(item: dict[str, Any], rollout: str) -> float:
    if _SCORE not in item:
        meant = next((name for name in _MEANT if name in item), None)
        hint = f"; it has '{meant}': rename it to '{_SCORE}'" if meant else ""
        _fail(f"gave rollout {rollout} no {_SCORE}{hint}", rollout)
    value = item[_SCORE]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _fail(f"gave rollout {rollout} {_named(value)} as {_SCORE}, not a number; convert it with float(…)", rollout)
    if isinstance(value, float) and not math.isfinite(value):
        _fail(f"gave rollout {rollout} the score {value}; guard against dividing by zero and empty means", rollout)
    if abs(value) > _LARGEST_SCORE:
        _fail(f"gave rollout {rollout} a score beyond {_LARGEST_SCORE:g}; keep scores between 0 and 1", rollout)
    return float(value)


def _metrics(item: dict[str, Any], rollout: str) -> list[tuple[str, float]]:
    """The named values of one item; those that are no finite numbers are left out, since they decide nothing."""
    listed = item.get("metrics_list")
    if listed is None:
        return []
    if not isinstance(listed, list):
        _fail(f"gave rollout {rollout} {_named(item['metrics_list'])} as metrics_list, not a list", rollout)
    found: list[tuple[str, float]] = []
    for entry in cast("list[Any]", item["metrics_list"]):
        metric = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        name, value = metric.get("name"), metric.get("value")
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, (int, float)):
            _fail(f'gave rollout {rollout} a metric that is not {{"name": text, "value": number, "type": …}}', rollout)
        if abs(value) <= _LARGEST_SCORE:
            found.append((name, float(value)))
    return found


def _named(value: object) -> str:
    names: dict[type, str] = {str: "text", bool: "a boolean", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def _fail(what: str, rollout: str | None = None) -> NoReturn:
    raise RewardError(f"The reward handler {what}. It must return {_SHAPE}.", rollout=rollout)
