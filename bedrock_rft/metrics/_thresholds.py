"""Thresholds of the health checks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """Thresholds of the health checks. Each can be changed.

    All of them compare medians of several steps, or count steps, because a single step with few prompts is noisy.
    Thresholds without a source are choices of this project.

    Attributes:
        enough: number of steps before anything except `not_finite` is judged.
        window: number of steps whose median is the first and the last value; a third of a shorter job.
        reward_low: a reward that stays below points to a problem of the reward function or the dataset. Applies to
            rewards between 0 and 1.
        reward_high: a reward above it from the start leaves little to learn. Source: AWS user guide, Reinforcement
            fine-tuning for Amazon Nova models (95 %). Applies to rewards between 0 and 1.
        flat_steps: number of steps before a reward is called flat; a constant reward is flat after `enough` steps.
        flat_share: share of the steps that must be over before, if their total is known.
        flat_gain: a smaller rise does not count.
        flat_visible: a reward is called flat only if a rise of this size would be visible above the noise. With
            these four values, no healthy job like the published ones is called flat. A rise is a Mann-Kendall trend
            (Mann, Econometrica 13, 1945) of two standard deviations.
        entropy_share: entropy below this share of its first value has collapsed. Cui et al. (arXiv 2505.22617) and Yu
            et al. (DAPO, arXiv 2503.14476) observe that entropy falls early and that improvement ends with it.
        entropy_least: the same as an absolute value, in nats per token.
        spike_ratio: a gradient norm of this many times the preceding median is a spike.
        spike_deviations: it must also be this many robust standard deviations above that median, on a log scale.
            Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993) use 3.5 for outliers.
        spikes: this many spikes are a warning; one may be due to a single batch.
        length_ratio: responses of this many times their first length run away. Singhal et al. (arXiv 2310.03716) find
            that gains from a reward model may be mostly length; Liu et al. (arXiv 2503.20783) find that GRPO itself
            lengthens answers, wrong ones most.
        zero_steps: this many consecutive steps without advantages are a warning: all answers to a prompt got the same
            reward, so nothing was learned. Yu et al. (DAPO) leave such prompts out.
    """

    enough: int = 15
    window: int = 10
    reward_low: float = 0.15
    reward_high: float = 0.95
    flat_steps: int = 30
    flat_share: float = 0.5
    flat_gain: float = 0.05
    flat_visible: float = 0.2
    entropy_share: float = 0.1
    entropy_least: float = 0.01
    spike_ratio: float = 10.0
    spike_deviations: float = 6.0
    spikes: int = 2
    length_ratio: float = 2.0
    zero_steps: int = 8
