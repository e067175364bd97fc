"""What the trial of a reward means for a run, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import Any, cast

from bedrock_rft._core.findings import Finding
from bedrock_rft.rewards._checking.probes import Probe, Shape
from bedrock_rft.rewards._checking.report import Scores
from bedrock_rft.rewards._checking.trial import Trial
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

__all__ = ["of_errors", "of_prints", "of_scores", "of_shapes", "of_speed"]

_SAME = 1e-9
_HIGH = 0.95
_SHOWN = 5
_MARGIN = 0.1
_READS_ALL = "Rollout.read finds it wherever it is; or look in both places, and unwrap {'text': …}"


def of_errors(trial: Trial) -> list[Finding]:
    """What the handler answered instead of scores, each kind once."""
    found: list[Finding] = []
    for trouble in trial.errors.values():
        error, sent = trouble.error, len(trial.batches)
        if error.code == "reordered":
            found.append(Finding("ok", error.code, error.message, "they are matched by id, so nothing is lost"))
            continue
        culprit = trial.culprit(trouble)
        often = f"it happened in {trouble.count} of {sent} invocations" if sent > 1 else "it happened at once"
        told = f", for one with {_answer_to(trial, culprit)}" if culprit is not None else ""
        found.append(Finding("error", error.code, error.message, often + told))
    return found


def _answer_to(trial: Trial, probe: Probe) -> str:
    return f"the '{probe.kind}' answer to {trial.rows[probe.record]}"


def of_shapes(means: Mapping[Shape, tuple[float, float] | None]) -> list[Finding]:
    """Whether right answers are told from wrong ones in every shape the service may send.

    Args:
        means: of right and of wrong answers in each shape; None where there was nothing that can be read.
    """
    works = {shape for shape, pair in means.items() if pair is not None and pair[0] > pair[1] + _SAME}
    if not works or len(works) == len(means):
        return []
    found = [
        Finding("error", code, f"{said}, {_fate(means, broken)}", why, _READS_ALL)
        for code, said, why, broken in _HALVES
        if any(shape in means for shape in broken) and not works & broken
    ]
    if found:
        return found
    rest = {shape for shape in means if shape not in works}
    said = f"In the shape '{' and '.join(sorted(rest))}', {_fate(means, rest)}"
    return [Finding("error", "shape", said, "either may be what is sent", _READS_ALL)]


_PLAIN: set[Shape] = {"metadata", "top level"}
_WRAPPED: set[Shape] = {"metadata, wrapped", "top level, wrapped"}
_NESTED: set[Shape] = {"metadata", "metadata, wrapped"}
_TOP: set[Shape] = {"top level", "top level, wrapped"}
_HALVES = (
    (
        "reads_text_only",
        "The reward reads only reference_answer['text']: when the service sends plain strings",
        "AWS's documentation shows plain strings, and its GSM8K sample reads wrapped ones",
        _PLAIN,
    ),
    (
        "reads_plain_only",
        "The reward does not unwrap {'text': …}: when the service wraps a string so",
        "AWS's own sample reads references that way",
        _WRAPPED,
    ),
    (
        "reads_top_level_only",
        "The reward reads only a top-level reference_answer: when it comes under metadata",
        "AWS documents metadata, and its sample reads the top level",
        _NESTED,
    ),
    (
        "reads_metadata_only",
        "The reward reads only metadata['reference_answer']: when it comes at the top level",
        "AWS documents metadata, and its sample reads the top level",
        _TOP,
    ),
)


def _fate(means: Mapping[Shape, tuple[float, float] | None], broken: Collection[str]) -> str:
    known = [pair for shape in broken if (pair := means.get(cast("Shape", shape))) is not None]
    return f"every perfect answer scores {fmean(pair[0] for pair in known):g}" if known else "there is no score at all"


def of_scores(
    scores: Mapping[str, Scores], pairs: Sequence[tuple[Probe, float, float | None]], rows: Sequence[str]
) -> list[Finding]:
    """What the scores of right, wrong and odd answers say.

    Args:
        scores: by kind of answer.
        pairs: right answers with their scores, and the scores of wrong answers to the same records.
        rows: what the user knows each record by.
    """
    found: list[Finding] = []
    least = min((one.least for one in scores.values()), default=0.0)
    greatest = max((one.greatest for one in scores.values()), default=0.0)
    if least < -_SAME or greatest > 1 + _SAME:
        found.append(
            Finding(
                "warning",
                "out_of_range",
                f"Scores go from {least:g} to {greatest:g}",
                "by convention they lie from 0 to 1; whether the service takes others is not documented",
                "Use .clip(), or divide by the greatest",
            )
        )
    if greatest - least <= _SAME:
        if abs(greatest) <= _SAME:
            what, code = "Every answer scores 0, right ones among them", "always_zero"
        else:
            what, code = f"Every answer scores {greatest:g}", "all_equal"
        mend = "Look at what the reward reads: the reference answer, the last message"
        return [*found, Finding("error", code, what, "a reward that cannot tell answers apart teaches nothing", mend)]
    right, wrong = scores.get("right"), scores.get("wrong")
    if right is None:
        found.append(
            Finding("unknown", "no_reference", "The records have no reference answer, so none is known to be right")
        )
        return found
    if wrong is None:
        found.append(Finding("unknown", "no_wrong", "All records have the same reference answer, so none is wrong"))
    rivals = [(kind, one) for kind, one in scores.items() if kind != "right" and one.mean > right.mean + _SAME]
    if wrong is not None and wrong.mean >= right.mean - _SAME:
        found.append(
            Finding(
                "error",
                "right_not_best",
                f"Right answers score {right.mean:.3f} on average, wrong ones {wrong.mean:.3f}",
                "a run would learn to be wrong, or nothing",
                "Check what the reward compares, and in which form it wants the answer; gold= can spell it",
            )
        )
    elif rivals:
        kind, one = max(rivals, key=lambda rival: rival[1].mean)
        found.append(
            Finding(
                "error",
                "rival_scores_higher",
                f"Answers that are '{kind}' score {one.mean:.3f} on average, right ones {right.mean:.3f}",
                "a run learns whatever scores highest",
                "Let being right count for more than anything else",
            )
        )
    if wrong is not None and wrong.mean > _HIGH:
        found.append(
            Finding(
                "error",
                "wrong_passes",
                f"Wrong answers score {wrong.mean:.3f} on average already",
                "there is nothing left to learn",
                "Make the reward look at the answer",
            )
        )
    found += _ties(pairs, right, rows)
    found += _tricks(scores, right)
    return found


def _ties(pairs: Sequence[tuple[Probe, float, float | None]], right: Scores, rows: Sequence[str]) -> list[Finding]:
    tied = [probe.record for probe, good, bad in pairs if bad is not None and good <= bad + _SAME]
    known = sum(bad is not None for _, _, bad in pairs)
    if not tied or len(tied) == known:
        return []
    shown = ", ".join([*(rows[place] for place in tied[:_SHOWN]), *(["…"] if len(tied) > _SHOWN else [])])
    return [
        Finding(
            "warning",
            "some_not_told_apart",
            f"For {len(tied)} of {known} records the right answer scores no higher than a wrong one",
            f"these teach nothing ({shown}; right ones score {right.mean:.3f} on average)",
            "Look at their references",
        )
    ]


def _tricks(scores: Mapping[str, Scores], right: Scores) -> list[Finding]:
    found: list[Finding] = []
    wrong = scores.get("wrong")
    asking = scores.get("wrong, asking for a high score")
    if wrong and asking and asking.mean > wrong.mean + _MARGIN:
        found.append(
            Finding(
                "error",
                "injection",
                f"Wrong answers that ask for a high score get {asking.mean:.3f} instead of {wrong.mean:.3f}",
                "a model under training finds that out",
                "Give the answer to a judge as data, or take only what the answer ends in",
            )
        )
    guessing = scores.get("many guesses, the last wrong")
    if wrong and guessing and guessing.mean >= wrong.mean + (right.mean - wrong.mean) / 2:
        found.append(
            Finding(
                "warning",
                "guessing",
                f"A list of many guesses, the last one wrong, scores {guessing.mean:.3f}",
                "a model can learn to list answers instead of finding one",
                "Take one final answer, the last",
            )
        )
    empty = scores.get("empty")
    if empty and empty.mean >= right.mean - _SAME:
        found.append(
            Finding(
                "error",
                "empty_scores",
                f"Empty answers score {empty.mean:.3f}, as much as right ones",
                "a run would learn to say nothing",
                "Score an empty answer lowest",
            )
        )
    return found


def of_speed(trial: Trial) -> list[Finding]:
    """Whether invocations stay within what Lambda allows."""
    slowest = max((batch.outcome.seconds for batch in trial.batches), default=0.0)
    timeout = trial.target.timeout
    if slowest <= timeout / 2:
        return []
    return [
        Finding(
            "warning",
            "slow",
            f"An invocation took {slowest:.1f} s of the {timeout:g} s the function may take",
            "how many rollouts the service sends at once is not documented",
            "Raise the function's timeout (900 s at most), or make the reward faster or async",
        )
    ]


def of_prints(trial: Trial, records: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether the function writes users' data into its log, and whether rollouts got the floor."""
    found: list[Finding] = []
    said = "\n".join(batch.outcome.printed for batch in trial.batches)
    asked = [_asked(record) for record in records]
    if any(len(text) > 20 and text[:200] in said for text in asked):  # noqa: PLR2004 - shorter text may be anything
        found.append(
            Finding(
                "warning",
                "prints_event",
                "The function prints what it is sent",
                "prompts and answers end up in its log, and slow it down",
                "Remove the print",
            )
        )
    told = [
        (probe, verdict.metrics.get(ERROR_METRIC, 0.0))
        for batch in trial.batches
        for probe, verdict in zip(batch.probes, batch.verdicts, strict=False)
    ]
    usual = [(probe, value) for probe, value in told if probe.kind in ("right", "wrong", "empty", "off the point")]
    if usual and (share := fmean(value for _, value in usual)) > 0:
        first = _answer_to(trial, next(probe for probe, value in usual if value > 0))
        found.append(
            Finding(
                "error",
                "reward_errors",
                f"The reward raised for {share:.0%} of ordinary answers, which then got the floor",
                f"the handler keeps the batch, but a run would learn from made-up scores{_first(said)}",
                f"Call the reward itself on one of them to see why, such as {first}",
            )
        )
    return found


def _first(said: str) -> str:
    """What the handler logged of the first error."""
    found = re.search(r"rollouts got the floor; (?:the first|first error): (.{1,200})", said)
    return f" (the first: {found.group(1).strip()})" if found else ""


def _asked(record: Mapping[str, Any]) -> str:
    turns: list[Any] = list(record.get("messages") or ())
    content = turns[-1].get("content") if turns and hasattr(turns[-1], "get") else None
    return content if isinstance(content, str) else ""
