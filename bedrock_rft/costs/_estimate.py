"""The estimate of a run before it starts: steps, rollouts, invocations, tokens, hours and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_rft._core.findings import JsonReport, clip, wrap
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.costs._pace import Pace
from bedrock_rft.costs._prices import UNKNOWN, Price, Prices, canonical_model
from bedrock_rft.costs._ranges import Range, add, bill, format_hours, format_money

_PUBLISHED_STEPS, _EXPECTED_STEPS = 67, 75  # 300 records, batch 4, 1 epoch: 75 steps would be expected
_GROUP = Range(4, 16)
_CHARS_PER_TOKEN = (3.0, 5.0)
_VERDICT_TOKENS = 10
_HOUR, _MILLION = 3600.0, 1e6
_ROUNDED = 0.001  # Lambda rounds up to this many seconds


@dataclass(frozen=True)
class JudgeLoad:
    """A judge that each rollout calls once."""

    model: str
    prompt_chars: int  # of its instructions, without the rollout
    max_tokens: int  # of a response


@dataclass(frozen=True)
class Workload:
    """The sizes of a planned run. Each `…_basis` states how the figure above it was obtained."""

    records: int
    prompt_chars: float  # mean, of a prompt and its reference
    n_epochs: int
    batch_size: int  # prompts per step
    assumed: tuple[str, ...]  # names of the hyperparameters that were not given
    answer_tokens: Range
    answer_basis: str
    rollout_seconds: Range | None  # to score one rollout in Lambda; None if unknown
    rollout_basis: str
    memory: int = 512  # megabytes
    architecture: str = "x86_64"
    judges: tuple[JudgeLoad, ...] = ()
    evaluation: int = 100  # prompts that the base and the tuned model answer afterwards
    samples: int = 1  # answers to each of these prompts

    @property
    def prompts_per_step(self) -> int:
        """Return the number of prompts in a full step: the batch size, or all records if there are fewer."""
        return min(self.batch_size, self.records)

    @property
    def steps(self) -> Range:
        """Return the number of steps: at most one per batch, and at least the share that the published run had."""
        most = self.n_epochs * math.ceil(self.records / self.batch_size)
        return Range(max(1, most * _PUBLISHED_STEPS // _EXPECTED_STEPS), most)

    @property
    def rollouts(self) -> Range:
        """Return the number of answers to score."""
        prompts = self.n_epochs * self.records
        return Range(min(self.steps.low * self.batch_size, prompts) * _GROUP.low, prompts * _GROUP.high)

    @property
    def invocations(self) -> Range:
        """Return the invocations of the reward function: from one per step to one per rollout."""
        return Range(self.steps.low, self.rollouts.high)

    @property
    def prompt_tokens(self) -> Range:
        """Return the number of tokens in a prompt."""
        return _tokens(self.prompt_chars)


@dataclass(frozen=True)
class Item(JsonReport):
    """One part of an estimate.

    Attributes:
        name: the name of the part, such as `training`.
        quantity: how much of `unit` is used; None if unknown.
        unit: the unit of the quantity, such as `hours`.
        money: cost in the currency of the estimate; None if unknown.
        basis: the price, and how the quantity was obtained.
        monthly: True if the item is billed every month, and not once.
    """

    name: str
    quantity: Range | None
    unit: str
    money: Range | None
    basis: str
    monthly: bool = False


@dataclass(frozen=True)
class Estimate(JsonReport):
    """The expected steps, hours, tokens and cost of a run. Print it, or write it with `to_json`.

    All figures are ranges, because the number of answers per prompt, the speed of the service and its billing are not
    published.

    Attributes:
        title: a text that names the dataset and the model.
        steps: training steps.
        rollouts: answers to score.
        invocations: invocations of the reward function.
        hours: training hours. The time before the first and after the last step is included only if it was measured.
        items: the parts of the run, each with its cost.
        currency: the currency of all amounts, such as `USD`.
        assumptions: the assumptions behind the figures.
        notice: a warning about the prices.
        unknown: facts that are not published.
    """

    title: str
    steps: Range
    rollouts: Range
    invocations: Range
    hours: Range
    items: tuple[Item, ...]
    currency: str
    assumptions: tuple[str, ...] = ()
    notice: str = ""
    unknown: tuple[str, ...] = UNKNOWN
    _derived = ("total", "monthly", "missing")

    @property
    def total(self) -> Range:
        """Return the known cost of everything that is billed once; see `missing`."""
        return add(item.money for item in self.items if item.money is not None and not item.monthly)

    @property
    def monthly(self) -> Range:
        """Return the known cost of each month in which the tuned model is kept."""
        return add(item.money for item in self.items if item.money is not None and item.monthly)

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the names of the items whose cost is unknown."""
        return tuple(item.name for item in self.items if item.money is None)

    def __str__(self) -> str:
        missing = f", without {', '.join(self.missing)}" if self.missing else ""
        month = f"{format_money(self.monthly, self.currency)} a month while the tuned model is kept"
        storage = month if self.monthly.high else "storage unknown"
        lines = [
            clip(sanitize_line(self.title)),
            *wrap(f"about {format_money(self.total, self.currency)}{missing}; {storage}"),
            *wrap(
                f"{self.steps} step{'s' * (self.steps.high != 1)}, {self.rollouts} rollouts, "
                f"{self.invocations} invocations, {format_hours(self.hours)} of training"
            ),
        ]
        for item in self.items:
            money = "cost unknown" if item.money is None else format_money(item.money, self.currency)
            quantity = f"{item.quantity} {item.unit}" if item.quantity is not None else "amount unknown"
            lines += wrap(f"{item.name}: {money}{' a month' * item.monthly}, {quantity} ({sanitize_line(item.basis)})")
        lines += [line for each in self.assumptions for line in wrap(f"assumed: {sanitize_line(each)}")]
        lines += wrap(f"prices: {sanitize_line(self.notice)}") if self.notice else []
        return "\n".join([*lines, *wrap(f"not known: {'; '.join(self.unknown)}")])


