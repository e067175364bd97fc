"""Findings of a reward check: consequences of the scores for a training run, and remedies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, cast

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.rewards._checking.answer_forms import AnswerForm
from bedrock_rft.rewards._checking.probes import DOCUMENTED_SHAPES, AnswerKey, PayloadShape, Probe
from bedrock_rft.rewards._checking.report import SAME, Scores, ShapeMeans, pair_scores
from bedrock_rft.rewards._checking.trial import BATCH, Trial
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC, LOG_ERROR_METRIC
from bedrock_rft.rewards._runtime.scoring import OUT_OF_TIME

_HIGH = 0.95
_MAX_LISTED = 5
_MARGIN = 0.1
_MARKER_SHARE = 0.25
_GOLD_SHARE, _FORM_SHARE = 0.75, 0.5
"""Shares of the range: the best right answer should reach the first if `gold` wrote it, and otherwise the second."""
_ROUNDING = 1e-6
_MANY_LATE = 0.1
_MAX_ERROR = 300
"""Characters of the text of an exception."""
_FLOOR_LOG = re.compile(r"rollouts got the floor; first error: (.{1,200})")
_READ_ALL_SHAPES = "Use Rollout.read, which reads every shape; or look in both places, and unwrap {'text': …}"
_NONSENSE_KINDS = ("empty", "off the point", "hostile", "long nonsense")
_ORDINARY_KINDS = ("right", "wrong", "empty", "off the point")
_LONG_KINDS = {"wrong, after long thoughts": "long thoughts", "wrong, after long text": "long text"}
_GUESSES = {
    "many guesses, the last wrong": "A list of many guesses, the last one wrong,",
    "many guesses in one answer": "A list of many guesses in place of the answer",
    "many guesses in a JSON list": "A JSON list of many guesses in place of the answer",
    "wrong, the right one named": "A wrong answer after a sentence that names the right one",
    "wrong, after the right one": "A wrong answer after the right one, both in the same form,",
    "right and wrong in one line": "A right and a wrong answer in one line",
}


def error_findings(trial: Trial) -> Iterator[Finding]:
    """Yield a finding for each kind of error, unless it occurred only in shapes that `shape_findings` reports."""
    working, sent = trial.working_shapes(), len(trial.batches)
    for group in list(trial.errors.values()):
        error = group.error
        if error.code == "reordered":
            yield Finding("ok", error.code, error.message, "results are matched by id, so nothing is lost")
            continue
        if working & DOCUMENTED_SHAPES and not group.shapes & working:
            continue
        culprit = trial.find_culprit(group)
        reason = f"this happened in {group.count} of {sent} invocations" if sent > 1 else "the first invocation failed"
        if culprit is not None:
            reason += f", for one with {_describe_probe(trial, culprit)}"
        yield Finding("error", error.code, error.message, reason)


def _describe_probe(trial: Trial, probe: Probe) -> str:
    return f"the '{probe.kind}' answer to {trial.rows[probe.record]}"


_FORMS = "AWS's documentation shows plain strings, and its GSM8K sample reads wrapped ones"
_PLACES = "AWS documents metadata, and its sample reads the top level"
_PLAIN: set[PayloadShape] = {"metadata", "top level"}
_WRAPPED: set[PayloadShape] = {"metadata, wrapped", "top level, wrapped"}
_METADATA: set[PayloadShape] = {"metadata", "metadata, wrapped"}
_TOP: set[PayloadShape] = {"top level", "top level, wrapped"}
_SHAPE_RULES = (
    ("reads_text_only", "reads only reference_answer['text']: if the service sends plain strings", _FORMS, _PLAIN),
    ("reads_plain_only", "does not unwrap {'text': …}: if the service wraps a string", _FORMS, _WRAPPED),
    ("reads_top_level_only", "reads only a top-level reference_answer: if it comes under metadata", _PLACES, _METADATA),
    ("reads_metadata_only", "reads only metadata['reference_answer']: if it comes at the top level", _PLACES, _TOP),
)
"""The code, the first half of the summary, the reason, and the shapes that the reward does not read."""


def shape_findings(trial: Trial, means: ShapeMeans) -> list[Finding]:
    """Return findings for payload shapes that the reward cannot read: warnings if a documented shape works."""
    works = {shape for shape, pair in means.items() if pair is not None and pair[0] > pair[1] + SAME}
    if not works or len(works) == len(means):
        return []
    level: Severity = "warning" if works & DOCUMENTED_SHAPES else "error"
    findings = [
        Finding(level, code, f"The reward {text}, {_shape_result(trial, means, broken)}", reason, _READ_ALL_SHAPES)
        for code, text, reason, broken in _SHAPE_RULES
        if any(shape in means for shape in broken) and not works & broken
    ]
    if findings:
        return findings
    rest = {shape for shape in means if shape not in works}
    text = f"In the shape '{' and '.join(sorted(rest))}', {_shape_result(trial, means, rest)}"
    return [Finding(level, "shape", text, "the service may send any of these shapes", _READ_ALL_SHAPES)]


def _shape_result(trial: Trial, means: ShapeMeans, broken: Collection[str]) -> str:
    known = [pair for shape in broken if (pair := means.get(cast("PayloadShape", shape))) is not None]
    if known:
        return f"every perfect answer scores {fmean(pair[0] for pair in known):g}"
    causes = [group.error.cause for group in trial.errors.values() if group.shapes & {*broken} and group.error.cause]
    return f"the handler raises {causes[0]}" if causes else "there is no score at all"


def no_right_answer_finding(
    forms: Sequence[AnswerForm], *, has_references: bool, only_score: float | None = None
) -> Finding:
    """Return the finding that no right answer could be built. `only_score` is the score of all answers, if equal."""
    if not has_references and not forms:
        summary = "The records have no reference answer, so no answer is known to be right"
        reason = "right answers cannot be compared with wrong ones"
        remedy = "Pass gold=, a function that returns the right answer to a record"
        return Finding("unknown", "no_reference", summary, reason, remedy)
    layouts = ", ".join(dict.fromkeys(form.layout for form in forms))
    sources = ", ".join(dict.fromkeys(form.source for form in forms))
    scope = "that scores higher than a wrong one" if only_score is None else f"(every answer scored {only_score:g})"
    reason = f"the reward may be right and expect another form; tried: {sources}; each {layouts}"
    remedy = "Pass gold=, a function that takes a record and returns an answer that should get the full score"
    return Finding("unknown", "no_right_answer", f"Could not build a right answer {scope}; pass gold=…", reason, remedy)


def score_findings(
    scores: Mapping[str, Scores], reward_range: tuple[float, float], *, noise: float, can_build: bool
) -> Iterator[Finding]:
    """Yield findings about the scores of right, wrong and odd answers, judged by the reward's range."""
    low, high = observed_range(scores, reward_range)
    if low < reward_range[0] - SAME or high > reward_range[1] + SAME:
        yield _range_finding(scores, reward_range)
    if not can_build:
        yield from _nonsense_findings(scores, (low + high) / 2)
        return
    right, wrong = scores.get("right"), scores.get("wrong")
    if right is None:
        return
    if wrong is None:
        yield Finding(
            "unknown", "no_wrong", "All records have the same right answer, so no answer is known to be wrong"
        )
    else:
        yield from _order_findings(scores, right, wrong, noise, low + _HIGH * (high - low))
    empty = scores.get("empty")
    if empty and empty.mean >= right.mean - SAME:
        summary = f"Empty answers score {empty.mean:.3f}, as much as right answers"
        reason = "a run would learn to answer nothing"
        remedy = "Give empty answers the lowest score"
        yield Finding("error", "empty_scores", summary, reason, remedy)
    if wrong is not None:
        yield from _trick_findings(scores, right, wrong, noise, _MARGIN * (high - low))


