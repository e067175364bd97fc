"""Findings on recorded rollouts, from the sums and samples of a `Tally`.

A finding is a warning or an error only if the data establish it; otherwise it is `unknown` or `ok`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, variance
from typing import NamedTuple

from bedrock_rft._core.findings import Finding, Severity
from bedrock_rft._core.statistics import (
    Interval,
    agresti_coull,
    cluster_units,
    mean_interval,
    share_interval,
)
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.rollouts._features import MIN_WORDS, Features, find_near_copies
from bedrock_rft.rollouts._record import Record
from bedrock_rft.rollouts._tally import Key, Tally

ENOUGH, ENOUGH_PROMPTS, ENOUGH_GROUPS = 100, 10, 20
"""With fewer rollouts, prompts or groups, only errors are reported."""
NO_SIGNAL, NOTHING_LEARNED = 0.5, 0.95
"""Shares of groups without signal that are a warning and an error."""
EQUAL_SIZES = 0.6
"""Share of the groups that must have the most frequent size; otherwise rollouts are missing."""
LENGTH, PART_LENGTH = 0.5, 0.8
"""Limits for the correlation of reward and length, and of a part and length; the 95 % interval must lie beyond them."""
LENGTHS_VARY = 0.1
"""A correlation matters if the standard deviation of lengths within groups is at least this share of the mean."""
DECIDES = 0.95
"""Share of the reward's variance within groups that a dominating part explains."""
RISE, STILL, CEILING = 0.15, 0.03, 0.1
"""Shares of a part's range: at least a rise, at most no rise, and so near to the greatest value that it cannot rise."""
BEHIND = 0.25
"""A part stays behind if its rise is at most this share of another part's rise."""
RISE_ERRORS, BEHIND_ERRORS = 3.0, 2.0
"""Standard errors of a rise, and of the upper bound of the other part's rise."""
COPIED, ONE_ANSWER = 0.2, 0.5
"""Shares of near copies, and of one short answer, in the last third, compared with the lower end of the interval."""
CUT, FINAL = 0.05, 0.2
"""Share of answers that look cut off (lower end of the interval), and share with a final answer that makes it usual."""
LANGUAGE, FORMAT = 0.05, 0.2
"""Growth of the share of answers in another language or format, from the first third to the last."""
REWARDED_MARKERS, MANY_MARKERS = 0.01, 0.2
"""Shares of answers with markers around nothing that are a warning: if these answers are rewarded, and in any case."""
REWARD_ERRORS, MANY_ERRORS = 0.001, 0.2
"""Shares of rollouts that could not be scored: a warning and an error."""
_PERIODS, _FEW_PERIODS = 30, 9
_SEED, _ROUNDING = 0, 1e-9


class Answer(NamedTuple):
    """A sampled rollout whose answer was recorded."""

    record: Record
    features: Features


class Found(NamedTuple):
    """A finding, and the rollouts that show it."""

    finding: Finding
    examples: Sequence[Record] = ()


def judge(tally: Tally) -> list[Found]:
    """Return all findings, each with its examples."""
    found = [_errors_finding(tally)]
    if tally.rollouts < ENOUGH or tally.prompt_count < ENOUGH_PROMPTS:
        few = f"Fewer than {ENOUGH} rollouts or {ENOUGH_PROMPTS} prompts, so only errors were checked"
        reason = f"there are {tally.rollouts:,} rollouts of {tally.prompt_count:,} prompts"
        return [*found, Found(Finding("unknown", "too_few", few, reason))]
    found += [_signal_finding(tally), *_part_findings(tally)]
    ordered = sorted(tally.sample, key=lambda one: one.at)
    sample = [Answer(one.record, one.features) for one in ordered if one.features is not None]
    if len(sample) < ENOUGH:
        missing = "The answers were not recorded, so their texts and lengths were not checked"
        remedy = 'Record with include=("prompt", "answer")'
        return [*found, Found(Finding("unknown", "no_answers", missing, "", remedy))]
    third = len(sample) // 3
    first, last = sample[:third], sample[-third:]
    reward_range = min(0.0, tally.least), max(1.0, tally.greatest)
    return [
        *found,
        _length_finding(tally, sample),
        _copies_finding(last, reward_range),
        _local_cut_off() if tally.rehearsed == tally.rollouts else _cut_off_finding(sample),
        _language_finding(first, last),
        _format_finding(first, last),
        _markers_finding(last, reward_range),
    ]