def estimate(
    title: str, load: Workload, model: str, prices: Prices, pace: Pace, *, region: str | None = None
) -> Estimate:
    """Estimate a run. `title` names the dataset; the prices of `region` are preferred."""
    table = _Table(prices, region)
    seconds = pace.step_seconds(load.prompts_per_step).times(load.steps)
    seconds = Range(seconds.low, seconds.high + pace.around.high) if pace.around else seconds
    hours = seconds.times(1 / _HOUR)
    items = [
        _training(table, hours, model, pace),
        *_reward(table, load),
        *_judges(table, load),
        *_evaluation(table, load, model),
        _storage(table, model),
    ]
    assumptions = [
        "4 to 16 answers per prompt, because their number is not documented",
        "the one published run (300 records, 4 per step) had 67 steps, not 75, so there may be 11 % fewer steps",
        f"an answer has {load.answer_tokens} tokens: {load.answer_basis}",
        "a token has 3 to 5 characters",
    ]
    if load.assumed:
        values = ", ".join(f"{name} {getattr(load, name)}" for name in load.assumed)
        assumptions.insert(
            0, f"{values}, as in the documented example, because no value was given and the service chooses one"
        )
    if load.batch_size > load.records:
        assumptions.append(
            f"a step has {load.records:,} prompts, because the data have no more; batch_size is {load.batch_size:,}"
        )
    if pace.around is None:
        assumptions.append("the hours are from the first to the last step; the time before and after was not measured")
    return Estimate(
        f"Estimate for {title} with {model}",
        load.steps,
        load.rollouts,
        load.invocations,
        hours,
        tuple(items),
        prices.currency,
        (*assumptions, *table.notes_on_other_regions()),
        prices.notice or f"prices of {prices.origin}",
    )


@dataclass
class _Table:
    """Find prices, and remember which of them are for another region."""

    prices: Prices
    region: str | None
    used: list[Price] = field(default_factory=list[Price])

    def find(self, item: str, subject: str) -> Price | None:
        price = self.prices.find(item, subject, region=self.region)
        self.used += [price] if price is not None else []
        return price

    def notes_on_other_regions(self) -> Sequence[str]:
        regions = sorted({price.region for price in self.used if self.region and price.region != self.region})
        return [f"prices of {', '.join(regions)}, because no prices are known for {self.region}"] if regions else []


