"""Tests of the policies: exact permissions, JSON for IAM, and reasons for people."""

from __future__ import annotations

import json
import re
import warnings
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.moto_server import Aws

from bedrock_rft import ConfigurationError
from bedrock_rft._cli.app import run as main
from bedrock_rft.access import (
    MANAGED_POLICIES,
    Policy,
    Statement,
    caller_policy,
    deployer_policy,
    doctor_policy,
    documented_invoke_policy,
    documented_judge_policy,
    execution_policy,
    invoke_policy,
    judge_policy,
    trust_policy,
    watcher_policy,
)

REWARD = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"
PROJECT = "arn:aws:bedrock-mantle:us-west-2:123456789012:project/default"
JUDGES = ["us.amazon.nova-lite-v1:0", "amazon.nova-micro-v1:0"]

# From AWS's service authorization reference: the resource type and the condition keys of each action.
DOCUMENTED: dict[str, tuple[str, set[str]]] = {
    "CallWithBearerToken": ("*", {"BearerTokenType"}),
    "CancelFineTuningJob": ("project", {"FineTuningJob"}),
    "CreateFile": ("project", set()),
    "CreateFineTuningJob": ("project", {"Files", "Model"}),
    "CreateInference": ("project", {"Model", "ServiceTier"}),
    "DeleteFile": ("project", {"Files"}),
    "GetFile": ("project", {"Files"}),
    "GetFineTuningJob": ("project", {"FineTuningJob"}),
    "GetModel": ("project", set()),
    "ListFiles": ("project", set()),
    "ListFineTuningJobs": ("project", set()),
    "ListModels": ("project", set()),
}

BOUNDARY = "arn:aws:iam::123456789012:policy/team/limits"
POLICIES = {
    "caller": caller_policy("us-west-2", reward=REWARD),
    "caller with a key": caller_policy(
        "us-west-2", reward=REWARD, api_key="short-term", models=["openai.gpt-oss-20b"], project="proj_123"
    ),
    "caller in GovCloud": caller_policy("us-gov-west-1", "123456789012", api_key=True),
    "deployer within a boundary": deployer_policy(REWARD, role="r", permissions_boundary=BOUNDARY),
    "invoke": invoke_policy(REWARD),
    "watcher": watcher_policy("us-west-2", "123456789012", api_key=True),
    "execution": execution_policy(REWARD),
    "execution with judges": execution_policy(REWARD, judges=JUDGES),
    "trust": trust_policy(reward=REWARD),
    "judge": judge_policy(JUDGES, "us-west-2", "123456789012"),
    "deployer": deployer_policy(REWARD, role="my-reward-role"),
    "deployer of large packages": deployer_policy(REWARD, role="r", bucket="packages"),
    "doctor": doctor_policy("us-west-2", reward=REWARD),
}