def observed_range(scores: Mapping[str, Scores], reward_range: tuple[float, float]) -> tuple[float, float]:
    """Return the reward's range, extended to the scores outside it."""
    low, high = reward_range
    kinds = scores.values()
    return min([low, *(kind.least for kind in kinds)]), max([high, *(kind.greatest for kind in kinds)])


def _range_finding(scores: Mapping[str, Scores], reward_range: tuple[float, float]) -> Finding:
    least, greatest = min(kind.least for kind in scores.values()), max(kind.greatest for kind in scores.values())
    summary, remedy = (
        f"Scores range from {least:g} to {greatest:g}",
        "Use .clip(), divide by the greatest score, or pass the scale as reward_range=",
    )
    if reward_range == (0.0, 1.0):
        reason = "by convention scores are 0 to 1; whether the service accepts others is not documented"
    else:
        reason = f"reward_range= is {reward_range[0]:g} to {reward_range[1]:g}"
        remedy = "Pass the reward's lowest and highest score as reward_range="
    return Finding("warning", "out_of_range", summary, reason, remedy)


def _order_findings(
    scores: Mapping[str, Scores], right: Scores, wrong: Scores, noise: float, high: float
) -> Iterator[Finding]:
    """Compare the means of right, wrong and other answers. Wrong answers with a mean above `high` pass."""
    if wrong.mean >= right.mean - SAME:
        summary = f"Right answers score {right.mean:.3f} on average, wrong answers {wrong.mean:.3f}"
        reason = "a run would learn nothing, or to give wrong answers"
        remedy = (
            "Check the comparison in the reward, and the form of answers that it expects. Pass gold= to write the form"
        )
        yield Finding("error", "right_not_best", summary, reason, remedy)
        return
    rivals = {
        kind: other
        for kind, other in scores.items()
        if (not kind.startswith("right") and other.mean > right.mean + SAME + noise / 2)
        or (kind in _NONSENSE_KINDS and kind != "empty" and other.mean >= right.mean - SAME)
    }
    if rivals:
        kind, rival = max(rivals.items(), key=lambda item: item[1].mean)
        summary = f"Answers that are '{kind}' score {rival.mean:.3f} on average, right answers {right.mean:.3f}"
        reason = "a run learns the answers that score highest"
        remedy = "Let correctness count for more than anything else"
        yield Finding("error", "rival_scores_higher", summary, reason, remedy)
    if wrong.mean > high:
        summary = f"Wrong answers already score {wrong.mean:.3f} on average"
        reason = "there is nothing left to learn"
        remedy = "Make the reward compare the answer with the reference"
        yield Finding("error", "wrong_passes", summary, reason, remedy)