def _training(table: _Table, hours: Range, model: str, pace: Pace) -> Item:
    price = table.find("training", model)
    if price is None:
        return Item("training", hours, "hours", None, f"no price for {model} is known; pace: {pace.basis}")
    basis = f"{price}, from exact to whole hours; pace: {pace.basis}"
    return Item("training", hours, "hours", bill(hours, price.amount), basis)


def _reward(table: _Table, load: Workload) -> list[Item]:
    compute, requests = table.find("lambda_compute", load.architecture), table.find("lambda_requests", "lambda")
    count = load.invocations
    asked = Item(
        "Lambda requests",
        count,
        "invocations",
        count.times(requests.amount / _MILLION) if requests else None,
        f"{requests or 'price unknown'}; from one per step to one per rollout; the free tier is not subtracted",
    )
    if load.rollout_seconds is None:
        return [Item("Lambda compute", None, "GB-seconds", None, load.rollout_basis), asked]
    gigabytes = load.memory / 1024
    seconds = load.rollouts.times(load.rollout_seconds)
    used = Range(seconds.low, seconds.high + count.high * _ROUNDED).times(gigabytes)
    basis = f"{compute or 'price unknown'}; {load.memory:,} MB; {load.rollout_basis}; the free tier is not subtracted"
    return [Item("Lambda compute", used, "GB-seconds", used.times(compute.amount) if compute else None, basis), asked]


def _judges(table: _Table, load: Workload) -> list[Item]:
    items: list[Item] = []
    for judge in load.judges:
        read = _tokens(judge.prompt_chars).plus(load.prompt_tokens).plus(load.answer_tokens)
        written = Range(min(_VERDICT_TOKENS, judge.max_tokens), judge.max_tokens)
        basis = "one call per rollout, without retries"
        items.append(
            _inference(
                table, f"judge {canonical_model(judge.model)}", judge.model, "", load.rollouts, read, written, basis
            )
        )
    return items


def _evaluation(table: _Table, load: Workload, model: str) -> list[Item]:
    answers = Range(load.evaluation * load.samples, load.evaluation * load.samples)
    if not answers.high:
        return []
    basis = f"{load.evaluation:,} prompts, {load.samples} answer{'s' * (load.samples > 1)} each"
    read, written = load.prompt_tokens, load.answer_tokens
    return [
        _inference(table, "evaluation, base model", model, "", answers, read, written, basis),
        _inference(table, "evaluation, tuned model", model, "tuned_", answers, read, written, basis),
    ]


def _inference(
    table: _Table, name: str, model: str, kind: str, count: Range, read: Range, written: Range, basis: str
) -> Item:
    sent, received = table.find(f"{kind}input", model), table.find(f"{kind}output", model)
    tokens = count.times(read.plus(written))
    if sent is None or received is None:
        return Item(name, tokens, "tokens", None, f"no price for {model} is known; {basis}")
    money = count.times(read).times(sent.amount / _MILLION).plus(count.times(written).times(received.amount / _MILLION))
    rate = (
        f"{sent.currency} {sent.amount:g} in and {received.amount:g} out per {sent.unit} ({sent.region}, {sent.date})"
    )
    return Item(name, tokens, "tokens", money, f"{rate}; {basis}")


def _storage(table: _Table, model: str) -> Item:
    price, one = table.find("storage", model), Range(1, 1)
    basis = f"{price}; the billed period is not published" if price else f"no price for {model} is known"
    return Item(
        "storage of the tuned model", one, "model", one.times(price.amount) if price else None, basis, monthly=True
    )


def _tokens(chars: float) -> Range:
    return Range(chars / _CHARS_PER_TOKEN[1], chars / _CHARS_PER_TOKEN[0])


def batch_settings(hyperparameters: Mapping[str, Any]) -> tuple[int, int, tuple[str, ...]]:
    """Return `n_epochs`, `batch_size`, and the names of those that are missing and get values of AWS's example."""
    assumed = tuple(name for name in ("n_epochs", "batch_size") if name not in hyperparameters)
    return hyperparameters.get("n_epochs", 1), hyperparameters.get("batch_size", 4), assumed