@pytest.fixture(scope="module")
def parliament() -> Any:
    """Import the linter without its warnings about open files and invalid escapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module("parliament")


def test_the_callers_policy_has_exactly_the_permissions_of_jobs() -> None:
    assert POLICIES["caller"].document() == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Files",
                "Effect": "Allow",
                "Action": [f"bedrock-mantle:{name}" for name in ("CreateFile", "GetFile", "ListFiles", "DeleteFile")],
                "Resource": [PROJECT],
            },
            {
                "Sid": "CreateJobs",
                "Effect": "Allow",
                "Action": ["bedrock-mantle:CreateFineTuningJob"],
                "Resource": [PROJECT],
            },
            {
                "Sid": "Jobs",
                "Effect": "Allow",
                "Action": [
                    f"bedrock-mantle:{name}"
                    for name in ("GetFineTuningJob", "ListFineTuningJobs", "CancelFineTuningJob")
                ],
                "Resource": [PROJECT],
            },
            {
                "Sid": "Inference",
                "Effect": "Allow",
                "Action": [f"bedrock-mantle:{name}" for name in ("CreateInference", "GetModel", "ListModels")],
                "Resource": [PROJECT],
            },
            {
                "Sid": "InvokeReward",
                "Effect": "Allow",
                "Action": ["lambda:InvokeFunction"],
                "Resource": [REWARD, f"{REWARD}:*"],
            },
        ],
    }


def test_the_callers_policy_has_the_key_project_and_models() -> None:
    statements = {each["Sid"]: each for each in POLICIES["caller with a key"].document()["Statement"]}
    assert statements["ApiKey"] == {
        "Sid": "ApiKey",
        "Effect": "Allow",
        "Action": ["bedrock-mantle:CallWithBearerToken"],
        "Resource": ["*"],
        "Condition": {"StringEquals": {"bedrock-mantle:BearerTokenType": "SHORT_TERM"}},
    }
    assert statements["CreateJobs"]["Condition"] == {"StringEquals": {"bedrock-mantle:Model": ["openai.gpt-oss-20b"]}}
    assert statements["Files"]["Resource"] == [PROJECT.replace("default", "proj_123")]
    any_key = POLICIES["caller in GovCloud"].statement[-1]
    assert (any_key.sid, any_key.condition) == ("ApiKey", {})
    assert "ApiKey" not in POLICIES["caller"].json()


def test_arns_have_the_partition_of_the_region() -> None:
    govcloud = POLICIES["caller in GovCloud"]
    assert {each.resource for each in govcloud.statement[:4]} == {
        ("arn:aws-us-gov:bedrock-mantle:us-gov-west-1:123456789012:project/default",)
    }
    reward = "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:r"
    judged = execution_policy(reward, judges=["us-gov.anthropic.claude-3-haiku-20240307-v1:0"])
    named = [resource for each in judged.statement for resource in each.resource]
    assert {resource.split(":")[1] for resource in named} == {"aws-us-gov"}


def test_documented_examples_are_exact() -> None:
    invoke = """{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Action": [ "lambda:InvokeFunction" ],
    "Resource": [ "arn:aws:lambda:*:*:function:reward-function-name" ] } ] }"""
    judge = """{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Action": [ "bedrock:InvokeModel" ],
    "Resource": [ "arn:aws:bedrock:*:*:foundation-model/*" ] } ] }"""
    assert documented_invoke_policy("reward-function-name").json(None) == re.sub(r"\s", "", invoke)
    assert documented_judge_policy().json(None) == re.sub(r"\s", "", judge)


def test_only_lambda_assumes_the_role_for_this_function() -> None:
    (statement,) = POLICIES["trust"].document()["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": [REWARD, f"{REWARD}:*"]},
    }
    (statement,) = trust_policy("123456789012").document()["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_a_function_writes_its_log_and_invokes_named_judges() -> None:
    (logs, *judges) = POLICIES["execution with judges"].document()["Statement"]
    group = "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/my-reward"
    assert logs["Resource"] == [group, f"{group}:*"]
    profile = "arn:aws:bedrock:us-west-2:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
    assert [(each["Resource"], each.get("Condition")) for each in judges] == [
        (["arn:aws:bedrock:us-west-2::foundation-model/amazon.nova-micro-v1:0"], None),
        ([profile], None),
        (
            ["arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"],
            {"ArnEquals": {"bedrock:InferenceProfileArn": [profile]}},
        ),
    ]
    arn = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/abc123"
    (own, behind) = judge_policy([arn], "us-west-2").statement
    assert own.resource == (arn,)
    assert behind.condition == {"ArnEquals": {"bedrock:InferenceProfileArn": (arn,)}}
    assert behind.resource == ("arn:aws:bedrock:*::foundation-model/*",)
    assert judge_policy([profile], "us-west-2") == judge_policy(JUDGES[:1], "us-west-2", "123456789012")
    provisioned = "arn:aws:bedrock:us-west-2:123456789012:provisioned-model/xyz"
    assert judge_policy([provisioned], "us-west-2").statement[0].resource == (provisioned,)


def test_the_role_is_passed_only_to_lambda() -> None:
    deployer = {each.sid: each for each in POLICIES["deployer"].statement}
    assert deployer["PassRole"].document() == {
        "Sid": "PassRole",
        "Effect": "Allow",
        "Action": ["iam:PassRole"],
        "Resource": ["arn:aws:iam::123456789012:role/my-reward-role"],
        "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
    }
    path = "arn:aws:iam::123456789012:role/service-role/x"
    assert {each.resource for each in deployer_policy(REWARD, role=path).statement if each.sid == "Role"} == {(path,)}


def test_a_role_can_be_created_only_with_its_boundary() -> None:
    statements = {each["Sid"]: each for each in POLICIES["deployer within a boundary"].document()["Statement"]}
    within = statements["RoleWithin"]
    assert within["Action"] == [f"iam:{name}" for name in ("CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary")]
    assert within["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}
    assert within["Resource"] == statements["Role"]["Resource"]
    assert not {*within["Action"]} & {*statements["Role"]["Action"]}
    with pytest.raises(ConfigurationError, match="permissions_boundary is 'limits'"):
        deployer_policy(REWARD, role="r", permissions_boundary="limits")


def test_the_watchers_policy_is_read_only() -> None:
    for action in POLICIES["watcher"].actions:
        assert re.fullmatch(r"bedrock-mantle:((Get|List)\w+|CallWithBearerToken)", action)
        assert action != "bedrock-mantle:GetFile"


@pytest.mark.parametrize("name", POLICIES)
def test_every_statement_has_a_reason_that_the_json_leaves_out(name: str) -> None:
    policy = POLICIES[name]
    assert all(each.reason.endswith(".") for each in policy.statement)
    shown = str(policy)
    for each in policy.statement:
        assert f"{each.sid}: {each.reason}" in " ".join(shown.split())
        assert each.reason not in policy.json()
    arn = re.compile(r"\s*(on |if \S+ \w+ )?arn:\S+")
    assert [line for line in shown.splitlines() if len(line) > 80 and not arn.fullmatch(line)] == []


@pytest.mark.parametrize("name", POLICIES)
def test_no_wildcard_in_actions_and_no_needless_one_in_resources(name: str) -> None:
    for each in POLICIES[name].statement:
        assert not any("*" in action for action in each.action)
        for resource in each.resource:
            if resource == "*":
                assert each.action == ("bedrock-mantle:CallWithBearerToken",) or each.sid == "ReadNetwork"
            elif each.sid in {"Simulate", "ReadRoles", "ReadKey", "ReadProfiles"}:
                assert resource.removesuffix("*").endswith("/"), "any role, user, key or profile of the account"
            elif each.sid == "Packages":
                assert resource == "arn:aws:s3:::packages/bedrock-rft/my-reward/*"
            elif each.sid == "ModelsOfProfiles":
                assert each.condition
            else:
                assert "*" not in resource.removesuffix(":*")


def test_mantle_statements_are_as_documented() -> None:
    """Parliament does not know the service, so DOCUMENTED lists its actions."""
    for policy in POLICIES.values():
        for each in policy.statement:
            for action in each.action:
                service, _, name = action.partition(":")
                if service != "bedrock-mantle":
                    continue
                kind, keys = DOCUMENTED[name]
                wanted = r"\*" if kind == "*" else r"arn:aws[a-z-]*:bedrock-mantle:[a-z0-9-]+:\d{12}:project/\S+"
                assert all(re.fullmatch(wanted, resource) for resource in each.resource)
                used = {key for conditions in each.condition.values() for key in conditions}
                assert used <= {f"bedrock-mantle:{key}" for key in keys}


@pytest.mark.parametrize("name", POLICIES)
def test_a_linter_finds_only_expected_issues(name: str, parliament: Any) -> None:
    """Compare the issues that parliament finds with a complete list."""
    found = parliament.analyze_policy_string(POLICIES[name].json(), include_community_auditors=True).findings
    said = {(finding.issue, _detail(finding)) for finding in found}
    # It knows neither this service nor trust policies. It requires each resource type of InvokeModel, although one is
    # enough; these are compared below.
    said -= {("UNKNOWN_PREFIX", "Unknown prefix bedrock-mantle"), ("RESOURCE_MISMATCH", "bedrock:InvokeModel")}
    deploys = {
        ("PERMISSIONS_MANAGEMENT_ACTIONS", ""),
        ("PRIVILEGE_ESCALATION", "PassExistingRoleToNewLambdaThenInvoke"),
        ("PRIVILEGE_ESCALATION", "EditExistingLambdaFunctionWithRole"),
    }
    expected: dict[str, set[tuple[str, str]]] = {
        "trust": {("MALFORMED", "Statement contains neither Resource nor NotResource")},
        # An identity that deploys a function and writes its role has the permissions of that role.
        "deployer": deploys,
        "deployer of large packages": deploys,
        # AWS's own examples compare a boundary as text.
        "deployer within a boundary": {
            *deploys,
            (
                "MISMATCHED_TYPE_BUT_USABLE",
                "Type mismatch: StringEquals requires a value of type String but given Arn",
            ),
        },
    }
    assert said == expected.get(name, set())
    kinds = _kinds_of_model(parliament)
    for each in POLICIES[name].statement:
        if "bedrock:InvokeModel" in each.action:
            for resource in each.resource:
                assert any(fnmatchcase(resource, kind) for kind in kinds), resource


def _detail(finding: Any) -> str:
    """Return the part of a finding that is compared."""
    if finding.issue == "RESOURCE_MISMATCH":
        return ", ".join(sorted({one["action"] for one in finding.detail}))
    return str(finding.location.get("type", finding.detail))


def _kinds_of_model(parliament: Any) -> set[str]:
    """Return the resource types of InvokeModel in parliament's definitions."""
    (service,) = [each for each in parliament.iam_definition if each["prefix"] == "bedrock"]
    (action,) = [each for each in service["privileges"] if each["privilege"] == "InvokeModel"]
    named = {each["resource_type"].rstrip("*") for each in action["resource_types"]}
    return {re.sub(r"\$\{[^}]*\}", "*", each["arn"]) for each in service["resources"] if each["resource"] in named}


