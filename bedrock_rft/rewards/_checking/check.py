"""Check a reward on the user's records before a job uses it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import chain, islice
from statistics import fmean
from typing import Any, cast

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.progress import tqdm_bar
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets._read import read_numbered
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.metrics._reward_health import check_range
from bedrock_rft.rewards._checking.accuracy import Accuracy, Case, accuracy_findings, measure_accuracy, read_cases
from bedrock_rft.rewards._checking.answer_forms import CODE_LAYOUTS, AnswerForm, form_groups
from bedrock_rft.rewards._checking.findings import (
    error_findings,
    lacks_time,
    length_findings,
    no_right_answer_finding,
    output_findings,
    score_findings,
    shape_findings,
    speed_findings,
    tie_findings,
    time_findings,
    top_findings,
)
from bedrock_rft.rewards._checking.probes import SHAPES, AnswerKey, Gold, PayloadShape, Probe, build_probes, key_probes
from bedrock_rft.rewards._checking.report import (
    SAME,
    Report,
    Scores,
    ShapeMeans,
    best_shape,
    exceeds_noise,
    group_scores,
    mean_scores,
    pair_scores,
)
from bedrock_rft.rewards._checking.trial import BATCH, Trial
from bedrock_rft.rewards._packaging.archive import Package
from bedrock_rft.rewards._runtime.graders.unit_tests import PassesTests
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.resolve import resolve_target, reward_name

_FORM_RECORDS = 8
_FURTHER_RECORDS = 3
_SINGLE_PROBES = 4
_MAX_READ = 20_000
_LONGEST_TIMEOUT = 900
_LARGE_EVENT = 5_200_000
"""Bytes of an event near Lambda's limit of 6 MB."""
_SLIGHT = 1e-3
_CLEAR, _LEAST_SHARE = 0.25, 0.1
_MOVED = 0.05


def check(
    reward: object,
    dataset: str | os.PathLike[str] | Iterable[Any],
    *,
    size: int = 20,
    gold: Gold | None = None,
    timeout: float | None = None,
    memory: int = 1024,
    client: Any = None,
    seed: int = 0,
    accuracy: bool = False,
    cases: Iterable[Case] | str | os.PathLike[str] = (),
    max_false_positives: float = 0.25,
    max_false_negatives: float = 0.25,
    reward_range: tuple[float, float] = (0.0, 1.0),
    progress: bool = False,
) -> Report:
    """Try a reward on records and report faults that a training run would suffer from.

    The reward gets right, wrong, empty, cut off, very long and hostile answers, in every payload shape that the service
    is known to send, one by one and many at once, twice. Right answers are the reference answers in the forms that
    people use, or the answers that `gold` returns.

    A reward or a function runs in this process: a call that does not end is abandoned, but a function that ends its
    process ends this process. A file runs in a subprocess with an empty environment, and a deployed function is
    invoked.

    Args:
        reward: a reward, a handler or a function of (event, context); `path/to/file.py:name`; the zip of a Lambda
            function, as `path/to/file.zip` or `path/to/file.zip:module.name`; or the ARN of a deployed function, or an
            object with an `arn`.
        dataset: a path, or records.
        size: the number of records to try the reward on.
        gold: a function that takes a record and returns the right answer. Pass it if right answers are not just the
            reference answer in a usual form. `gold` is called for every record, with or without a reference answer. The
            right answers to other records serve as wrong answers.
        timeout: seconds that an invocation may take; by default the deployed function's own, or 300.
        memory: megabytes that a file may use.
        client: a `Client`, or botocore's client for Lambda; by default botocore's own credentials invoke a function.
        seed: random seed for sampling records and for wrong answers.
        accuracy: measure false negatives, for right answers in equivalent forms, and false positives, for answers that
            attack the reward; see `Report.accuracy`.
        cases: your own answers to measure: tuples of a record, an answer and the expected score, 1 for right and 0 for
            wrong; or the path of a JSON-lines file with `record`, `answer` and `expected`.
        max_false_positives: the share of wrong answers that may pass; more is an error.
        max_false_negatives: the share of right answers that may fail; more is an error.
        reward_range: the lowest and the highest score of the reward, by which its scores are judged.
        progress: count the invocations on a terminal or in a notebook.

    Raises:
        DatasetError: there are no records, or they cannot be read.
        ConfigurationError: there is no such reward, `gold` raised or did not return text, or `reward_range` is no pair
            of numbers, the lower first.
    """
    if timeout is not None and not 0 < timeout <= _LONGEST_TIMEOUT:
        raise ConfigurationError(
            f"timeout is {timeout}; Lambda allows more than 0 and at most {_LONGEST_TIMEOUT} seconds."
        )
    if gold is not None and not callable(gold):
        raise ConfigurationError(
            f"gold is {type(gold).__name__}. Pass a function that takes a record and returns the right answer."
        )
    check_range(reward_range)
    pairs = read_cases(cases)
    records, rows = _sample(dataset, size, seed)
    name = reward_name(reward)
    key = None if gold is None else AnswerKey.from_gold(records, rows, gold)
    try:
        target = resolve_target(reward, timeout=timeout, memory=memory, client=client)
    except ConfigurationError as error:
        if not callable(reward):
            raise
        return Report(f"Check of {name}", (Finding("error", "not_a_handler", error.message),), target=name)
    bar = tqdm_bar("invocations", None) if progress else None
    with closing(target), closing(bar) if bar is not None else nullcontext():
        trial = Trial(target, records, rows, seed, on_invocation=bar.update if bar is not None else None)
        checking = _Check(trial, key, reward_range, runs_code=_runs_code(reward))
        report = checking.report()
        if accuracy or pairs:
            measured = checking.measure(pairs, everything=accuracy)
            found = accuracy_findings(measured, max_false_positives, max_false_negatives)
            report = replace(report, accuracy=measured, findings=(*report.findings, *found))
        return report


