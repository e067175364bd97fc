"""From where on a number says that something is wrong with a run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Thresholds"]


@dataclass(frozen=True)
class Thresholds:
    """From where on a number says that something is wrong with a run. Each can be set.

    All compare medians of several steps, or count steps, since a single step of few prompts says little.

    Attributes:
        enough: steps before anything but a number that is not finite is judged. This project's choice.
        window: steps that "at first" and "lately" are medians of; a third of the run where it is shorter.
        reward_low: a reward that stays under it points to the reward function or the data. AWS's guide to
            reinforcement fine-tuning on Bedrock: 0.15. For rewards between 0 and 1 only.
        reward_high: a reward above it from the beginning leaves nothing to learn. AWS's guide, of the base model: 0.95.
            For rewards between 0 and 1 only.
        flat_steps: steps before a reward is called flat; one that never changes is from `enough` on.
        flat_share: how much of the run must be over before that, where its length is known.
        flat_gain: a rise by less is none.
        flat_visible: a reward is only called flat where a rise by this much, over the run so far, would have shown
            above the noise with near certainty. These four are this project's choice, such that no healthy run of the
            published shape is called flat; "rising" is Mann's test of trend (Econometrica 13, 1945) at two deviations.
        entropy_share: entropy that falls under this share of what it was at first has collapsed. AWS's guide: towards 0
            is mode collapse. How near is this project's choice; in Cui et al. (arXiv 2505.22617) and Yu et al. (DAPO,
            arXiv 2503.14476) runs that lost nine tenths of it early had stopped to improve.
        entropy_least: the same as a bound in nats per token.
        spike_ratio: a gradient norm this many times the median of the steps before it is a spike. AWS's guide: spikes
            are instability. Their size is this project's choice.
        spike_deviations: and it must lie this many deviations above that median, on a scale of logarithms; deviations
            are those of the median, as in Iglewicz and Hoaglin (1993), who take 3.5 for an outlier.
        spikes: as many of them are a warning; one may be a batch.
        length_ratio: responses that grow to this many times their length at first run away. AWS's guide: exploding
            length is reward hacking. Singhal et al. (arXiv 2310.03716) and Liu et al. (arXiv 2503.20783) show length
            growing without the answers getting better; the ratio is this project's choice.
        zero_steps: as many steps in a row without any advantage are a warning: all answers to a prompt were rewarded
            alike, and nothing was learned from them, as in Yu et al. (DAPO). The number is this project's choice.
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