def _errors_finding(tally: Tally) -> Found:
    count = sum(tally.errors.values())
    share = count / tally.rollouts
    if not count:
        return Found(Finding("ok", "reward_errors", f"All {tally.rollouts:,} rollouts were scored"))
    level: Severity = "error" if share >= MANY_ERRORS else "warning" if share >= REWARD_ERRORS else "ok"
    most = tally.errors.most_common(3)
    kinds = "; ".join(f"{sanitize_line(kind, 64)} ({number:,})" for kind, number in most)
    summary = f"{count:,} of {tally.rollouts:,} rollouts ({share:.1%}) could not be scored"
    remedy = "Correct the reward, and run rewards.check on it" if level != "ok" else ""
    finding = Finding(level, "reward_errors", summary, f"the most frequent errors are {kinds}", remedy)
    return Found(finding, [tally.failed[kind] for kind, _ in most])


def _signal_finding(tally: Tally) -> Found:
    sizes = tally.group_sizes
    size, most = sizes.most_common(1)[0]
    if size == 1 or most < EQUAL_SIZES * sum(sizes.values()) or tally.groups < ENOUGH_GROUPS:
        shown = ", ".join(f"{number:,} of {each}" for each, number in sizes.most_common(3))
        unclear = "Groups could not be recognised, so the share of groups without signal is not known"
        reason = f"groups by their number of rollouts: {shown}; only a sample, or too little, may be recorded"
        return Found(Finding("unknown", "no_signal", unclear, reason, "Record all rollouts, with sample=1.0"))
    value = tally.no_signal / tally.groups
    share = Interval(value, *agresti_coull(value, tally.groups))
    summary = f"{_percent(share)} of {tally.groups:,} groups of {size} have equal rewards, so they give no signal"
    easy = tally.no_signal - tally.too_hard
    reason = f"{tally.too_hard:,} groups have no pass, and {easy:,} have passes only; groups are recognised by time"
    level: Severity = "error" if share.low >= NOTHING_LEARNED else "warning" if share.low > NO_SIGNAL else "ok"
    if level == "ok":
        return Found(Finding(level, "no_signal", summary, reason))
    remedy = "Choose prompts that are solved sometimes (see datasets.select), or give partial credit"
    hopeless = [one.record for one in tally.sample if _is_one_sided(tally, one.record)]
    return Found(Finding(level, "no_signal", summary, reason, remedy), hopeless[:3])


def _is_one_sided(tally: Tally, record: Record) -> bool:
    sums = tally.prompts.get(record.prompt_hash or "")
    return sums is not None and sums.rollouts > 1 and sums.passed in {0, sums.rollouts}