def test_the_linter_finds_errors(parliament: Any) -> None:
    for right, wrong, issue in (
        ("CreateLogStream", "CreateLogStrm", "UNKNOWN_ACTION"),
        ("arn:aws:logs:", "arn:aws:lambda:", "RESOURCE_MISMATCH"),
    ):
        text = POLICIES["execution"].json().replace(right, wrong)
        assert {finding.issue for finding in parliament.analyze_policy_string(text).findings} == {issue}


def test_iam_accepts_every_policy(aws: Aws) -> None:
    iam = aws.client("iam")
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=POLICIES["trust"].json())
    for place, (name, policy) in enumerate(POLICIES.items()):
        if policy.is_trust:
            continue
        iam.put_role_policy(RoleName="r", PolicyName=f"p{place}", PolicyDocument=policy.json())
        kept = iam.get_role_policy(RoleName="r", PolicyName=f"p{place}")["PolicyDocument"]
        assert kept == policy.document(), name


NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
DIGITS = st.from_regex(r"[0-9]{12}", fullmatch=True)


@given(NAMES, DIGITS, st.sampled_from(["us-west-2", "eu-central-1", "us-gov-west-1"]), st.booleans())
def test_policies_name_only_their_function(name: str, account: str, region: str, key: bool) -> None:
    partition = "aws-us-gov" if "gov" in region else "aws"
    arn = f"arn:{partition}:lambda:{region}:{account}:function:{name}"
    for policy in (
        caller_policy(region, reward=f"{arn}:7", api_key=key),
        execution_policy(arn),
        deployer_policy(arn, role=name),
    ):
        assert Policy(**json.loads(policy.json())).document() == policy.document()
        assert "a managed policy" in policy.fits
        for each in policy.statement:
            for resource in each.resource:
                assert resource == "*" or resource.split(":")[1] == partition
                assert resource == "*" or resource.split(":")[4] == account


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: caller_policy("us-west-2"), "account is missing"),
        (lambda: caller_policy("us-west-2", "12345"), "12 digits"),
        (lambda: caller_policy("us-west-2", "１２３４５６７８９０１２"), "12 digits"),
        (lambda: caller_policy("west", "123456789012"), "region"),
        (lambda: caller_policy("us-west-2", "123456789012", project="a/b c"), "project"),
        (lambda: invoke_policy("my-reward"), "not the ARN of a Lambda function"),
        (lambda: execution_policy(REWARD, judges=["no such model"]), "neither the id nor the ARN"),
        (lambda: judge_policy([], "us-west-2"), "Pass a list of model ids"),
        (lambda: judge_policy("amazon.nova-lite-v1:0", "us-west-2"), "Pass a list"),
        (lambda: judge_policy(["us.amazon.nova-lite-v1:0"], "us-west-2"), "account"),
        (lambda: deployer_policy(REWARD, role="a role"), "name or the ARN of an IAM role"),
        (lambda: deployer_policy(REWARD, role="arn:aws:iam::1:user/x"), "name or the ARN of an IAM role"),
        (lambda: Statement(sid="a-b", action=("a:B",), resource=("*",)), "letters and digits"),
        (lambda: Statement(action=("nothing",), resource=("*",)), "action needs names"),
        (lambda: Statement(action=(), resource=("*",)), "action needs names"),
        (lambda: Statement(action=("a:B",), resource=("bucket",)), "resource needs ARNs"),
        (lambda: Statement(action=("a:B",)), "either a resource or"),
        (lambda: Policy(statement=()), "at least one statement"),
        (lambda: Policy(statement=POLICIES["execution"].statement * 2), "two statements have the same sid"),
        (lambda: judge_policy([f"m{n}.{'x' * 90}" for n in range(80)], "us-west-2"), "IAM accepts 10240"),
    ],
)
def test_invalid_arguments_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make()


