"""Difficulty of prompts: the rewards of several answers to each prompt, and the expected training signal."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, TypeAlias

from bedrock_rft._core.buckets import group_by_value
from bedrock_rft._core.findings import JsonReport, clip, fact_lines, summary_html, write_text
from bedrock_rft._core.group_signal import Signal, group_signal, mean_signal, signal_chances
from bedrock_rft._core.statistics import Interval, agresti_coull, passes, share_interval
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._runtime.rollout_log import hash_prompt

GROUP_SIZE = 8
"""Default number of answers to a prompt in a step. The number that the service uses is not documented."""

_LOCAL_NOTE = "answers of the local service or a rehearsal, which know the references: not the difficulty for a model"
_MAX_FIELD_CHARS = 200
_BAR_WIDTH = 30
_EDGES = (0.0, 0.25, 0.5, 0.75, 1.0)

FieldValue: TypeAlias = str | int | float | bool | None
Decision = Literal["kept", "too hard", "too easy", "not sampled"]


@dataclass(frozen=True)
class PromptDifficulty(JsonReport):
    """The rewards of several answers to one prompt.

    Attributes:
        prompt_hash: SHA-256 of the prompt's messages in hexadecimal, as in recorded rollouts.
        rewards: the reward of each answer.
        passed: number of answers whose reward reaches the pass mark.
        fields: further fields of the record that are numbers, booleans or texts of up to 200 characters.
    """

    prompt_hash: str
    rewards: tuple[float, ...]
    passed: int
    fields: Mapping[str, FieldValue] = field(default_factory=dict[str, FieldValue])
    _derived = ("samples", "pass_rate", "mean", "spread")

    @property
    def samples(self) -> int:
        """The number of answers."""
        return len(self.rewards)

    @property
    def pass_rate(self) -> float:
        """The share of answers that pass, from 0 to 1."""
        return self.passed / self.samples

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the pass rate (Agresti-Coull, which contains Wilson's)."""
        return agresti_coull(self.pass_rate, self.samples)

    @property
    def mean(self) -> float:
        """The mean reward."""
        return fmean(self.rewards)

    @property
    def spread(self) -> float:
        """The standard deviation of the rewards; 0 for one answer."""
        return stdev(self.rewards) if self.samples > 1 else 0.0


@dataclass(frozen=True)
class FieldDifficulty(ShortRepr):
    """The difficulty of the prompts with one value of a record field.

    Attributes:
        field: the record field.
        value: the value of the field, or a range of values.
        prompts: number of prompts.
        pass_rate: mean pass rate of the prompts, with its 95 % interval.
        mean: mean over prompts of the mean reward of a prompt.
        spread: mean over prompts of the standard deviation of the rewards of a prompt.
        signal: the expected signal in groups of the chosen size; None if it is unknown.
    """

    field: str
    value: str
    prompts: int
    pass_rate: Interval
    mean: float
    spread: float
    signal: Signal | None


