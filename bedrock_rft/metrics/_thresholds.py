"""From where on a number says that something is wrong with a run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """From where on a number says that something is wrong with a run. Each can be set.

    All compare medians of several steps, or count steps, since a single step of few prompts says little.

    What a level is taken from is said of it; everything else is this project's choice.

    Attributes:
        enough: steps before anything but a number that is not finite is judged.
        window: steps that "at first" and "lately" are medians of; a third of the run where it is shorter.
        reward_low: a reward that stays under it points to the reward function or the data. For rewards between 0 and 1
            only.
        reward_high: a reward above it from the beginning leaves nothing to learn: AWS's user guide (Reinforcement
            fine-tuning for Amazon Nova models) says so of a base model above 95 %. For rewards between 0 and 1 only.
        flat_steps: steps before a reward is called flat; one that never changes is from `enough` on.
        flat_share: how much of the run must be over before that, where its length is known.
        flat_gain: a rise by less is none.
        flat_visible: a reward is only called flat where a rise by this much, over the run so far, would have shown
            above the noise with near certainty. These four are such that no healthy run of the published shape is
            called flat; "rising" is Mann's test of trend (Econometrica 13, 1945) at two deviations.
        entropy_share: entropy that falls under this share of what it was at first has collapsed. Cui et al. (arXiv
            2505.22617) find that it falls sharply early in a run that does nothing against it, and that what is gained
            ends with it; Yu et al. (DAPO, arXiv 2503.14476) meet the same.
        entropy_least: the same as a bound in nats per token.
        spike_ratio: a gradient norm this many times the median of the steps before it is a spike.
        spike_deviations: and it must lie this many deviations above that median, on a scale of logarithms; deviations
            are those of the median, as in Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993), who take 3.5
            for an outlier.
        spikes: as many of them are a warning; one may be a batch.
        length_ratio: responses that grow to this many times their length at first run away. Singhal et al. (arXiv
            2310.03716) find that most of what learning from a reward model gains may be length, and Liu et al. (arXiv
            2503.20783) that GRPO itself makes answers longer, wrong ones above all.
        zero_steps: as many steps in a row without any advantage are a warning: all answers to a prompt were rewarded
            alike, and nothing was learned from them. Yu et al. (DAPO) leave such prompts out.
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