@pytest.mark.parametrize("api_key", ["short_term", "SHORT_TERM", "long-term", 1, None, ""])
def test_a_misspelt_kind_of_key_is_refused(api_key: Any) -> None:
    for make in (caller_policy, watcher_policy, doctor_policy):
        with pytest.raises(ConfigurationError, match="'short-term' for short-term keys only"):
            make("us-west-2", "123456789012", api_key=api_key)


def test_a_single_text_is_one_model_and_patterns_use_string_like() -> None:
    def condition(models: Any) -> Any:
        return caller_policy("us-west-2", "123456789012", models=models).document()["Statement"][1].get("Condition")

    key = "bedrock-mantle:Model"
    assert condition("openai.gpt-oss-20b") == {"StringEquals": {key: ["openai.gpt-oss-20b"]}}
    assert condition(["openai.*", "qwen.qwen3-32b"]) == {"StringLike": {key: ["openai.*", "qwen.qwen3-32b"]}}
    assert condition([]) is None
    for invalid in (["a model"], [7], [""], "\x1b[2J"):
        with pytest.raises(ConfigurationError, match="is not the id of a model"):
            condition(invalid)


def test_policies_with_equal_sids_can_be_added() -> None:
    first, second = caller_policy("us-west-2", reward=REWARD), caller_policy("us-west-2", reward=f"{REWARD}-2")
    both = first + second + invoke_policy(f"{REWARD}-3")
    sids = ["Files", "CreateJobs", "Jobs", "Inference", "InvokeReward", "InvokeReward2", "InvokeReward3"]
    assert [statement.sid for statement in both.statement] == sids
    assert both.statement[5].resource == (f"{REWARD}-2", f"{REWARD}-2:*")
    assert first + first == first