def _nonsense_findings(scores: Mapping[str, Scores], middle: float) -> Iterator[Finding]:
    """Judge nonsense if no right answer is known: a mean in the middle of the range is too high for nonsense."""
    rated = {kind: scores[kind] for kind in _NONSENSE_KINDS if kind in scores}
    kind, worst = max(rated.items(), key=lambda item: item[1].mean, default=("", None))
    if worst is None or worst.mean < middle:
        return
    if any(other.least != worst.mean or other.greatest != worst.mean for other in scores.values()):
        summary = f"Answers that are '{kind}' score {worst.mean:.3f} on average"
        reason = "a run would learn to write such answers"
        remedy = "Give empty, off-topic and nonsense answers the lowest score"
        yield Finding("error", "nonsense_scores", summary, reason, remedy)


def tie_findings(
    probes: Sequence[Probe], values: Sequence[float | None], rows: Sequence[str], noise: float
) -> Iterator[Finding]:
    """Yield a finding if the right answers to some records score no higher than wrong ones.

    A wrong answer is the right answer to another record. It may be right here too if the reward reads less than the
    whole reference, so it does not count if both score the highest and other answers to the record score less.
    """
    pairs = [pair for pair in pair_scores(probes, values) if pair[2] is not None]
    if noise > SAME or not pairs:
        return
    scored = zip(probes, values, strict=True)
    unrelated = {(one.record, one.kind): value for one, value in scored if value is not None}
    best = max(good for _, good, _ in pairs)
    tied = [
        probe.record
        for probe, good, bad in pairs
        if good <= cast("float", bad) + SAME
        and not (
            good >= best - SAME
            and any(unrelated.get((probe.record, kind), good) < good - SAME for kind in ("empty", "off the point"))
        )
    ]
    if tied and len(tied) < len(pairs):
        listed = ", ".join([rows[place] for place in tied[:_MAX_LISTED]] + ["…"] * (len(tied) > _MAX_LISTED))
        summary = f"For {len(tied)} of {len(pairs)} records, the right answer scores no higher than a wrong answer"
        mean = fmean(good for _, good, _ in pairs)
        reason = f"a run cannot learn the right answer there ({listed}; right answers score {mean:.3f} on average)"
        remedy = "Check the reference answers of these records"
        yield Finding("warning", "some_not_told_apart", summary, reason, remedy)


def top_findings(
    trial: Trial, scores: Mapping[str, Scores], reward_range: tuple[float, float], key: AnswerKey
) -> Iterator[Finding]:
    """Yield a finding if no right answer comes near the highest score."""
    right, (low, high) = scores.get("right"), reward_range
    share = _GOLD_SHARE if key.form is None else _FORM_SHARE
    if right is None or observed_range(scores, reward_range) != reward_range:
        return
    if right.greatest >= low + _GOLD_SHARE * (high - low) or right.greatest <= low + SAME:
        return
    name, total = _averaged_parts(trial, high)
    summary = f"Right answers score at most {right.greatest:.3f} of {high:g}"
    if name:
        reason = f"the score of '{name}' is the mean of its parts, and their sum is {total:.3g}"
        remedy = "Give each part the full scale, and its weight to the argument weights of @reward"
    elif right.greatest <= low + share * (high - low) and (key.form is None or key.is_object):
        reason = "a perfect answer should get the full score; " + (
            "these are the answers of gold=" if key.form is None else f"these are the references, {key.form.name}"
        )
        remedy = "Check the weights of the reward and " + (
            "the answers of gold=" if key.form is None else "the form that it expects; gold= can write it"
        )
    else:
        return
    yield Finding("warning", "below_top", summary, reason, remedy)


