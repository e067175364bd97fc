"""What a job says while it runs."""

from __future__ import annotations

from bedrock_rft.types._payload import Payload

__all__ = ["Event", "TrainingMetrics"]


class TrainingMetrics(Payload):
    """The numbers of one training step. Names the service adds later are kept in `model_extra`.

    A value that is not a number reads as None. NaN and the infinities are kept as floats, and become null when the
    model is written as JSON again. How to read them follows AWS's guide to reinforcement fine-tuning.
    """

    step: int | None = None
    """The training step, from 1."""
    total_steps: int | None = None
    """How many steps the job will take."""
    critic_rewards_mean: float | None = None
    """Mean reward of this step's rollouts. It should rise; where it stays low, look at the reward and the data."""
    actor_pg_loss: float | None = None
    """Policy-gradient loss. Its sign and size say little by themselves; a jump says that something changed."""
    actor_entropy: float | None = None
    """Entropy of the policy, in nats per token. It falls as the model grows sure; near 0 is mode collapse."""
    actor_grad_norm: float | None = None
    """Norm of the gradient. Spikes are instability: lower the learning rate."""
    critic_advantages_mean: float | None = None
    """Mean advantage. Near 0 by construction in GRPO; exactly 0 throughout means that all rewards were equal."""
    response_length_mean: float | None = None
    """Mean length of the answers, in tokens. Growing without end is often reward hacking."""


class Event(Payload):
    """One line of a job's log (`GET /fine_tuning/jobs/{id}/events`)."""

    id: str = ""
    """Opaque. Empty where the service sent none."""
    object: str = "fine_tuning.job.event"
    created_at: int | None = None
    """Unix seconds. Many events share one second, so this is no cursor."""
    level: str = "info"
    """`info`, `warn` or `error`; others are kept."""
    message: str = ""
    """For people. It comes from the service as it is: escape it before printing."""
    type: str = "message"
    """`message` or `metrics`; others are kept, with whatever `data` they carry."""
    data: TrainingMetrics | None = None
    """The numbers, where `type` is `metrics`; for another type, its fields are in `data.model_extra`."""

    @property
    def metrics(self) -> TrainingMetrics | None:
        """The numbers of a training step, or None for any other event."""
        return self.data if self.type == "metrics" else None
