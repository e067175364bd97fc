"""Requests are strict, responses lenient, and types right if those of OpenAI are wrong for this service."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from bedrock_rft import BedrockRFTWarning, ConfigurationError, Event, Hyperparameters, Job, LambdaArn
from bedrock_rft.types import LambdaGrader, OtherGrader, Page, TrainingMetrics
from bedrock_rft.types.jobs import CreateJob, CreateMethod, CreateReinforcement

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
LAMBDA = {"type": "lambda", "lambda": {"function": ARN}}


def job(**fields: Any) -> Job:
    return Job.read(json.dumps({"id": "j", "status": "running", **fields}).encode())


def reinforcement(grader: Any, **settings: Any) -> dict[str, Any]:
    return {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": settings}}


class TestTypesThatOpenAIGetsWrong:
    """Each test includes the result of OpenAI's type, so that a change there is noticed."""

    fields: ClassVar[dict[str, Any]] = {
        "id": "j", "object": "fine_tuning.job", "created_at": 1, "model": "m", "organization_id": "o", "seed": 0,
        "hyperparameters": {}, "result_files": [], "training_file": "f", "status": "paused",
        "method": reinforcement(LAMBDA, n_epochs=1),
    }  # fmt: skip

    def test_a_lambda_grader_is_recognised(self) -> None:
        theirs = FineTuningJob.construct(**self.fields)
        assert theirs.method is not None
        assert theirs.method.reinforcement is not None
        assert "lambda" not in type(theirs.method.reinforcement.grader).__name__.lower()
        ours = job(**self.fields)
        assert ours.method is not None
        assert ours.method.reinforcement is not None
        assert isinstance(ours.method.reinforcement.grader, LambdaGrader)
        assert ours.reward == ARN

    def test_metrics_of_an_event_are_typed(self) -> None:
        data = {"step": 4, "total_steps": 67, "critic_rewards_mean": 0.4375, "new_metric": 2}
        fields: Any = {"id": "e", "object": "o", "created_at": 1, "level": "info", "message": "m"}
        fields |= {"type": "metrics", "data": data}
        assert isinstance(FineTuningJobEvent.construct(**fields).data, dict)
        ours = Event.model_validate(fields)
        assert isinstance(ours.metrics, TrainingMetrics)
        assert (ours.metrics.step, ours.metrics.critic_rewards_mean) == (4, 0.4375)
        assert ours.metrics.model_extra == {"new_metric": 2}

    def test_unknown_statuses_are_kept(self) -> None:
        with pytest.raises(ValueError, match="status"):
            FineTuningJob.model_validate(self.fields)
        assert job(**self.fields).status == "paused"


