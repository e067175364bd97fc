"""Thresholds of the health checks."""

from __future__ import annotations

from dataclasses import dataclass

from bedrock_rft._core.text import ShortRepr


@dataclass(frozen=True)
class Thresholds(ShortRepr):
    """Thresholds of the health checks. Each can be changed.

    All of them compare means or medians of several steps, or count steps, because a single step with few prompts is
    noisy. Shares of the reward are shares of `reward_range`. Thresholds without a source are choices of this project;
    `benchmarks/health.py` measures how often they find a fault and how often they raise a false alarm.

    Attributes:
        enough: number of values before anything except `not_finite` is judged; with fewer, the noise is unknown.
        window: number of steps whose mean is the first, best or last value; a third of a shorter job.
        reward_low: a reward whose last third stays below this share points to a problem of the reward function or the
            dataset. Source: AWS user guide, Reinforcement fine-tuning for Amazon Nova models (15 %).
        reward_high: a reward above this share from the start leaves little to learn. Source: the same guide (95 %).
        flat_share: share of the steps that must be over before a reward is called low or flat, because a healthy run
            may begin to learn after half of the job.
        flat_visible: a reward is called flat only if a rise of this share through the job was possible and would have
            been visible above the noise. Closer to the maximum, the reward may be on a plateau of a few steps; above
            half of the range, a rise in the first steps must have been visible too.
        rise_errors: a rise of this many standard errors is real; over all windows, fewer than one run without a trend
            in 100 exceeds it.
        flat_gain: a rise of less than this share does not count, however certain it is.
        fall_errors: a fall of this many standard errors is real. The limit is higher than `rise_errors`, because the
            fall is measured from the best of many windows, and is tested at each step while a run is watched.
        fall_least: a fall of less than this share does not count, because a healthy reward drifts a little.
        entropy_share: entropy below this share of its first value has collapsed. Cui et al. (arXiv 2505.22617) and Yu
            et al. (DAPO, arXiv 2503.14476) observe that entropy falls early and that improvement ends with it.
        entropy_least: entropy below this value, in nats per token, has collapsed too.
        spike_ratio: a gradient norm of this many times the preceding median is a spike.
        spike_deviations: a spike must also be this many robust standard deviations above that median, on a log scale.
            Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993) use 3.5 for outliers.
        spikes: this many spikes are a warning; a single spike may be due to one batch.
        gradient_ratio: a gradient norm of this many times its first value has blown up. A run whose first steps have
            hardly any signal may grow tenfold and be healthy.
        length_ratio: responses of this many times their first length run away. Singhal et al. (arXiv 2310.03716) find
            that gains from a reward model may be mostly length; Liu et al. (arXiv 2503.20783) find that GRPO itself
            lengthens answers, wrong ones most.
        length_share: responses below this share of their first length have collapsed; a healthy model may learn to
            answer in half the tokens.
        change_errors: a change of entropy or length must also have this many standard errors.
        zero_steps: this many consecutive steps without advantages are a warning: all answers to a prompt got the same
            reward, so nothing was learned. Yu et al. (DAPO) leave such prompts out.
        zero_share: these steps must also cover this share of the job, because a long job has such runs by chance.
    """

    enough: int = 15
    window: int = 10
    reward_low: float = 0.15
    reward_high: float = 0.95
    flat_share: float = 0.75
    flat_visible: float = 0.3
    rise_errors: float = 3.5
    flat_gain: float = 0.05
    fall_errors: float = 5.0
    fall_least: float = 0.1
    entropy_share: float = 0.2
    entropy_least: float = 0.01
    spike_ratio: float = 10.0
    spike_deviations: float = 6.0
    spikes: int = 2
    gradient_ratio: float = 30.0
    length_ratio: float = 2.0
    length_share: float = 0.25
    change_errors: float = 4.0
    zero_steps: int = 8
    zero_share: float = 0.15