def _averaged_parts(trial: Trial, high: float) -> tuple[str, float]:
    """Return the reward whose value is the mean of parts that add up to the highest score; ("", 0) without one."""
    found = [
        scored.metrics
        for batch in trial.batches
        for probe, scored in zip(batch.probes, batch.scored, strict=False)
        if probe.kind == "right"
    ]
    for name in found[0] if found else ():
        sums = [[value for part, value in one.items() if part.startswith(f"{name}/")] for one in found]
        best = max(sums, key=sum)
        if (
            len(best) > 1
            and abs(sum(best) - high) <= _ROUNDING
            and all(
                one.get(name) is not None and abs(fmean(parts) - one[name]) <= _ROUNDING
                for one, parts in zip(found, sums, strict=True)
                if parts
            )
        ):
            return name, sum(best)
    return "", 0.0


def _trick_findings(
    scores: Mapping[str, Scores], right: Scores, wrong: Scores, noise: float, margin: float
) -> Iterator[Finding]:
    """Find ways to score without being right."""
    halfway = wrong.mean + (right.mean - wrong.mean) / 2 + noise / 2
    asking = scores.get("wrong, asking for a high score")
    if asking and asking.mean > wrong.mean + margin + noise:
        summary = f"Wrong answers that ask for a high score get {asking.mean:.3f} instead of {wrong.mean:.3f}"
        reason = "a model learns this during training"
        remedy = "Pass the answer to a judge as data, or read only the end of the answer"
        yield Finding("error", "injection", summary, reason, remedy)
    hostile = scores.get("hostile")
    if hostile and right.mean > hostile.mean >= halfway:
        summary = (
            f"Text of control characters, markers and digits scores {hostile.mean:.3f}; right answers score "
            f"{right.mean:.3f}"
        )
        reason = "a model learns this during training"
        remedy = "Read one well-formed answer, and give everything else the lowest score"
        yield Finding("error", "hostile_scores", summary, reason, remedy)
    if right.mean > wrong.mean:
        yield from _guess_findings(scores, right, halfway, noise)


def _guess_findings(scores: Mapping[str, Scores], right: Scores, halfway: float, noise: float) -> Iterator[Finding]:
    for kind, text in _GUESSES.items():
        guessing = scores.get(kind)
        if guessing and guessing.mean >= halfway:
            reason = "a model can learn to list answers instead of finding the right answer"
            remedy = "Read only the last final answer, and score a list as wrong"
            yield Finding("warning", "guessing", f"{text} scores {guessing.mean:.3f}", reason, remedy)
            break
    plain, others = scores.get("right, after a sentence"), scores.get("right, after other candidates")
    if plain and others and plain.mean >= halfway > others.mean + noise:
        summary = f"A right answer after other candidates scores {others.mean:.3f} instead of {plain.mean:.3f}"
        reason = "answers that reason before the result name other numbers or letters first"
        remedy = "Read the last answer, not the first"
        yield Finding("warning", "reads_too_early", summary, reason, remedy)
    markers, base = scores.get("format without an answer"), scores.get("off the point")
    if markers and base and markers.mean - base.mean >= _MARKER_SHARE * (right.mean - base.mean) + noise:
        summary = (
            f"Formatting alone, without an answer, scores {markers.mean:.3f}; right answers score {right.mean:.3f}"
        )
        reason = "a model learns the markers first, and may learn nothing else"
        remedy = "Give less credit for formatting, or give it only with a right answer (.gate)"
        yield Finding("warning", "markers_score", summary, reason, remedy)


def length_findings(
    probes: Sequence[Probe], values: Sequence[float | None], scores: Mapping[str, Scores], noise: float
) -> Iterator[Finding]:
    """Yield a finding if wrong answers score higher after long thoughts or long text of any length."""
    right, wrong = scores.get("right"), scores.get("wrong")
    if right is None or wrong is None or right.mean <= wrong.mean + SAME:
        return
    for kind, text in _LONG_KINDS.items():
        pairs = pair_scores(probes, values, kind)
        gains = [(value - base, len(probe.answer), value, base) for probe, value, base in pairs if base is not None]
        gain, length, value, base = max(gains, default=(0.0, 0, 0.0, 0.0))
        if gain >= _MARKER_SHARE * (right.mean - wrong.mean) + noise + SAME:
            summary = (
                f"A wrong answer of {length:,} characters, with {text} before it, scores {value:.3f}; alone {base:.3f}"
            )
            reason = "a model learns to write longer answers, right or wrong"
            remedy = "Give less credit for length, or give it only with a right answer (.gate)"
            yield Finding("warning", "length_scores", summary, reason, remedy)
            return