@dataclass(frozen=True)
class Difficulty(ShortRepr):
    """The difficulty of each prompt for a model. Print it, or display it in a notebook.

    `client.evaluate(…).difficulty()` and `Rollouts.difficulty()` create it. `datasets.select` uses it to choose
    prompts.

    Attributes:
        prompts: the sampled prompts by hash.
        pass_mark: the lowest reward with which an answer passes.
        origin: the origin of the answers, such as the model and the file; may be empty.
        local_service: True if the local service or a rehearsal gave answers. They know the references, so the table
            does not show the difficulty for a model.
    """

    prompts: Mapping[str, PromptDifficulty]
    pass_mark: float = 1.0
    origin: str = ""
    local_service: bool = False

    @classmethod
    def from_rewards(
        cls,
        rewards: Mapping[str, Sequence[float]],
        *,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
        pass_mark: float = 1.0,
        origin: str = "",
        local_service: bool = False,
    ) -> Difficulty:
        """Build the table from the rewards of each prompt.

        Args:
            rewards: the rewards of the answers, by the hash of the prompt. A prompt without rewards is left out.
            fields: further fields of the record, by the hash of the prompt.
            pass_mark: the lowest reward with which an answer passes.
            origin: the origin of the answers.
            local_service: whether the local service or a rehearsal gave answers.

        Raises:
            ConfigurationError: there are no rewards, or a number is not finite.
        """
        if not math.isfinite(pass_mark):
            raise ConfigurationError(f"pass_mark is {pass_mark}. Use the reward that an answer needs to pass.")
        prompts: dict[str, PromptDifficulty] = {}
        for prompt_hash, several in rewards.items():
            if not all(map(math.isfinite, several)):
                raise ConfigurationError(f"The rewards of prompt {prompt_hash[:12]}… have a value that is not finite.")
            if several:
                passed = sum(passes(reward, pass_mark) for reward in several)
                prompt_fields = short_fields((fields or {}).get(prompt_hash, {}))
                prompts[prompt_hash] = PromptDifficulty(prompt_hash, tuple(several), passed, prompt_fields)
        if not prompts:
            raise ConfigurationError("There are no rewards, so there is no prompt with a known difficulty.")
        return cls(prompts, pass_mark, origin, local_service)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Difficulty:
        """Read a file that `to_json` wrote.

        Raises:
            ConfigurationError: the file cannot be read, or `to_json` did not write it.
        """
        name = sanitize_line(os.fspath(path), 200)
        try:
            content: Any = json.loads(Path(path).read_bytes())
            rows = {str(row["prompt_hash"]): row for row in content["prompts"]}
            return cls.from_rewards(
                {prompt_hash: [float(reward) for reward in row["rewards"]] for prompt_hash, row in rows.items()},
                fields={prompt_hash: dict(row["fields"]) for prompt_hash, row in rows.items()},
                pass_mark=float(content["pass_mark"]),
                origin=str(content["origin"]),
                local_service=bool(content.get("local_service")),
            )
        except OSError as error:
            raise ConfigurationError(f"{name} cannot be read: {error.strerror}.") from None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ConfigurationError(f"{name} is not a difficulty that Difficulty.to_json wrote.") from None

    @property
    def note(self) -> str:
        """A warning about the origin of the answers; empty if a model gave them."""
        return _LOCAL_NOTE if self.local_service else ""

    @property
    def samples(self) -> int:
        """The smallest number of answers to a prompt."""
        return min(prompt.samples for prompt in self.prompts.values())

    @property
    def pass_rate(self) -> Interval:
        """The mean pass rate of the prompts, with its 95 % interval over prompts."""
        return _mean_pass_rate([*self.prompts.values()])

    def by(self, name: str, *, group_size: int = GROUP_SIZE) -> tuple[FieldDifficulty, ...]:
        """Return the difficulty for each value of a record field. Numbers with many values are grouped in quarters.

        Args:
            name: the field.
            group_size: answers to a prompt in one step, for the signal.

        Raises:
            ConfigurationError: no prompt has the field.
        """
        prompts = [*self.prompts.values()]
        names = sorted({known for prompt in prompts for known in prompt.fields})
        if name not in names:
            known = f"They have {', '.join(names[:20])}." if names else "They have no fields."
            raise ConfigurationError(f"No prompt has the field '{sanitize_line(name, 80)}'. {known}")
        return tuple(
            FieldDifficulty(
                field=name,
                value=value,
                prompts=len(group),
                pass_rate=_mean_pass_rate(group),
                mean=fmean(prompt.mean for prompt in group),
                spread=fmean(prompt.spread for prompt in group),
                signal=_expected_signal(group, group_size),
            )
            for value, group in group_by_value(prompts, lambda prompt: prompt.fields.get(name))
        )

    def signal(
        self, *, low: float | None = None, high: float | None = None, group_size: int = GROUP_SIZE
    ) -> Signal | None:
        """Estimate the share of prompts whose rewards differ in a group, for all prompts or for a selection.

        Without a selection and with `group_size` answers to each prompt, the estimate is unbiased. For a selection, the
        estimate is the mean of `chances` over the kept prompts, because the answers that decided on them would show too
        much signal.

        Args:
            low: keep prompts with at least this pass rate.
            high: keep prompts with at most this pass rate.
            group_size: answers to a prompt in one step.

        Returns:
            The estimate, with its interval; None if no prompt has two answers, or a selection keeps none.
        """
        if low is None and high is None:
            return _expected_signal([*self.prompts.values()], group_size)
        chances = self.chances(group_size)
        limits = 0.0 if low is None else low, 1.0 if high is None else high
        selection = [self.prompts[known] for known in chances if self.decide(known, *limits) == "kept"]
        if not selection:
            return None
        samples = min(prompt.samples for prompt in selection)
        return mean_signal([chances[prompt.prompt_hash] for prompt in selection], samples, group_size, selected=True)

    def chances(self, group_size: int = GROUP_SIZE) -> dict[str, float]:
        """Return, by the hash of the prompt, the chance that its rewards differ in a group of new answers.

        Prompts with one answer are left out, because their chance is unknown.
        """
        _check_group_size(group_size)
        prompts = [prompt for prompt in self.prompts.values() if prompt.samples > 1]
        if not prompts:
            return {}
        chances = signal_chances([prompt.rewards for prompt in prompts], group_size)
        return {prompt.prompt_hash: chance for prompt, chance in zip(prompts, chances, strict=True)}

    def decide(self, prompt_hash: str, low: float, high: float) -> Decision:
        """Return the result of a selection for a prompt: `kept`, `too hard`, `too easy` or `not sampled`."""
        prompt = self.prompts.get(prompt_hash)
        if prompt is None:
            return "not sampled"
        return "too hard" if prompt.pass_rate < low else "too easy" if prompt.pass_rate > high else "kept"

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return names and values that summarise the table."""
        prompts = [*self.prompts.values()]
        most = max(prompt.samples for prompt in prompts)
        samples = f"{self.samples:,}" if most == self.samples else f"{self.samples:,} to {most:,}"
        never, always = (sum(prompt.pass_rate == rate for prompt in prompts) for rate in (0, 1))
        rewards = f"mean {fmean(prompt.mean for prompt in prompts):.3f}"
        signal, selected_signal = self.signal(), self.signal(low=0.1, high=0.9)
        rows = [
            ("origin", self.origin),
            ("note", self.note),
            ("answers", f"{samples} to each prompt; they pass with a reward of at least {self.pass_mark:g}"),
            ("pass rate", f"{self.pass_rate}; never solved {never:,}, always {always:,}"),
            ("reward", f"{rewards}, spread within a prompt {fmean(prompt.spread for prompt in prompts):.3f}"),
            ("signal", _describe_signal(signal)),
            ("selected", f"{_describe_signal(selected_signal)}, with low=0.1, high=0.9" if selected_signal else ""),
        ]
        return [(name, value) for name, value in rows if value]

    def to_dict(self) -> dict[str, Any]:
        """Return the table as JSON values: the summary, and a row for each prompt."""
        signal = self.signal()
        rows = [
            {**prompt.to_dict(), "low": prompt.interval[0], "high": prompt.interval[1]}
            for prompt in self.prompts.values()
        ]
        return {
            "origin": self.origin,
            "local_service": self.local_service,
            "pass_mark": self.pass_mark,
            "pass_rate": asdict(self.pass_rate),
            "signal": signal and asdict(signal),
            "prompts": rows,
        }

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the table as JSON text, and write it to `path` if given, for `load` and `datasets.select`."""
        return write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False), path)

    def __str__(self) -> str:
        lines = [clip(f"Difficulty of {len(self.prompts):,} prompts"), *fact_lines(self.facts())]
        return "\n".join([*lines, "", f"  {'pass rate':<14}  prompts", *self._histogram_lines()])

    def _repr_html_(self) -> str:
        rows = [(name, f"{count:,}") for name, count in self._rate_counts()]
        return summary_html("Difficulty", f"{len(self.prompts):,} prompts", [*self.facts(), *rows], [])

    def _rate_counts(self) -> list[tuple[str, int]]:
        """Return the number of prompts with pass rate 0, in each quarter between 0 and 1, and with pass rate 1."""
        rates = [prompt.pass_rate for prompt in self.prompts.values()]
        last = len(_EDGES) - 2
        inner = [
            (f"{low:g} to {high:g}", sum(low < rate < high or (rate == high and place < last) for rate in rates))
            for place, (low, high) in enumerate(pairwise(_EDGES))
        ]
        return [("0", rates.count(0)), *inner, ("1", rates.count(1))]

    def _histogram_lines(self) -> list[str]:
        counts = self._rate_counts()
        most = max(count for _, count in counts)
        return [
            f"  {name:<14}  {count:>7,}  {'█' * round(_BAR_WIDTH * count / most)}".rstrip() for name, count in counts
        ]


