"""Events and training metrics of a job."""

from __future__ import annotations

from bedrock_rft.types._payload import Payload


class TrainingMetrics(Payload):
    """Metrics of one training step. Names that the service adds later are kept in `model_extra`.

    A value that is not a number reads as None. NaN and the infinities are kept as floats, and become null when the
    model is written as JSON again. The interpretations follow AWS's guide to reinforcement fine-tuning.
    """

    step: int | None = None
    """The training step, from 1."""
    total_steps: int | None = None
    """Total number of steps of the job."""
    critic_rewards_mean: float | None = None
    """Mean reward of this step's rollouts. It should rise. If it stays low, check the reward and the dataset."""
    actor_pg_loss: float | None = None
    """Policy-gradient loss. Its sign and size alone mean little; a jump means that something changed."""
    actor_entropy: float | None = None
    """Entropy of the policy, in nats per token. It falls as the model becomes certain; near 0 means mode collapse."""
    actor_grad_norm: float | None = None
    """Norm of the gradient. Spikes mean instability: lower the learning rate."""
    critic_advantages_mean: float | None = None
    """Mean advantage. Near 0 by construction in GRPO. Exactly 0 means that all rewards were equal."""
    response_length_mean: float | None = None
    """Mean length of the answers, in tokens. Continued growth is often reward hacking."""


class Event(Payload):
    """An event of a job (`GET /fine_tuning/jobs/{id}/events`)."""

    id: str = ""
    """Opaque id of the event; empty if the service sent none."""
    object: str = "fine_tuning.job.event"
    created_at: int | None = None
    """Unix seconds. Many events share a second, so the time cannot serve as a cursor."""
    level: str = "info"
    """`info`, `warn` or `error`; other values are kept."""
    message: str = ""
    """Text for people, unchanged from the service. Escape it before printing."""
    type: str = "message"
    """`message` or `metrics`; other values are kept, with their `data`."""
    data: TrainingMetrics | None = None
    """The metrics if `type` is `metrics`; for other types, the fields are in `data.model_extra`."""

    @property
    def metrics(self) -> TrainingMetrics | None:
        """Return the metrics of a training step, or None for other events."""
        return self.data if self.type == "metrics" else None
