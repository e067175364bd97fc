"""Training method: grader and hyperparameters, in the names of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from bedrock_rft._core.errors import ConfigurationError
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.types._payload import Payload, Request
from bedrock_rft.types.arn import LambdaArn


class LambdaFunction(Request):
    """The reward function of a Lambda grader."""

    function: LambdaArn


class LambdaGrader(Request):
    """A grader that is a Lambda function: `{"type": "lambda", "lambda": {"function": ARN}}`."""

    type: Literal["lambda"] = "lambda"
    lambda_: Annotated[LambdaFunction, Field(alias="lambda")]

    @classmethod
    def of(cls, arn: str) -> LambdaGrader:
        """Return the grader for the ARN of a function. Raise `ConfigurationError` for any other text."""
        return cls(lambda_=LambdaFunction(function=LambdaArn(arn)))

    @property
    def arn(self) -> LambdaArn:
        """Return the ARN of the function."""
        return self.lambda_.function


class OtherGrader(Payload):
    """A grader of an unknown type. Its fields are in `model_extra`."""

    type: str = ""


Grader = Annotated[LambdaGrader | OtherGrader, Field(union_mode="left_to_right")]
"""The Lambda grader is tried first, because OpenAI's union parses it as another grader type."""

_DOCUMENTED = ("n_epochs", "batch_size", "learning_rate_multiplier")
# Names of the same settings in the Bedrock control plane and in other trainers.
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
    """Hyperparameters of a job. The service chooses those that are left out.

    Three hyperparameters are documented. Any other name is sent with a warning, because the service may accept new
    names. A name that resembles a known name raises an error, because a misspelt setting could be ignored.
    """

    n_epochs: Annotated[int, Field(strict=True, gt=0)] | None = None
    """Passes over the training data."""
    batch_size: Annotated[int, Field(strict=True, gt=0)] | None = None
    """Prompts per training step."""
    learning_rate_multiplier: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    """Factor for the learning rate of the service. AWS recommends less than 1.0 if training is unstable."""

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, fields: Any) -> Any:
        if isinstance(fields, Mapping):
            for name in cast("Mapping[object, object]", fields):
                if name not in _DOCUMENTED:
                    _warn_unknown(str(name))
        return cast("Any", fields)

    @classmethod
    def of(cls, value: Hyperparameters | Mapping[str, Any]) -> Hyperparameters:
        """Return hyperparameters from a model or a mapping. Raise `ConfigurationError` for invalid values."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigurationError(
                f"hyperparameters must be a mapping such as {{'n_epochs': 1}}, not {type(value).__name__}."
            )
        return cls(**dict(value))

    def sent(self) -> dict[str, Any]:
        """Return the hyperparameters that are set, for the request."""
        return self.model_dump(exclude_none=True)


def _warn_unknown(name: str) -> None:
    import difflib  # only needed for undocumented names

    folded = name.lower().replace("_", "").replace("-", "")
    close = difflib.get_close_matches(name, _DOCUMENTED, n=1, cutoff=_NEAR)
    meant = _ALIASES.get(folded) or (close[0] if close else None)
    if meant:
        raise ValueError(f"unknown hyperparameter '{name}'; did you mean '{meant}'?")
    warn_once(
        f"'{name}' is not a documented hyperparameter. It is sent unchanged. Documented: {', '.join(_DOCUMENTED)}."
    )


class JobHyperparameters(Payload):
    """Hyperparameters that a job reports: numbers, `auto` or None."""

    n_epochs: int | float | str | None = None
    batch_size: int | float | str | None = None
    learning_rate_multiplier: int | float | str | None = None


class Reinforcement(Payload):
    """Settings of the method `reinforcement`."""

    grader: Grader | None = None
    hyperparameters: JobHyperparameters | None = None


class Method(Payload):
    """Training method of a job. Fields of unknown types are kept in `model_extra`."""

    type: str = "reinforcement"
    reinforcement: Reinforcement | None = None