def hash_messages(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the hash that identifies a prompt, to match answers to it.

    The hash is the SHA-256, in hexadecimal, of the role and content of the messages: the `prompt_hash` of recorded
    rollouts.

    Args:
        messages: the messages of a record, without an answer.
    """
    return hash_prompt([*messages, {"role": "assistant"}])  # a rollout ends with the answer


def short_fields(fields: Mapping[str, Any]) -> dict[str, FieldValue]:
    """Return the fields whose values are numbers, booleans, null or short texts."""
    return {
        name: value
        for name, value in fields.items()
        if value is None
        or (isinstance(value, str) and len(value) <= _MAX_FIELD_CHARS)
        or (isinstance(value, (int, float)) and math.isfinite(value))
    }


def _mean_pass_rate(prompts: Sequence[PromptDifficulty]) -> Interval:
    return share_interval([prompt.pass_rate for prompt in prompts], sum(prompt.samples for prompt in prompts))


def _check_group_size(group_size: int) -> None:
    if group_size < 2:  # noqa: PLR2004
        raise ConfigurationError(
            f"group_size={group_size!r} is not valid. Rewards are compared in groups of at least 2."
        )


def _expected_signal(prompts: Sequence[PromptDifficulty], group_size: int) -> Signal | None:
    _check_group_size(group_size)
    groups = [prompt.rewards for prompt in prompts if prompt.samples > 1]
    return group_signal(groups, group_size) if groups else None


def _describe_signal(signal: Signal | None) -> str:
    if signal is None:
        return "unknown, because no prompt has two answers"
    return f"in groups of {signal.group_size}, the rewards of {signal} of {signal.prompts:,} prompts differ"