def test_sizes_are_counted_as_iam_does() -> None:
    long = judge_policy([f"m{n}.{'x' * 90}" for n in range(50)], "us-west-2")
    assert long.size == len(re.sub(r"\s", "", long.json()))
    assert long.fits == ("a role",)
    assert str(long).splitlines()[0].endswith("fits a role only")
    trust = POLICIES["trust"].statement[0]
    many = tuple(trust.model_copy(update={"sid": f"s{n}"}) for n in range(9))
    with pytest.raises(ConfigurationError, match="IAM accepts 2048"):
        Policy(statement=many)


def test_policies_can_be_added_and_are_frozen() -> None:
    both = POLICIES["caller"] + judge_policy(["amazon.nova-micro-v1:0"], "us-west-2")
    assert both.actions[-2:] == ("lambda:InvokeFunction", "bedrock:InvokeModel")
    document = both.document()
    document["Statement"].clear()
    assert len(both.statement) == 6
    with pytest.raises(ValueError, match="frozen"):
        both.statement[0].effect = "Deny"  # pyright: ignore[reportAttributeAccessIssue] # refused at run time as well


def test_managed_policies_list_missing_actions() -> None:
    managed = {each.name: each for each in MANAGED_POLICIES}
    create = {"bedrock-mantle:CreateFile", "bedrock-mantle:CreateFineTuningJob"}
    assert managed["AmazonBedrockMantleFullAccess"].missing() == ()
    for name in ("AmazonBedrockMantleInferenceAccess", "AmazonBedrockMantleReadOnly", "AmazonBedrockLimitedAccess"):
        assert create <= set(managed[name].missing())
    assert "bedrock-mantle:CreateInference" in managed["AmazonBedrockMantleReadOnly"].missing()
    assert "cannot create a file or a job" in str(managed["AmazonBedrockLimitedAccess"])
    assert managed["AWSLambdaRole"].arn() == "arn:aws:iam::aws:policy/service-role/AWSLambdaRole"
    assert not managed["AmazonBedrockMantleFullAccess"].does_allow("lambda:InvokeFunction")
    assert managed["AWSLambdaRole"].does_allow("lambda:invokefunction")


def test_the_command_prints_json_or_reasons(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked = ["policy", "caller", "--region", "us-west-2", "--account", "123456789012", "--reward", REWARD]
    assert main(asked) == 0
    path = tmp_path / "policy.json"
    path.write_text(capsys.readouterr().out)
    assert json.loads(path.read_text()) == POLICIES["caller"].document()
    assert main([*asked, "--explain"]) == 0
    assert capsys.readouterr().out == f"{POLICIES['caller']}\n"
    for kind in ("invoke", "function", "trust", "watcher", "doctor"):
        assert main(["policy", kind, "--reward", REWARD]) == 0
        assert json.loads(capsys.readouterr().out)["Version"] == "2012-10-17"
    assert main(["policy", "deployer", "--reward", REWARD, "--role", "r"]) == 0
    assert main(["policy", "judge", "--region", "us-west-2", "--judge", "amazon.nova-micro-v1:0"]) == 0
    assert main(["policy", "caller", "--reward", REWARD, "--short-term-keys"]) == 0
    assert '"SHORT_TERM"' in capsys.readouterr().out
    assert main(["policy", "managed"]) == 0
    shown = capsys.readouterr().out
    assert "AmazonBedrockMantleFullAccess" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["policy", "watcher"]) == 2
    assert capsys.readouterr().err.startswith("error: Missing option '--account'")