def speed_findings(trial: Trial) -> Iterator[Finding]:
    """Yield a finding if an invocation took more than half of the timeout."""
    slowest, timeout = trial.slowest, trial.target.timeout
    if slowest > timeout / 2 and not lacks_time(trial):
        summary = f"An invocation took {slowest:.1f} s of the {timeout:g} s that the function may take"
        reason = "the number of rollouts that the service sends at once is not documented"
        remedy = "Raise the function's timeout (900 s at most), or make the reward faster or async"
        yield Finding("warning", "slow", summary, reason, remedy)


def output_findings(trial: Trial, records: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """Yield findings if the function writes the user's data into its log, or if rollouts got the floor score."""
    printed = "\n".join(batch.outcome.printed for batch in trial.batches)
    prompts = map(_last_message, records)
    if any(len(text) > 20 and text[:200] in printed for text in prompts):  # noqa: PLR2004 - shorter text may be a chance
        reason = "prompts and answers are written to the function's log, and printing takes time"
        remedy = "Remove the call of print"
        yield Finding("warning", "prints_event", "The function prints the event", reason, remedy)
    failures = _failures(trial)
    raised = [(probe, text) for probe, text in failures if text is not None and text != OUT_OF_TIME]
    if raised:
        share = len(raised) / len(failures)
        summary = f"The reward raised for {share:.0%} of ordinary answers, which then got the floor"
        reason = f"the handler keeps the batch, but a run would learn from made-up scores{_first(raised[0][1])}"
        remedy = (
            f"Call the reward on one of these answers to see the error, such as {_describe_probe(trial, raised[0][0])}"
        )
        yield Finding("error", "reward_errors", summary, reason, remedy)

    if any(scored.metrics.get(LOG_ERROR_METRIC, 0.0) > 0 for batch in trial.batches for scored in batch.scored):
        reason = f"scores are not affected{_first_error(printed, 'the rollouts were not recorded: ')}"
        remedy = "Check the bucket and the role with access.doctor(client, reward=…), and read the function's log"
        yield Finding("warning", "not_recorded", "The function could not record its rollouts", reason, remedy)


def time_findings(trial: Trial) -> Iterator[Finding]:
    """Yield a finding if ordinary answers got the floor because the time of an invocation was over."""
    failures = _failures(trial)
    late = sum(text == OUT_OF_TIME for _, text in failures)
    if late:
        summary = f"No time was left to score {late / len(failures):.0%} of ordinary answers, which then got the floor"
        reason = (
            f"an invocation of {BATCH} answers may take {trial.target.timeout:g} s here; the number of rollouts that "
            "the service sends at once is not documented"
        )
        remedy = "Make the reward faster or async, or raise the function's timeout (900 s at most)"
        yield Finding("error", "no_time", summary, reason, remedy)


def lacks_time(trial: Trial) -> bool:
    """Return whether so many answers were not scored in time that scores cannot be compared."""
    failures = _failures(trial)
    return sum(text == OUT_OF_TIME for _, text in failures) > _MANY_LATE * len(failures)


def _failures(trial: Trial) -> list[tuple[Probe, str | None]]:
    """Return each ordinary answer with the error for which it got the lowest score, or None if it was scored."""
    found: list[tuple[Probe, str | None]] = []
    for batch in trial.batches:
        logged = _FLOOR_LOG.search(batch.outcome.printed)
        for probe, scored in zip(batch.probes, batch.scored, strict=False):
            if probe.kind in _ORDINARY_KINDS:
                text = batch.outcome.errors.get(scored.id) or (logged.group(1).strip() if logged else "")
                found.append((probe, text if scored.metrics.get(ERROR_METRIC, 0.0) > 0 else None))
    return found


def _first_error(printed: str, start: str) -> str:
    """Return the first error that the handler logged."""
    found = re.search(start + r"(.{1,200})", printed)
    return _first(found.group(1).strip() if found else "")


def _first(text: str | None) -> str:
    return f" (the first: {sanitize_line(text, _MAX_ERROR)})" if text else ""


def _last_message(record: Mapping[str, Any]) -> str:
    turns: list[Any] = list(record.get("messages") or ())
    content = turns[-1].get("content") if turns and hasattr(turns[-1], "get") else None
    return content if isinstance(content, str) else ""
