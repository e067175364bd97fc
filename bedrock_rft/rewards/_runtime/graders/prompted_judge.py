"""`ScoreModel` and `LabelModel`: judges with custom prompts, as OpenAI's `score_model` and `label_model`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.llm_judge import Judge, JudgeError
from bedrock_rft.rewards._runtime.graders.templates import (
    MissingFromSampleError,
    openai_inputs,
    render,
    validate_template,
)
from bedrock_rft.rewards._runtime.rollout import Rollout, Score

_SYSTEM_ROLES = ("system", "developer")
_FORMAT = (
    'Respond with one JSON object and nothing else: {{"steps": [{{"description": "…", "conclusion": "…"}}], "result": '
    "{result}}}. First reason in steps, then give the result."
)


@dataclass(frozen=True, eq=False, repr=False)
class _PromptedJudge(Judge):
    """A judge that gets messages made from templates, and responds with `{"steps": […], "result": …}`."""

    criteria: str | Mapping[str, str] = "the result"
    max_tokens: int = 4096
    temperature: float | None = None
    messages: Sequence[tuple[str, str]] = ()
    top_p: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "messages", tuple((str(role), str(text)) for role, text in self.messages))
        roles = [role for role, _ in self.messages if role not in _SYSTEM_ROLES]
        unknown = set(roles) - {"user", "assistant"}
        if unknown:
            raise ValueError(f"the roles of messages are system, developer, user and assistant, not {sorted(unknown)}")
        if not self.messages:
            raise ValueError("messages is empty; pass at least one message")
        if roles[:1] == ["assistant"]:
            raise ValueError("the first message after the system messages must have the role 'user', not 'assistant'")
        for _, text in self.messages:
            validate_template(text)

    def _result_format(self) -> str:
        """Return the description of a result."""
        raise NotImplementedError

    def _inference_settings(self) -> dict[str, Any]:
        return super()._inference_settings() | ({} if self.top_p is None else {"topP": self.top_p})

    def _conversation(self, rollout: Rollout) -> dict[str, Any]:
        sample, item = openai_inputs(rollout)
        system: list[str] = []
        turns: list[dict[str, Any]] = []
        for role, template in self.messages:
            text = render(template, sample, item)
            if role in _SYSTEM_ROLES:
                system.append(text)
            elif turns and turns[-1]["role"] == role:  # Converse requires turns that alternate
                turns[-1]["content"].append({"text": text})
            else:
                turns.append({"role": role, "content": [{"text": text}]})
        if not turns:  # Converse requires a message of the user
            turns, system = [{"role": "user", "content": [{"text": text} for text in system]}], []
        system.append(_FORMAT.format(result=self._result_format()))
        return {"system": [{"text": text} for text in system], "messages": turns}

    async def grade(self, rollout: Rollout) -> Score:
        try:
            self._conversation(rollout)
        except MissingFromSampleError:  # score 0 without a request, as other graders with templates do
            return Score(0.0)
        return await super().grade(rollout)

    def _result(self, response: Mapping[str, Any]) -> Any:
        parsed = self._parse_json(response)
        return cast("Mapping[str, Any]", parsed).get("result") if isinstance(parsed, Mapping) else parsed


@dataclass(frozen=True, eq=False, repr=False)
class ScoreModel(_PromptedJudge):
    """Score with a number that a model gives: OpenAI's `score_model`, on a model hosted by Bedrock.

    The messages are sent as they are, with a line that asks for `{"steps": […], "result": number}`, which OpenAI
    requests as a response format. The number is limited to the scale. If the response has no number, the rollout gets
    the handler's floor and counts as an error; with OpenAI it scores 0. The answer is part of your own text, so it can
    give the model instructions. `Judge` prevents that, because it delimits the answer.

    Attributes:
        model: id of a model or an inference profile.
        messages: pairs of a role (`system`, `developer`, `user` or `assistant`) and a template.
        scale: the lowest and the highest score. Unlike in `Judge`, the score is not mapped to 0…1.
        top_p: the share of tokens to sample from, or None.
        name: the name in `metrics_list`.

    The other settings are those of `Judge`; its `criteria` and `weights` are not used. The temperature is the model's
    own unless it is set.
    """

    scale: tuple[float, float] = (0, 1)
    name: str = "score_model"

    def _result_format(self) -> str:
        low, high = self.scale
        return f"a number from {low:g} to {high:g}"

    def _parse_scores(self, response: Mapping[str, Any]) -> dict[str, float]:
        low, high = self.scale
        return {"score": low + (high - low) * self._normalise(self._result(response), "result")}


@dataclass(frozen=True, eq=False, repr=False)
class LabelModel(_PromptedJudge):
    """Score 1 if a model gives the answer a passing label: OpenAI's `label_model`, on a model hosted by Bedrock.

    A response that is not one of the labels is an error. See `ScoreModel` for the messages.

    Attributes:
        model: id of a model or an inference profile.
        messages: pairs of a role and a template.
        labels: the labels from which the model chooses.
        passing_labels: the labels that score 1.
        top_p: the share of tokens to sample from, or None.
        name: the name in `metrics_list`.
    """

    labels: Sequence[str] = ()
    passing_labels: Sequence[str] = ()
    name: str = "label_model"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "passing_labels", tuple(self.passing_labels))
        if not self.passing_labels or not set(self.passing_labels) < set(self.labels):
            raise ValueError("passing_labels must be some of the labels, but not all of them")

    def _result_format(self) -> str:
        return f"one of {json.dumps(self.labels, ensure_ascii=False)}"

    def _parse_scores(self, response: Mapping[str, Any]) -> dict[str, float]:
        result = self._result(response)
        if result not in self.labels:
            raise JudgeError(f"{self.model} responded with none of the labels")
        return {"score": float(result in self.passing_labels)}