def _length_finding(tally: Tally, sample: Sequence[Answer]) -> Found:
    """Judge the correlation within groups, so that hard prompts with long answers do not matter."""
    whole, parts = tally.correlation("length and reward"), dict[str, Interval]()
    if whole is None or tally.within["length and reward"][-1] < ENOUGH_GROUPS:
        summary = "The correlation of reward and length is not known"
        reason = "within groups, rewards or lengths hardly vary, or groups could not be recognised"
        return Found(Finding("unknown", "reward_length", summary, reason))
    for name in tally.part_sums:
        if (found := tally.correlation(f"part {name} and length")) is not None:
            parts[name] = found
    listed = ", ".join(f"{sanitize_line(name, 60)} {found.value:+.2f}" for name, found in list(parts.items())[:6])
    reason = f"the correlation within groups is {whole:+}{f'; of the parts: {listed}' if listed else ''}"
    paying = {name: found for name, found in parts.items() if _exceeds(found, PART_LENGTH)}
    spread = math.sqrt(tally.within["length and reward"][1] * tally.answers) / max(1, tally.characters)
    if spread < LENGTHS_VARY:
        summary = f"The lengths of answers to one prompt differ by {spread:.0%} of their mean, too little to matter"
        return Found(Finding("ok", "reward_length", summary, reason))
    if _exceeds(whole, LENGTH):
        more = "longer" if whole.value > 0 else "shorter"
        summary = f"Among the answers to one prompt, {more} answers get higher rewards"
    elif paying:
        name, found = max(paying.items(), key=lambda item: abs(item[1].value))
        more = "long" if found.value > 0 else "short"
        summary = (
            f"The part '{sanitize_line(name, 60)}' rewards {more} answers: its correlation with length is {found:+}"
        )
    else:
        summary = "The reward is not known to follow mainly the length of the answer"
        return Found(Finding("ok", "reward_length", summary, reason))
    remedy = "Read the examples; if length is not the aim, remove its effect from the reward"
    return Found(Finding("warning", "reward_length", summary, reason, remedy), _length_examples(sample))


def _exceeds(correlation: Interval, limit: float) -> bool:
    return correlation.low > limit or correlation.high < -limit


def _length_examples(sample: Sequence[Answer]) -> Sequence[Record]:
    """Return the shortest and the longest sampled answer to one prompt."""
    by_prompt: dict[str | None, list[Record]] = {}
    for one in sample:
        by_prompt.setdefault(one.record.prompt_hash, []).append(one.record)
    pairs = [(min(found, key=_size), max(found, key=_size)) for found in by_prompt.values()]
    return max(pairs, key=lambda pair: _size(pair[1]) - _size(pair[0]))


def _size(record: Record) -> int:
    return len(record.answer or "")


class _Change:
    """The change of a part's mean from the first to the last third of the run, with periods as the units."""

    def __init__(self, tally: Tally, name: str, periods: Sequence[Mapping[Key, float]]) -> None:
        means = [sums["part", name] / count for sums in periods if (count := sums.get(("part_count", name), 0))]
        low, self.high = tally.part_ranges[name]
        self.name, self.range = name, self.high - low
        third = len(means) // 3
        self.is_known = len(means) >= _FEW_PERIODS
        if self.is_known:
            first, last = means[:third], means[-third:]
            self.first, self.last = fmean(first), fmean(last)
            self.value = (self.last - self.first) / self.range
            self.error = math.sqrt(variance(first) / third + variance(last) / third) / self.range

    @property
    def rises(self) -> bool:
        """Return whether a rise is established."""
        return self.value >= RISE and self.value > RISE_ERRORS * self.error

    def stays_behind(self, other: _Change) -> bool:
        """Return whether the part had room to rise, and rose much less than another one."""
        has_room = self.high - self.last > CEILING * self.range
        return has_room and self.value + BEHIND_ERRORS * self.error <= max(STILL, BEHIND * other.value)

    def __str__(self) -> str:
        return f"'{sanitize_line(self.name, 60)}' went from {self.first:.2f} to {self.last:.2f}"


def _part_findings(tally: Tally) -> Iterator[Found]:
    periods = [sums for *_, sums in tally.timeline.merge(_PERIODS)]
    varying = {name for name, (low, high) in tally.part_ranges.items() if high - low > _ROUNDING * max(1.0, abs(low))}
    yield from (_constant_part_finding(tally, name) for name in tally.part_ranges if name not in varying)
    changes = [_Change(tally, name, periods) for name in tally.part_ranges if name in varying]
    known = [change for change in changes if change.is_known]
    if len(tally.part_sums) > 1:
        yield _diverging_parts_finding(tally, known)
    for change in known:
        behind = [one for one in known if one is not change and one.stays_behind(change)]
        found = tally.correlation(f"part {change.name} and reward")
        share = 0.0 if found is None else found.value**2
        if share >= DECIDES and behind and not change.stays_behind(behind[0]):
            yield _dominating_part_finding(change, behind[0], share)