class TestLenientResponses:
    def test_unknown_fields_are_kept(self) -> None:
        assert job(new={"a": 1}).model_extra == {"new": {"a": 1}}

    @pytest.mark.parametrize(
        "fields",
        [
            {"error": {}}, {"error": []}, {"metadata": None}, {"metadata": "x"}, {"created_at": "soon"}, {"status": 3},
            {"method": {"type": "new", "new": {}}}, {"method": "x"}, {"training_file": 3}, {"finished_at": 1.5},
            {"method": reinforcement(LAMBDA, n_epochs="auto", batch_size=None)},
        ],
    )  # fmt: skip
    def test_unexpected_values_are_replaced_by_defaults(self, fields: Any) -> None:
        found = job(**fields)
        assert found.id == "j"
        assert not found.is_terminal

    def test_a_grader_of_another_type_is_kept(self) -> None:
        for grader in ({"type": "python", "source": "x"}, {"type": "lambda", "lambda": {"function": "new-form"}}):
            found = job(method=reinforcement(grader))
            assert found.method is not None
            assert found.method.reinforcement is not None
            kept = found.method.reinforcement.grader
            assert isinstance(kept, OtherGrader)
            assert kept.model_dump() == grader
            assert found.reward is None

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"7", b'"text"', b"null", b"{}", b'{"id": null}', b"\xff\xfe"]
    )
    def test_a_job_needs_an_id(self, content: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the reasons are many
            Job.read(content)

    def test_a_byte_order_mark_is_ignored(self) -> None:
        assert Job.read(b'\xef\xbb\xbf{"id": "j"}').id == "j"

    def test_a_list_loses_only_invalid_items(self) -> None:
        page = Page[Event].read(b'{"data": [null, {"id": "a"}, 7, {"id": null, "message": "m"}], "has_more": null}')
        assert [event.id for event in page.data] == ["a", ""]
        assert not page.has_more
        assert Page[Job].read(b'{"data": [{"status": "x"}, {"id": "j"}]}').data[0].id == "j"
        for content in (b"{}", b'{"data": null}', b'{"object": "list"}', b'{"data": "none"}', b'{"error": null}'):
            with pytest.raises(ValueError, match="data"):
                Page[Event].read(content)

    def test_values_that_are_not_numbers_become_none(self) -> None:
        content = b'{"type": "metrics", "data": {"step": "4", "critic_rewards_mean": NaN, "actor_entropy": "low"}}'
        metrics = Event.read(content).metrics
        assert metrics is not None
        assert metrics.step == 4
        assert metrics.critic_rewards_mean is not None
        assert math.isnan(metrics.critic_rewards_mean)
        assert metrics.actor_entropy is None
        assert json.loads(metrics.model_dump_json())["critic_rewards_mean"] is None

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
    names = st.sampled_from([*Job.model_fields, *Event.model_fields, "new"])

    @given(st.dictionaries(names, json_values, max_size=8))
    def test_any_fields_with_an_id_are_a_job_and_an_event(self, fields: dict[str, Any]) -> None:
        content = json.dumps({**fields, "id": "j"}).encode()
        assert Job.read(content).id == "j"
        assert Event.read(content).id == "j"
        assert [one.id for one in Page[Event].read(b'{"data": [' + content + b"]}").data] == ["j"]

    def test_payloads_are_frozen_and_can_be_pickled(self) -> None:
        found = job(method=reinforcement(LAMBDA))
        with pytest.raises(ValueError, match="frozen"):
            found.status = "failed"
        assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own


class TestLambdaArn:
    @pytest.mark.parametrize(
        "arn",
        [
            ARN, ARN + ":$LATEST", ARN + ":7", ARN + ":prod-alias_1",
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:reward",
            "arn:aws-cn:lambda:cn-north-1:123456789012:function:reward", ARN[:-6] + "n" * 64,
        ],
    )  # fmt: skip
    def test_accepted(self, arn: str) -> None:
        assert LambdaArn(arn) == arn
        assert json.loads(LambdaGrader.of(arn).model_dump_json(by_alias=True)) == {
            "type": "lambda",
            "lambda": {"function": arn},
        }

    @pytest.mark.parametrize(
        ("arn", "why"),
        [
            ("arn:AWS:lambda:us-west-2:123456789012:function:reward", "pattern"), ("arn:aws:s3:::bucket", "not Lambda"),
            ("arn:aws:iam::123456789012:role/r", "IAM identity"), (ARN.replace("function", "layer") + ":1", "layer"),
            (ARN.replace("us-west-2", ""), "region is missing"), (ARN.replace("us-west-2", "US-WEST-2"), "pattern"),
            (ARN.replace("us-west-2", "us-west-22"), "pattern"), (ARN.replace("9012", "90123"), "12 digits"),
            (ARN.replace("9012", "901x"), "12 digits"), (ARN.replace("123456789012", "１２３４５６７８９０１２"), "."),
            (ARN[:-6], "pattern"), (ARN[:-6] + "re ward", "pattern"), (ARN[:-6] + "rewärd", "pattern"),
            (ARN + ":1:2", "pattern"), (ARN + ":v1.0", "pattern"), (ARN + ":$LATEST.PUBLISHED", "pattern"),
            (ARN + "\r\nX-Evil: 1", "pattern"), (ARN + "\n", "pattern"), (ARN + "n" * 500, "longer than 512"),
            ("123456789012:function:reward", "partial"), ("https://abc.lambda-url.us-west-2.on.aws/", "URL"),
            ("", "empty"), (ARN.encode(), "bytes"), (7, "int"), (None, "NoneType"),
            (ARN.replace(":aws:", "::"), "the partition, such as 'aws', is missing"),
        ],
    )  # fmt: skip
    def test_invalid_arns_are_refused_with_the_reason(self, arn: Any, why: str) -> None:
        with pytest.raises(ConfigurationError, match=why):
            LambdaArn(arn)

    def test_parts_of_an_arn(self) -> None:
        arn = LambdaArn("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:my-reward:prod")
        assert (arn.aws_partition, arn.region, arn.account) == ("aws-us-gov", "us-gov-west-1", "123456789012")
        assert (arn.name, arn.qualifier) == ("my-reward", "prod")
        assert LambdaArn(ARN).qualifier is None
        assert arn.partition(":")[0] == "arn"  # still a string

    @given(st.text())
    def test_any_text_is_an_arn_or_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigurationError):
            LambdaArn(text)


class TestHyperparameters:
    @pytest.mark.parametrize(
        "value",
        [{}, {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1.0}, {"learning_rate_multiplier": 1}],
    )
    def test_accepted(self, value: dict[str, Any]) -> None:
        assert Hyperparameters.of(value).sent() == value

    @pytest.mark.parametrize(
        "value",
        [
            {"n_epochs": 0}, {"n_epochs": -1}, {"n_epochs": True}, {"n_epochs": "1"}, {"n_epochs": math.nan},
            {"n_epochs": math.inf}, {"batch_size": 0}, {"batch_size": -4}, {"batch_size": 4.5}, {"batch_size": "4"},
            {"learning_rate_multiplier": 0}, {"learning_rate_multiplier": -1.0}, {"learning_rate_multiplier": math.inf},
            {"learning_rate_multiplier": "1.0"}, {"learning_rate_multiplier": True}, "n_epochs=1", 7, [("n_epochs", 1)],
        ],
    )  # fmt: skip
    def test_invalid_values_are_refused(self, value: Any) -> None:
        with pytest.raises(ConfigurationError):
            Hyperparameters.of(value)

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("epochCount", "n_epochs"),
            ("n_epoch", "n_epochs"),
            ("epochs", "n_epochs"),
            ("batchSize", "batch_size"),
            ("learning_rate", "learning_rate_multiplier"),
        ],
    )
    def test_a_misspelled_name_is_refused_with_the_right_one(self, name: str, meant: str) -> None:
        with pytest.raises(ConfigurationError, match=f"did you mean '{meant}'"):
            Hyperparameters(**{name: 1})

    def test_an_unknown_name_is_sent_with_a_warning(self) -> None:
        with pytest.warns(BedrockRFTWarning, match="'kl_coefficient' is not a documented") as caught:
            assert Hyperparameters(kl_coefficient=0.1).sent() == {"kl_coefficient": 0.1}  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
        assert caught[0].filename == __file__


def test_the_request_has_only_settings_that_are_set() -> None:
    grader = LambdaGrader.of(ARN)
    method = CreateMethod(reinforcement=CreateReinforcement(grader=grader, hyperparameters={"n_epochs": 1}))
    body = CreateJob(model="m", training_file="f", method=method, metadata={"a": "b"})
    assert body.sent() == {
        "model": "m",
        "training_file": "f",
        "method": reinforcement(LAMBDA, n_epochs=1),
        "metadata": {"a": "b"},
    }
