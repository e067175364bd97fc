"""Parse the response of a reward handler: return a score for each rollout, or raise an error with the reason.

How the service treats a malformed response is not documented, so every malformed response is an error here.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._targets.subprocess_worker import convert_decimal

MAX_RESPONSE_BYTES = 6 * 1024 * 1024
"""Lambda's quota for an event and for a response."""

_MAX_SCORE = 1e9  # by convention scores are 0 to 1; a larger score is a mistake, and may overflow
_SCORE = "aggregate_reward_score"
_MISNOMERS = ("score", "reward", "aggregate_score", "reward_score", "aggregateRewardScore", "value")
_SHAPE = f'[{{"id": …, "{_SCORE}": 0.0 to 1.0}}, …]'


@dataclass(frozen=True)
class ScoredRollout:
    """The handler's result for one rollout, with the values of its `metrics_list` by name."""

    id: str
    score: float
    metrics: Mapping[str, float]


def parse_scores(result: Sequence[Any], ids: Sequence[str]) -> list[ScoredRollout]:
    """Return the scores of a parsed response, in the order of `ids`."""
    items = _index_by_id(result, ids)
    return [ScoredRollout(name, _score(items[name], name), dict(_metrics(items[name], name))) for name in ids]


def parse_response(result: object) -> list[Any]:
    """Return a handler's result as JSON would transport it. Raise `RewardError` if Lambda could not send it."""
    _check_type(result)
    try:
        text = json.dumps(result, ensure_ascii=False, default=convert_decimal)
        value = cast("list[Any]", json.loads(text))
        size = len(text.encode())  # a lone surrogate would end the process in Lambda
    except (TypeError, ValueError, RecursionError) as error:
        raise RewardError(
            f"The reward handler's result cannot be sent as JSON: {error}. Convert scores with float(…) and leave out "
            "other objects.",
            code="not_json",
        ) from error
    if size > MAX_RESPONSE_BYTES:
        raise RewardError(
            f"The reward handler's result has {size / 1024**2:.1f} MB; Lambda sends at most 6 MB. Return less text.",
            code="too_large",
        )
    return value


def _check_type(result: object) -> None:
    if isinstance(result, (list, tuple)):
        return
    if result is None:
        _fail("returned_none", "returned None (did it forget its return statement?)")
    if isinstance(result, Mapping):
        if "statusCode" in result or "body" in result:
            _fail("envelope", "returned the {statusCode, body} envelope of an HTTP endpoint; return the plain list")
        _fail("one_object", "returned one object, not a list; return a list even for a single rollout")
    if isinstance(result, (str, bytes)):
        _fail("text", "returned text; return the list itself, without json.dumps")
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        _fail("coroutine", "returned a coroutine, which Lambda does not await; use def instead of async def")
    if hasattr(result, "__next__") or hasattr(result, "__anext__"):
        _fail("generator", "returned a generator, which Lambda cannot send; return a list")
    _fail("not_a_list", f"returned {type(result).__name__}, not a list")


def _index_by_id(result: Sequence[Any], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    wanted, items = set(ids), dict[str, dict[str, Any]]()
    for place, value in enumerate(result):
        if not is_object(value):
            fault = f"returned {_type_name(value)} as item {place}, not an object with id and {_SCORE}"
            _fail("item_not_object", fault)
        if "id" not in value:
            _fail("id_missing", f"returned item {place} without an id; copy the id from the rollout")
        name = value["id"]
        if not isinstance(name, str) or name not in wanted:
            fault = f"returned the unknown id {name!r:.40} in item {place}; copy each rollout's id unchanged"
            _fail("id_unknown", fault)
        if name in items:
            _fail("id_twice", f"returned the id {name!r:.40} twice; return one result for each rollout", name)
        items[name] = value
    missing = [name for name in ids if name not in items]
    if missing:
        shown = ", ".join(f"{name:.40}" for name in missing[:3]) + (", …" if len(missing) > 3 else "")  # noqa: PLR2004 - as many as were shown
        _fail("ids_missing", f"left out {len(missing)} of {len(ids)} rollouts ({shown}); score every id", missing[0])
    return items


def _score(item: dict[str, Any], rollout: str) -> float:
    if _SCORE not in item:
        misnomer = next((name for name in _MISNOMERS if name in item), None)
        hint = f"; rename '{misnomer}' to '{_SCORE}'" if misnomer else ""
        _fail_rollout("score_missing", f"no {_SCORE} for", rollout, hint)
    value = item[_SCORE]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        name = _type_name(value)
        _fail_rollout(
            "score_not_number", f"{name} as {_SCORE} of", rollout, "; it must be a number: convert it with float(…)"
        )
    if isinstance(value, float) and not math.isfinite(value):
        advice = "; guard against dividing by zero and empty means"
        _fail_rollout("score_not_finite", f"the score {value} for", rollout, advice)
    if abs(value) > _MAX_SCORE:
        advice = "; keep scores between 0 and 1"
        _fail_rollout("score_too_large", f"a score beyond {_MAX_SCORE:g} for", rollout, advice)
    return float(value)


def _metrics(item: dict[str, Any], rollout: str) -> list[tuple[str, float]]:
    """Return the named values of one item, without those that are too large to be meaningful."""
    listed: Any = [] if item.get("metrics_list") is None else item["metrics_list"]
    if not is_array(listed):
        _fail_rollout("metrics_not_list", f"{_type_name(listed)} in metrics_list of", rollout, "; it must be a list")
    found: list[tuple[str, float]] = []
    for entry in listed:
        metric = entry if is_object(entry) else {}
        name, value = metric.get("name"), metric.get("value")
        if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, (int, float)):
            shape = '; each metric must be {"name": text, "value": number, "type": …}'
            _fail_rollout("metric_misshapen", "a malformed metric for", rollout, shape)
        if not math.isfinite(value):
            _fail_rollout("metric_not_finite", f"the value {value} for the metric {name} of", rollout)
        if abs(value) <= _MAX_SCORE:
            found.append((name, float(value)))
    return found


def _fail_rollout(code: str, value: str, rollout: str, advice: str = "") -> NoReturn:
    _fail(code, f"returned {value} rollout {rollout:.40}{advice}", rollout)


def _type_name(value: object) -> str:
    names: dict[type, str] = {str: "text", bool: "a boolean", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), "a number")


def _fail(code: str, fault: str, rollout: str | None = None) -> NoReturn:
    raise RewardError(f"The reward handler {fault}. It must return {_SHAPE}.", rollout=rollout, code=code)