def _constant_part_finding(tally: Tally, name: str) -> Found:
    value = tally.part_ranges[name][0]
    summary = f"The part '{sanitize_line(name, 60)}' is {value:g} for every rollout, so it changes no advantage"
    reason = f"it was given {tally.part_sums[name][0]:,.0f} times"
    if value == 1:  # full credit
        return Found(Finding("ok", "part_constant", summary, reason))
    return Found(Finding("warning", "part_constant", summary, reason, "Correct the part, or remove it"))


def _diverging_parts_finding(tally: Tally, known: Sequence[_Change]) -> Found:
    if not known:
        reason = "there are too few periods, or all parts are constant"
        return Found(Finding("unknown", "parts_diverge", "The trends of the parts of the reward are not known", reason))
    pairs = [(up, other) for up in known for other in known if up.rises and other.stays_behind(up)]
    if not pairs:
        return Found(
            Finding("ok", "parts_diverge", "No part of the reward is known to rise while another stays behind")
        )
    up, other = max(pairs, key=lambda pair: pair[0].value - pair[1].value)
    summary = f"The part {up}, while the part {other}"
    reason = "means of the first and the last third of the rollouts; the difference exceeds their noise"
    easy, neglected = (sanitize_line(change.name, 60) for change in (up, other))
    remedy = (
        f"Read the most recent answers. If the model has learned only the easy part '{easy}', give '{neglected}' "
        "more weight"
    )
    newest = [one.record for one in sorted(tally.sample, key=lambda one: one.at)[-3:]]
    return Found(Finding("warning", "parts_diverge", summary, reason, remedy), newest)


def _dominating_part_finding(change: _Change, ignored: _Change, share: float) -> Found:
    name = sanitize_line(change.name, 60)
    summary = f"The part '{name}' alone decides the reward, and the part {ignored}"
    reason = f"'{name}' explains {share:.0%} of the differences of rewards within groups"
    remedy = "Give all parts the same scale, or change their weights"
    return Found(Finding("warning", "part_dominates", summary, reason, remedy))


def _copied_answers(
    summary: str, reason: str, copies: Sequence[Answer], examples: Sequence[Record], reward_range: tuple[float, float]
) -> Found:
    """Return a warning. The local policy has few wrong answers, so copies of it matter only if they are rewarded."""
    remedy = "Read the examples: one answer may always be rewarded, or the model has collapsed"
    if copies[-1].record.is_rehearsal:
        least, greatest = reward_range
        if fmean(one.record.score for one in copies) <= least + 0.1 * (greatest - least):
            reason = "the local policy has few different wrong answers, and these earn almost no reward"
            return Found(Finding("unknown", "copied_answers", summary, reason))
        remedy = "Read the examples: one answer may always be rewarded"
    return Found(Finding("warning", "copied_answers", summary, reason, remedy), examples)


