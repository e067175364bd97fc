"""How a job trains: the reward and the settings, as the service spells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from bedrock_rft._core.errors import ConfigurationError
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.types._payload import Payload, Request
from bedrock_rft.types.arn import LambdaArn

__all__ = [
    "Grader",
    "Hyperparameters",
    "JobHyperparameters",
    "LambdaFunction",
    "LambdaGrader",
    "Method",
    "OtherGrader",
    "Reinforcement",
]


class LambdaFunction(Request):
    """The function that scores."""

    function: LambdaArn


class LambdaGrader(Request):
    """A reward that is a Lambda function: `{"type": "lambda", "lambda": {"function": ARN}}`."""

    type: Literal["lambda"] = "lambda"
    lambda_: Annotated[LambdaFunction, Field(alias="lambda")]

    @classmethod
    def of(cls, arn: str) -> LambdaGrader:
        """Build the grader for a function's ARN. Raises `ConfigurationError` where it is none."""
        return cls(lambda_=LambdaFunction(function=LambdaArn(arn)))

    @property
    def arn(self) -> LambdaArn:
        """The function's ARN."""
        return self.lambda_.function


class OtherGrader(Payload):
    """A grader of a type this version does not know. Its fields are in `model_extra`."""

    type: str = ""


Grader = Annotated[LambdaGrader | OtherGrader, Field(union_mode="left_to_right")]
"""A Lambda grader first: OpenAI's own union reads one as another grader that happens to have a `type`."""

_DOCUMENTED = ("n_epochs", "batch_size", "learning_rate_multiplier")
# The Bedrock control plane's names, and the ones other trainers use, for the same things.
_ALIASES = {
    "epochs": "n_epochs",
    "epochcount": "n_epochs",
    "numepochs": "n_epochs",
    "numtrainepochs": "n_epochs",
    "batch": "batch_size",
    "batchsize": "batch_size",
    "perdevicetrainbatchsize": "batch_size",
    "lr": "learning_rate_multiplier",
    "learningrate": "learning_rate_multiplier",
    "learningratemultiplier": "learning_rate_multiplier",
    "lrmultiplier": "learning_rate_multiplier",
}
_NEAR = 0.8


class Hyperparameters(Request):
    """The settings of a job. Leave one out to let the service choose.

    Three are documented. Any other name is passed on with a warning, since the service may learn new ones; a near miss
    of a known name is refused, since a setting that is silently ignored costs a whole run.
    """

    n_epochs: Annotated[int, Field(strict=True, gt=0)] | None = None
    """Passes over the training data."""
    batch_size: Annotated[int, Field(strict=True, gt=0)] | None = None
    """Prompts per training step."""
    learning_rate_multiplier: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    """Scales the service's own learning rate. AWS advises less than 1.0 where training is unstable."""

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping):
            for name in cast("Mapping[object, object]", fields):
                if name not in _DOCUMENTED:
                    _unknown(str(name))
        return cast("Any", fields)

    @classmethod
    def of(cls, value: Hyperparameters | Mapping[str, Any]) -> Hyperparameters:
        """Take the model itself or a mapping. Raises `ConfigurationError` for anything else, and for bad values."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"hyperparameters must be a mapping such as {{'n_epochs': 1}}, not {type(value).__name__}."
            )
        return cls(**dict(value))

    def sent(self) -> dict[str, Any]:
        """What goes to the service: the settings that were made."""
        return self.model_dump(exclude_none=True)


def _unknown(name: str) -> None:
    import difflib  # only a name that is not documented needs it

    folded = name.lower().replace("_", "").replace("-", "")
    close = difflib.get_close_matches(name, _DOCUMENTED, n=1, cutoff=_NEAR)
    meant = _ALIASES.get(folded) or (close[0] if close else None)
    if meant:
        raise ValueError(f"there is no hyperparameter '{name}'; did you mean '{meant}'?")
    warn_once(f"'{name}' is not a documented hyperparameter ({', '.join(_DOCUMENTED)}); it is sent as it is.")


class JobHyperparameters(Payload):
    """The settings as a job reports them: numbers, `auto`, or nothing."""

    n_epochs: int | float | str | None = None
    batch_size: int | float | str | None = None
    learning_rate_multiplier: int | float | str | None = None


class Reinforcement(Payload):
    """The settings of reinforcement fine-tuning."""

    grader: Grader | None = None
    hyperparameters: JobHyperparameters | None = None


class Method(Payload):
    """How a job trains. A type this version does not know keeps its fields in `model_extra`."""

    type: str = "reinforcement"
    reinforcement: Reinforcement | None = None
