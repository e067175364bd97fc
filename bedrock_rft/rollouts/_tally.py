"""One pass over rollouts that keeps sums and samples, whose size does not depend on the number of rollouts."""

from __future__ import annotations

import bisect
import hashlib
import heapq
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bedrock_rft._core.statistics import Interval, passes, t_quantile
from bedrock_rft.rollouts._features import Features, extract_features
from bedrock_rft.rollouts._groups import Member, differ, group, member
from bedrock_rft.rollouts._record import Record

SAMPLE = 3000
"""Rollouts whose texts are examined, drawn at random."""
SHOWN = 1000
"""Rollouts in the table of the page, drawn at random from the sample."""
MOST_PROMPTS = 20_000
"""Prompts that are counted one by one: the service accepts no larger file. Of more, a random part is."""
PAIRS = 40
"""Prompts whose first and last answers are kept, drawn at random."""
_PERIODS, _SCORES = 128, 256
_MOST_VALUES, _MOST_NAMES = 200, 50
_SLOWEST = 10
_TEXT, _EXAMINED, _PREVIEW = 3000, 20_000, 200
_OTHER = "(other values)"

Key = tuple[str, str | int]


class Timeline:
    """Sums and a histogram of the scores for each period of time.

    Periods and bins have a fixed width. If there are too many, neighbours are merged, which doubles the width.
    """

    def __init__(self) -> None:
        self.width, self.unit = 2.0**-10, 0.01
        self.periods: dict[int, defaultdict[Key, float]] = {}
        self._scores: set[int] = set()

    def add(self, at: float, amounts: Iterable[tuple[Key, float]]) -> None:
        """Add amounts to the period of a time."""
        sums = self._period(at)
        for key, amount in amounts:
            sums[key] += amount

    def add_score(self, at: float, score: float) -> None:
        """Count a score."""
        place = math.floor(score / self.unit + 1e-6)
        self._scores.add(place)
        self._period(at)["histogram", place] += 1
        if len(self._scores) > _SCORES:
            self.unit *= 2
            self._scores = {each // 2 for each in self._scores}
            for number, sums in self.periods.items():
                self.periods[number] = defaultdict(float)
                for (name, key), amount in sums.items():
                    halved = int(key) // 2 if name == "histogram" else key
                    self.periods[number][name, halved] += amount

    def _period(self, at: float) -> defaultdict[Key, float]:
        found = self.periods.setdefault(int(at // self.width), defaultdict(float))
        if len(self.periods) <= _PERIODS:
            return found
        while len(self.periods) > _PERIODS:
            self.width *= 2
            halved: dict[int, defaultdict[Key, float]] = {}
            for number, sums in self.periods.items():
                merged = halved.setdefault(number // 2, defaultdict(float))
                for key, amount in sums.items():
                    merged[key] += amount
            self.periods = halved
        return self.periods[int(at // self.width)]

    def merge(self, most: int) -> list[tuple[float, float, dict[Key, float]]]:
        """Return at most `most` periods of about equal numbers of rollouts: their start, their end and their sums."""
        numbers = sorted(self.periods)
        counts = [self.periods[number]["rollouts", ""] for number in numbers]
        each, made, seen = sum(counts) / most, list[tuple[float, float, dict[Key, float]]](), 0.0
        start, sums = 0, Counter[Key]()
        for place, number in enumerate(numbers):
            sums.update(self.periods[number])
            seen += counts[place]
            if seen >= each * (len(made) + 1) - 1e-6 or place == len(numbers) - 1:
                made.append((numbers[start] * self.width, (number + 1) * self.width, dict(sums)))
                start, sums = place + 1, Counter[Key]()
        return made


@dataclass(slots=True)
class Sums:
    """Sums over the rollouts of a prompt, of a value of a field, or of a step."""

    name: str = ""
    rollouts: int = 0
    passed: int = 0
    total: float = 0.0

    def add(self, score: float, passed: bool) -> None:
        """Add one rollout."""
        self.rollouts += 1
        self.passed += passed
        self.total += score


@dataclass(slots=True)
class Sampled:
    """A sampled rollout and its time. The features of its answer are computed after all records were read."""

    record: Record
    at: float
    features: Features | None = None


@dataclass(slots=True)
class _Scored:
    """The values of a rollout that are summed within groups."""

    score: float
    length: int | None
    parts: dict[str, float]


@dataclass
class Tally:
    """Sums and samples of the rollouts read so far."""

    pass_mark: float
    fields: Sequence[str] = ()  # record fields to count by
    steps: Sequence[tuple[int, float]] = ()  # step and Unix time of the events of the job, in order of time
    rollouts: int = 0
    passed: int = 0
    total: float = 0.0
    first: float = math.inf
    last: float = -math.inf
    least: float = math.inf
    greatest: float = -math.inf
    answers: int = 0
    characters: int = 0
    longest: float = 0.0
    timeline: Timeline = field(default_factory=Timeline)
    errors: Counter[str] = field(default_factory=Counter[str])
    origins: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_field: dict[str, dict[str, Sums]] = field(default_factory=dict[str, dict[str, Sums]])
    by_step: dict[int, Sums] = field(default_factory=dict[int, Sums])
    part_ranges: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    part_sums: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    prompts: dict[str, Sums] = field(default_factory=dict[str, Sums])
    group_sizes: Counter[int] = field(default_factory=Counter[int])
    groups: int = 0
    no_signal: int = 0
    too_hard: int = 0
    within: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    sample: list[Sampled] = field(default_factory=list[Sampled])
    rehearsed: int = 0  # rollouts of the local service or of a rehearsal
    slowest: list[tuple[float, int, Record]] = field(default_factory=list[tuple[float, int, Record]])
    failed: dict[str, Record] = field(default_factory=dict[str, Record])
    ends: dict[str, tuple[tuple[float, Record], tuple[float, Record]]] = field(
        default_factory=dict[str, tuple[tuple[float, Record], tuple[float, Record]]]
    )

    def __post_init__(self) -> None:
        self._random = random.Random(0)  # noqa: S311 - a sample
        self._step_times = [at for _, at in self.steps]
        self._prompt_heap: list[tuple[int, str]] = []
        self._pair_heap: list[tuple[int, str]] = []
        self.by_field = {name: {} for name in self.fields}

    def read(self, records: Iterable[Record]) -> Tally:
        """Read all records, and return the tally itself."""
        members = map(self._member, records)
        for found in group(one for one in members if one.prompt_hash):
            self._add_group(found)
        for one in self.sample:
            if one.record.answer is not None:
                one.features = extract_features(one.record.answer, one.record.prompt or "")
            one.record = _shorten_texts(one.record)
        return self

    @property
    def prompt_count(self) -> int:
        """Return the number of prompts. Above `MOST_PROMPTS`, it is estimated from the hashes that were kept."""
        if len(self.prompts) < MOST_PROMPTS or not self._prompt_heap:
            return len(self.prompts)
        return round((len(self.prompts) - 1) / (-self._prompt_heap[0][0] / 16**16))

    def _member(self, record: Record) -> Member[_Scored]:
        """Add one rollout, and return it as a member of a group."""
        at, score = record.at, float(record.score)
        self.rollouts += 1
        self.first, self.last = min(self.first, at), max(self.last, at)
        passed = passes(score, self.pass_mark)
        length = len(record.answer) if record.answer is not None else None
        parts = {name: float(value) for name, value in record.parts.items()} if record.error is None else {}
        self.passed += passed
        self.total += score
        self.least, self.greatest = min(self.least, score), max(self.greatest, score)
        sums: list[tuple[Key, float]] = [(("rollouts", ""), 1), (("score", ""), score), (("passed", ""), passed)]
        if length is not None:
            self.answers += 1
            self.characters += length
            sums += [(("answers", ""), 1), (("length", ""), length)]
        if record.error is not None:
            kind = record.error[:_PREVIEW] if len(self.errors) < _MOST_VALUES or record.error in self.errors else _OTHER
            self.errors[kind] += 1
            self.failed.setdefault(kind, _shorten_texts(record))
            sums.append((("errors", ""), 1))
        else:
            sums += self._add_parts(parts)
        self.timeline.add(at, sums)
        self.timeline.add_score(at, score)
        self.rehearsed += record.is_rehearsal
        self._add_origin(record)
        self._add_fields(record, score, passed)
        self._add_step(at, score, passed)
        if record.prompt_hash:
            self._add_prompt(record.prompt_hash, record, at, score, passed)
        self._add_examples(record, at)
        scored = _Scored(score, length if record.error is None else None, parts)
        return member(record, scored)

    def _add_parts(self, parts: Mapping[str, float]) -> Iterator[tuple[Key, float]]:
        for name, value in parts.items():
            if name not in self.part_sums and len(self.part_sums) >= _MOST_NAMES:
                continue
            low, high = self.part_ranges.get(name, (value, value))
            self.part_ranges[name] = (min(low, value), max(high, value))
            sums = self.part_sums.setdefault(name, [0.0, 0.0, 0.0])
            sums[0] += 1
            sums[1] += value
            sums[2] += value * value
            yield ("part", name), value
            yield ("part_count", name), 1

    def _add_origin(self, record: Record) -> None:
        for name, value in (
            ("function", record.function),
            ("source", record.source),
            ("version", record.function_version or ""),
            ("package", record.package_hash or ""),
            ("model", record.model or ""),
        ):
            counts = self.origins[name]
            counts[value if value in counts or len(counts) < _MOST_NAMES else _OTHER] += 1

    def _add_fields(self, record: Record, score: float, passed: bool) -> None:
        for name, values in self.by_field.items():
            if not isinstance(record.fields, dict) or name not in record.fields:
                continue
            value = str(record.fields[name])[:_PREVIEW]
            value = value if value in values or len(values) < _MOST_VALUES else _OTHER
            values.setdefault(value, Sums(value)).add(score, passed)

    def _add_step(self, at: float, score: float, passed: bool) -> None:
        place = bisect.bisect_left(self._step_times, at - 1)  # the service's times are whole seconds, rounded down
        if self.steps and place < len(self.steps):
            self.by_step.setdefault(self.steps[place][0], Sums()).add(score, passed)

    def _add_prompt(self, key: str, record: Record, at: float, score: float, passed: bool) -> None:
        if _keep(self.prompts, self._prompt_heap, key, MOST_PROMPTS):
            name = (record.prompt or "")[:_PREVIEW] or key[:12]
            (self.prompts.get(key) or self.prompts.setdefault(key, Sums(name))).add(score, passed)
        if _keep(self.ends, self._pair_heap, key, PAIRS):
            first, last = self.ends.get(key, ((math.inf, record), (-math.inf, record)))
            if at < first[0]:
                first = (at, _shorten_texts(record))
            if at >= last[0]:
                last = (at, _shorten_texts(record))
            self.ends[key] = (first, last)

    def _add_examples(self, record: Record, at: float) -> None:
        if len(self.sample) < SAMPLE:
            self.sample.append(Sampled(_shorten_texts(record, _EXAMINED), at))
        elif (place := int(self._random.random() * self.rollouts)) < SAMPLE:
            self.sample[place] = Sampled(_shorten_texts(record, _EXAMINED), at)
        duration = record.duration or 0.0
        self.longest = max(self.longest, duration)
        if len(self.slowest) < _SLOWEST:
            heapq.heappush(self.slowest, (duration, self.rollouts, _shorten_texts(record)))
        elif duration > self.slowest[0][0]:
            heapq.heapreplace(self.slowest, (duration, self.rollouts, _shorten_texts(record)))

    def _add_group(self, members: list[Member[_Scored]]) -> None:
        """Add one group: count it by its signal, and add its sums of squares and products."""
        size = len(members)
        self.group_sizes[size] += 1
        if size < 2:  # noqa: PLR2004 - one reward cannot differ from others
            return
        scores = [member.value.score for member in members]
        equal, at = not differ(scores), members[-1].at
        self.groups += 1
        self.no_signal += equal
        self.too_hard += equal and not passes(scores[0], self.pass_mark)
        self.timeline.add(at, [(("groups", ""), 1), (("no_signal", ""), equal)])
        scored = [member.value for member in members]
        lengths = [one.length for one in scored]
        self._add_product("length and reward", lengths, scores)
        for name in self.part_sums:
            values = [one.parts.get(name) for one in scored]
            self._add_product(f"part {name} and reward", values, scores)
            self._add_product(f"part {name} and length", values, lengths)

    def _add_product(self, name: str, first: Sequence[float | None], second: Sequence[float | None]) -> None:
        """Add the sums of squares and products within one group, and the sums for the standard error of a slope."""
        pairs = [pair for pair in zip(first, second, strict=True) if pair[0] is not None and pair[1] is not None]
        if len(pairs) < 2:  # noqa: PLR2004 - one value does not vary
            return
        xs, ys = (_center([float(each or 0) for each in column]) for column in zip(*pairs, strict=True))
        cross, square, other = _product(xs, ys), _product(xs, xs), _product(ys, ys)
        if square <= 0 and other <= 0:
            return
        sums = self.within.setdefault(name, [0.0] * 7)
        for place, amount in enumerate((cross, square, other, cross * cross, cross * square, square * square, 1.0)):
            sums[place] += amount

    def correlation(self, name: str) -> Interval | None:
        """Return a correlation within groups, with an interval that is robust to clusters (Liang and Zeger 1986).

        The groups are the clusters. It is None if one of the values does not vary within groups.
        """
        cross, square, other, crosses, mixed, squares, groups = self.within.get(name, [0.0] * 7)
        if square <= 0 or other <= 0 or groups < 2:  # noqa: PLR2004 - an interval needs two clusters
            return None
        slope, value = cross / square, cross / math.sqrt(square * other)
        spread = max(0.0, crosses - 2 * slope * mixed + slope * slope * squares) * groups / (groups - 1)
        half = t_quantile(int(groups) - 1) * math.sqrt(spread / square / other)
        return Interval(value, max(-1.0, value - half), min(1.0, value + half))


def _keep(kept: dict[str, Any], heap: list[tuple[int, str]], key: str, most: int) -> bool:
    """Return whether a prompt belongs to the `most` prompts with the smallest hashes; drop the one that no longer does.

    A prompt that is kept at the end was kept from its first rollout on, so its sums are complete.
    """
    if key in kept:
        return True
    rank = -int.from_bytes(hashlib.sha256(key.encode("utf-8", "replace")).digest()[:8], "big")
    if len(kept) >= most:
        if rank <= heap[0][0]:
            return False
        del kept[heapq.heapreplace(heap, (rank, key))[1]]
    else:
        heapq.heappush(heap, (rank, key))
    return True


def _shorten_texts(record: Record, most: int = _TEXT) -> Record:
    """Return a record with the middle of long texts removed. The end stays, because it often shows the problem."""
    answer, prompt = _shorten(record.answer, most), _shorten(record.prompt, most)
    return (
        record if answer == record.answer and prompt == record.prompt else replace(record, answer=answer, prompt=prompt)
    )


def _shorten(text: str | None, most: int) -> str | None:
    if text is None or len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters …]\n{text[-half:]}"


def _center(values: list[float]) -> list[float]:
    middle = math.fsum(values) / len(values)
    return [value - middle for value in values]


def _product(first: list[float], second: list[float]) -> float:
    return sum(map(float.__mul__, first, second))