def _copies_finding(last: Sequence[Answer], reward_range: tuple[float, float]) -> Found:
    long, short = ([one for one in last if (one.features.words >= MIN_WORDS) is wanted] for wanted in (True, False))
    measured: list[str] = []
    if len(long) >= ENOUGH // 2:
        texts = [(one.record.prompt or one.record.prompt_hash or "", one.record.answer or "") for one in long]
        copies = find_near_copies([(*text, one.features.figures) for text, one in zip(texts, long, strict=True)])
        share = _share(long, [place in copies for place in range(len(long))])
        measured.append(f"{_percent(share)} of {len(long):,} last answers nearly copy an answer to another prompt")
        if share.low > COPIED:
            reason = (
                f"answers of at least {MIN_WORDS} words with the same numbers, compared by their sequences of words"
            )
            pair = [long[place].record for place in next(iter(copies.items()))]
            found = [one for place, one in enumerate(long) if place in copies]
            return _copied_answers(measured[0], reason, found, pair, reward_range)
    if len(short) >= ENOUGH // 2 and all(one.record.reference is not None for one in short):
        common, _ = Counter(one.features.exact for one in short).most_common(1)[0]
        share = _share(short, [one.features.exact == common for one in short])
        references = Counter(json.dumps(one.record.reference, sort_keys=True, default=str) for one in short)
        expected = references.most_common(1)[0][1] / len(short)
        measured.append(f"the most frequent short answer has a share of {_percent(share)}")
        if share.low > max(ONE_ANSWER, 2 * expected):
            summary = f"{_percent(share)} of {len(short):,} last short answers are the same"
            reason = f"the most frequent reference has a share of {expected:.0%}"
            found = [one for one in short if one.features.exact == common]
            return _copied_answers(summary, reason, found, [found[0].record], reward_range)
    if measured:
        return Found(Finding("ok", "copied_answers", "; ".join(measured)))
    reason = "the answers are short, and their references are not recorded"
    return Found(
        Finding("unknown", "copied_answers", "It is not known if answers to different prompts are equal", reason)
    )


def _local_cut_off() -> Found:
    """Return the finding for answers of the local policy, whose long answers have no end."""
    reason = "a local policy wrote them, and not a model"
    return Found(Finding("unknown", "cut_off", "It is not known if answers of a model would be cut off", reason))