def _sample(dataset: object, size: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return some records, and for each a name by which the user can find it."""
    if isinstance(size, bool) or size < 1:
        raise ConfigurationError(f"size is {size}; the reward must be tried on at least 1 record.")
    records = list(islice(read_numbered(dataset), _MAX_READ))
    if not records:
        raise DatasetError("There are no records to try the reward on.")
    chosen = random.Random(seed).sample(records, min(size, len(records)))  # noqa: S311 - a sample
    unit = "line" if isinstance(dataset, (str, os.PathLike)) else "record"
    return [record for _, record in chosen], [f"{unit} {number}{_id_of(record)}" for number, record in chosen]


def _id_of(record: Mapping[str, Any]) -> str:
    name = record.get("id")
    return f" (id {sanitize_line(str(name), 40)})" if isinstance(name, (str, int)) else ""


class _Check:
    """One check of a reward. Each step uses the results of the earlier steps."""

    def __init__(
        self, trial: Trial, gold_key: AnswerKey | None, reward_range: tuple[float, float], *, runs_code: bool
    ) -> None:
        self._trial = trial
        self._target, self._records, self._seed = trial.target, trial.records, trial.seed
        self._range, self._span = reward_range, reward_range[1] - reward_range[0]
        self._key, self._gold, self._runs_code = gold_key, gold_key is not None, runs_code
        self._has_references = any(record.get("reference_answer") is not None for record in self._records)
        strings = any(isinstance(record.get("reference_answer"), str) for record in self._records[:_FORM_RECORDS])
        self._shapes: list[PayloadShape] = [shape for shape in SHAPES if strings or not shape.endswith("wrapped")]
        self._trial.stop_after = max(3, len(self._shapes))
        self._shape: PayloadShape = SHAPES[0]
        self._forms_tried: list[AnswerForm] = []
        self._form_scores: list[float] = []

    def report(self) -> Report:
        means = self._measure_shapes()
        shape = self._shape = best_shape(means)
        probes = build_probes(self._records, self._key, self._seed)
        values = self._trial.scores(probes, shape)
        scores = group_scores(probes, values)
        findings: list[Finding] = []
        if scores:
            findings += self._judge(probes, values, scores, means, shape)
        findings += [*error_findings(self._trial), *speed_findings(self._trial)]
        if all(finding.level == "ok" for finding in findings):
            findings.append(Finding("ok", "sound", "Right answers score highest, and every payload shape is read"))
        parsed = [batch for batch in self._trial.batches if batch.scored]
        rollouts = sum(len(batch.probes) for batch in parsed) or 1
        form = self._key.form if self._key is not None else None
        return Report(
            f"Check of {self._target.name}",
            tuple(findings),
            target=self._target.name,
            sample=len(self._records),
            invocations=len(self._trial.batches) + self._trial.extra_invocations,
            form=form.name if form is not None else "",
            scores=scores,
            shapes={name: None if pair is None else pair[0] for name, pair in means.items()},
            seconds=self._trial.slowest,
            seconds_per_rollout=sum(batch.outcome.seconds for batch in parsed) / rollouts,
            timeout=self._target.timeout,
        )

    def measure(self, cases: Sequence[Case], *, everything: bool) -> Accuracy:
        """Measure the mistakes of the reward, after the report was made."""
        rows, on_invocation = self._trial.rows, self._trial.on_invocation
        trial = Trial(self._target, self._records, rows, self._seed, on_invocation=on_invocation)
        key = self._key if everything else None
        return measure_accuracy(trial, key, self._shape, cases, self._seed, fmean(self._range))

    def _judge(
        self,
        probes: Sequence[Probe],
        values: Sequence[float | None],
        scores: Mapping[str, Scores],
        means: ShapeMeans,
        shape: PayloadShape,
    ) -> Iterator[Finding]:
        yield from time_findings(self._trial)
        if lacks_time(self._trial):
            yield from output_findings(self._trial, self._records)
            return
        constant = self._constant_finding(scores)
        if constant is not None:
            yield constant
            yield from output_findings(self._trial, self._records)
            return
        second = self._trial.scores(probes, shape)
        compared = [pair for pair in zip(values, second, strict=True) if None not in pair]
        gaps = [abs(cast("float", one) - cast("float", other)) for one, other in compared]
        moved = [gap for gap in gaps if gap > SAME]
        noise = max(moved, default=0.0)
        pairs = pair_scores(probes, values)
        hidden = bool(moved) and not exceeds_noise(pairs, noise)
        if hidden and self._key is not None:
            summary = (
                f"The same answer scores differently each time, by up to {noise:.3g}, and right answers score no "
                "higher than wrong ones"
            )
            reason = "a reward that is only noise teaches nothing"
            remedy = "Seed random numbers, and compare the answer with the reference"
            yield Finding("error", "not_deterministic", summary, reason, remedy)
            return
        if moved:
            summary = f"{len(moved)} of {len(gaps)} answers scored differently the second time, by up to {noise:.3g}"
            reason = "noise in the reward is noise in the advantage; judges have some noise, rules have none"
            remedy = "Seed random numbers; for a judge, set temperature to 0, or take the mean of several scores"
            yield Finding("warning", "not_deterministic", summary, reason, remedy)
        if self._key is None:
            yield no_right_answer_finding(self._forms_tried, has_references=self._has_references)
        if hidden:
            return
        yield from score_findings(scores, self._range, noise=noise, can_build=self._key is not None)
        if self._key is not None:
            yield from tie_findings(probes, values, self._trial.rows, noise)
            yield from top_findings(self._trial, scores, self._range, self._key)
        yield from length_findings(probes, values, scores, noise)
        if self._key is not None:
            yield from shape_findings(self._trial, means)
            yield from self._compare_alone(probes, values, shape, noise)
        yield from self._send_bad_rollouts(shape)
        yield from self._send_large_event(shape)
        yield from output_findings(self._trial, self._records)

    def _measure_shapes(self) -> ShapeMeans:
        """Find the form of right answers, and return the means of right and wrong answers in every payload shape."""
        few = self._records[:_FORM_RECORDS]
        if self._key is None:
            form = self._find_form(few)
            if form is None:
                return dict.fromkeys(self._shapes)
            self._key = AnswerKey.from_form(self._records, form)
        probes = key_probes(self._key, self._seed, count=len(few))
        return {shape: mean_scores(probes, self._trial.scores(probes, shape)) for shape in self._shapes}

    def _find_form(self, few: Sequence[Mapping[str, Any]]) -> AnswerForm | None:
        """Return the form in which right answers stand out most, or else a form in which wrong answers do, or None."""
        best: tuple[float, AnswerForm | None] = (SAME, None)
        inverted: tuple[float, AnswerForm | None] = (-_CLEAR * self._span, None)
        shapes = self._shapes[:1] if self._runs_code else self._shapes
        for number, group in enumerate(form_groups(few)):
            forms = [form for form in group if form.layout in CODE_LAYOUTS] if self._runs_code else group
            records = few[:_FURTHER_RECORDS] if number or self._runs_code else few
            self._forms_tried += forms
            probes = [key_probes(AnswerKey.from_form(records, form), self._seed) for form in forms]
            for shape in self._list_working(shapes, probes):
                for form, pair in zip(forms, self._mean_pairs(probes, shape), strict=True):
                    if pair is None:
                        continue
                    gap = pair[0] - pair[1]
                    gain = gap + pair[0] * _SLIGHT
                    if gap > max(SAME, _LEAST_SHARE * self._spread()) and gain > best[0] + SAME:
                        best = gain, form
                    if gap < inverted[0]:
                        inverted = gap, form
                if best[1] is not None and best[0] >= _CLEAR * self._spread():
                    return best[1]
            if self._trial.is_hopeless or (number == 0 and inverted[1] is not None):
                break
        return best[1] or inverted[1]

    def _list_working(
        self, shapes: Sequence[PayloadShape], probes: Sequence[Sequence[Probe]]
    ) -> Sequence[PayloadShape]:
        """Try each payload shape once, and return the shapes that work."""
        if len(shapes) > 1 and not self._trial.batches:
            for shape in shapes:
                self._trial.send([*chain(*probes)][: BATCH // 2], shape)
        working = self._trial.working_shapes()
        return [shape for shape in shapes if shape in working] or shapes

    def _mean_pairs(self, probes: Sequence[Sequence[Probe]], shape: PayloadShape) -> list[tuple[float, float] | None]:
        """Return the means of right and of wrong answers in each group of probes."""
        values = iter(self._trial.scores([*chain(*probes)], shape))
        pairs = [mean_scores(group, [*islice(values, len(group))]) for group in probes]
        self._form_scores += [value for pair in pairs if pair is not None for value in pair]
        return pairs

    def _spread(self) -> float:
        return max(self._form_scores, default=0.0) - min(self._form_scores, default=0.0)

    def _constant_finding(self, scores: Mapping[str, Scores]) -> Finding | None:
        everything = [scored.score for batch in self._trial.batches for scored in batch.scored] or [
            kind.mean for kind in scores.values()
        ]
        least, greatest = min(everything), max(everything)
        if greatest - least > SAME:
            return None
        if self._key is None and greatest <= SAME:
            forms = self._forms_tried if self._has_references else []
            return no_right_answer_finding(forms, has_references=self._has_references, only_score=greatest)
        reason = "a reward that is the same for every answer teaches nothing"
        remedy = "Check what the reward reads: the reference answer, the last message"
        if self._gold and (finding := self._gold_finding(greatest)) is not None:
            return finding
        if abs(greatest) <= SAME:
            summary = "Every answer scores 0, also the answers that gold= returned"
            return Finding("error", "always_zero", summary, reason, f"{remedy}; and check gold=")
        return Finding("error", "all_equal", f"Every answer scores {greatest:g}", reason, remedy)

    def _gold_finding(self, score: float) -> Finding | None:
        """Return a finding if reference answers score higher in some form than all answers of `gold`."""
        few = self._records[:_FORM_RECORDS]
        form = self._find_form(few)
        if form is None:
            return None
        probes = key_probes(AnswerKey.from_form(few, form), self._seed)
        means = mean_scores(probes, self._trial.scores(probes, self._shape))
        if means is None or means[0] <= max(score, means[1]) + SAME:
            return None
        summary = f"The answers that gold= returned score {score:g}, as much as empty ones"
        reason = f"reference answers score {means[0]:.3g} on average if they are written '{form.name}'"
        remedy = "Correct the function of gold=, which should return the right answer to a record"
        return Finding("error", "gold_not_right", summary, reason, remedy)

    def _compare_alone(
        self, probes: Sequence[Probe], values: Sequence[float | None], shape: PayloadShape, noise: float
    ) -> Iterator[Finding]:
        """Compare the score of an answer that is sent alone with its score among others."""
        places = [place for place, probe in enumerate(probes) if probe.kind in ("right", "wrong")][:_SINGLE_PROBES]
        for place in places:
            batch = self._trial.send([probes[place]], shape)
            value = values[place]
            if not batch.scored:
                reason = f"the number of rollouts that the service sends at once is not documented; {batch.reason}"
                yield Finding("error", "single", "A batch of one rollout gets no valid response", reason)
                return
            if value is not None and abs(batch.scored[0].score - value) > _MOVED * self._span + 2 * noise:
                summary = f"An answer scores {batch.scored[0].score:.3g} alone and {value:.3g} among others"
                reason = "the reward depends on the other rollouts"
                remedy = "Keep no state between rollouts"
                yield Finding("warning", "depends_on_batch", summary, reason, remedy)
                return

    def _send_bad_rollouts(self, shape: PayloadShape) -> Iterator[Finding]:
        """Send rollouts without a reference or without messages among good ones."""
        probes = [Probe("off the point", place, "1") for place in range(min(_SINGLE_PROBES, len(self._records)))]
        bare = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
        extra: list[dict[str, Any]] = [
            {"id": "no-reference", "messages": bare, "metadata": {}},
            {"id": "no-answer", "messages": [], "metadata": {"reference_answer": None}},
        ]
        batch = self._trial.send(probes, shape, extra=extra, keep_error=False)
        if not batch.scored:
            summary = (
                "One rollout without a reference answer or an assistant message leaves the whole batch without scores"
            )
            reason = batch.reason
            remedy = "Catch the errors of a single rollout; a Reward's handler does"
            yield Finding("error", "one_bad_rollout", summary, reason, remedy)

    def _send_large_event(self, shape: PayloadShape) -> Iterator[Finding]:
        """Send an event near Lambda's limit."""
        text = "word " * (_LARGE_EVENT // BATCH // 5)
        probes = [Probe("large event", place % len(self._records), text) for place in range(BATCH)]
        batch = self._trial.send(probes, shape, keep_error=False)
        if not batch.scored:
            summary = f"An event of {BATCH * len(text) / 1e6:.1f} MB gets no valid response"
            reason = batch.reason
            remedy = "Do little work per character, and return little text, because long answers make large events"
            yield Finding("error", "large_payload", summary, reason, remedy)


def _runs_code(reward: Any) -> bool:
    """Return whether a reward runs answers as code, so that only code can score."""
    inner = reward.reward if isinstance(reward, Handler) else reward
    if isinstance(inner, Reward):
        return any(isinstance(leaf, PassesTests) for leaf in inner.leaves)
    facts: dict[str, str] = dict(getattr(getattr(reward, "plan", None), "facts", ()))  # of a deployed reward
    description = reward.reward if isinstance(reward, Package) else facts.get("reward", "")
    return f"{PassesTests.__name__}(" in str(description)