def _cut_off_finding(sample: Sequence[Answer]) -> Found:
    whole = [one for one in sample if "answer" not in one.record.truncated]
    if len(whole) < ENOUGH // 2:
        summary, reason = (
            "It is not known if answers were cut off",
            "most answers were shortened when they were recorded",
        )
        return Found(Finding("unknown", "cut_off", summary, reason, "Record with a larger max_chars"))
    lengths = sorted(one.features.words for one in whole)
    limit = max(MIN_WORDS, 0.9 * lengths[int(0.98 * (len(lengths) - 1))])
    shorter = [one for one in whole if one.features.words < min(limit, lengths[len(lengths) // 2])]
    longest = [one for one in whole if one.features.words >= limit]
    # If answers are cut off at a limit, more of the longest answers end within a sentence than of the shorter half.
    at_limit = (
        min(len(shorter), len(longest)) >= MIN_WORDS and _open_share(longest).low > _open_share(shorter).high + 0.1
    )
    states_final = fmean(one.features.final for one in whole) >= FINAL
    cut = [
        bool(one.features.unclosed)
        or (
            not (one.features.ends or one.features.final)
            and (states_final or (at_limit and one.features.words >= limit))
        )
        for one in whole
    ]
    share = _share(whole, cut)
    summary = f"{_percent(share)} of {len(whole):,} sampled answers look cut off"
    if share.low <= CUT:
        return Found(Finding("ok", "cut_off", summary))
    some = [one for one, is_cut in zip(whole, cut, strict=True) if is_cut]
    kinds = Counter(
        f"{tag} is not closed" if (tag := one.features.unclosed) else "no end of a sentence" for one in some
    )
    reason = "; ".join(f"{kind}: {number:,}" for kind, number in kinds.most_common(3))
    remedy = "Reward answers that end, or ask for shorter answers in the prompt, because the service limits the length"
    return Found(Finding("warning", "cut_off", summary, reason, remedy), _records(some))


def _open_share(answers: Sequence[Answer]) -> Interval:
    return _share(answers, [not one.features.ends for one in answers])


def _language_finding(first: Sequence[Answer], last: Sequence[Answer]) -> Found:
    before, after = ([one for one in some if one.features.language] for some in (first, last))
    if min(len(before), len(after)) < ENOUGH // 4:
        summary = "The language of the answers is not known"
        reason = "the answers are short, or in a script that is not known"
        return Found(Finding("unknown", "language_switch", summary, reason))
    usual = Counter(one.features.language for one in before).most_common(1)[0][0]
    kinds = [
        [one.features.language != (one.features.prompt_language or usual) for one in some] for some in (before, after)
    ]
    shares = [_share(some, kind) for some, kind in zip((before, after), kinds, strict=True)]
    summary = (
        f"{_percent(shares[1])} of the last answers are not in the language of their prompt; {_percent(shares[0])} of "
        "the first answers were not"
    )
    if shares[1].low <= shares[0].high or shares[1].value - shares[0].value <= LANGUAGE:
        return Found(Finding("ok", "language_switch", summary))
    odd = [one for one, is_odd in zip(after, kinds[1], strict=True) if is_odd]
    reason = f"languages: {_most_common([one.features.language for one in odd])}"
    remedy = "Add a part to the reward that requires the language of the prompt"
    return Found(Finding("warning", "language_switch", summary, reason, remedy), _records(odd))


def _format_finding(first: Sequence[Answer], last: Sequence[Answer]) -> Found:
    """Judge a change of format. A new format with higher rewards was learned, so it gives no warning."""
    usual = Counter(one.features.format for one in first).most_common(1)[0][0]
    before, after = (_share(some, [one.features.format != usual for one in some]) for some in (first, last))
    summary = (
        f"{_percent(after)} of the last answers do not have the format '{usual}'; {_percent(before)} of the first "
        "answers did not"
    )
    odd = [one for one in last if one.features.format != usual]
    if after.low - before.high <= FORMAT or _is_higher(
        odd, [one for one in (*first, *last) if one.features.format == usual]
    ):
        return Found(Finding("ok", "format_switch", summary))
    reason = f"formats: {_most_common([one.features.format for one in odd])}; they do not get higher rewards"
    remedy = "Add a part to the reward that requires one format"
    return Found(Finding("warning", "format_switch", summary, reason, remedy), _records(odd))


def _is_higher(new: Sequence[Answer], old: Sequence[Answer]) -> bool:
    """Return whether new answers have a higher mean reward than old ones, by more than the noise."""
    one, other = ([each.record.score for each in some] for some in (new, old))
    error = math.sqrt(sum(variance(some) / len(some) for some in (one, other) if len(some) > 1))
    return not other or fmean(one) - fmean(other) > 2 * error


def _markers_finding(last: Sequence[Answer], reward_range: tuple[float, float]) -> Found:
    empty = [one for one in last if one.features.empty_marker]
    share = _share(last, [bool(one.features.empty_marker) for one in last])
    summary = f"{_percent(share)} of the last answers have the grader's markers around nothing"
    if not empty:
        return Found(Finding("ok", "empty_markers", summary))
    least, greatest = reward_range
    reward = mean_interval([one.record.score for one in empty], reward_range, _SEED)
    is_rewarded = reward.low > least + 0.1 * (greatest - least)
    if not (share.low > REWARDED_MARKERS and is_rewarded) and share.low <= MANY_MARKERS:
        return Found(Finding("ok", "empty_markers", summary))
    reason = f"such as {_most_common([one.features.empty_marker for one in empty])}; their mean reward is {reward}"
    remedy = "Give no credit for markers without content"
    return Found(Finding("warning", "empty_markers", summary, reason, remedy), _records(empty))


def _records(answers: Sequence[Answer]) -> Sequence[Record]:
    return [one.record for one in answers[-3:]]


def _most_common(values: Sequence[str]) -> str:
    return ", ".join(f"{sanitize_line(value, 40)} ({number:,})" for value, number in Counter(values).most_common(3))


def _share(answers: Sequence[Answer], values: Sequence[bool]) -> Interval:
    """Return a share with its interval, with the prompt as the unit of sampling."""
    units = cluster_units([float(value) for value in values], [one.record.prompt_hash or "" for one in answers])
    return share_interval(units, len(answers)) if len(units) > 1 else Interval(fmean(values), 0.0, 1.0)


def _percent(share: Interval) -> str:
    return f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]"
