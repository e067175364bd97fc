"""Tests of deployments over HTTP: create, plan, update, check and destroy."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from fnmatch import fnmatchcase
from typing import Any

import pytest
from botocore.credentials import Credentials
from support.aws_gate import LARGE_EVENT, Here
from support.deploy_setup import (
    ANYBODY,
    ARN,
    DATA,
    ROLE,
    SOURCE,
    build_package,
    list_versions,
    read_role_policy,
    read_settings,
)
from support.fake_secrets import ACCESS_KEY, SECRET, TOKEN, find_secrets
from support.moto_server import ACCOUNT, EXAMPLES, REGION

from bedrock_rft import APIConnectionError, AsyncClient, Client, ConfigurationError, NotFoundError, RewardError
from bedrock_rft.access import DeployedReward, Plan, Step, deployer_policy
from bedrock_rft.access._deployment import function
from bedrock_rft.access._deployment.function import fits_request
from bedrock_rft.access._deployment.names import role_name
from bedrock_rft.local import LocalService
from bedrock_rft.rewards import Judge
from bedrock_rft.rewards._checking import check
from bedrock_rft.rewards._packaging.archive import LARGEST, Package, build_zip

WIDER = [
    {"messages": [{"role": "user", "content": f"What is {n} and 4?"}], "reference_answer": str(n + 4)}
    for n in (119, 233, 458, 572, 685, 792)
]


@pytest.fixture
def client(aws_client: Client) -> Client:
    return aws_client


# Deploying


def test_deploy_creates_a_role_a_function_and_a_version(
    here: Here, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_LARGE_EVENT", LARGE_EVENT)
    reward = client.rewards.deploy(build_package(), name="sums", dataset=DATA, tags={"team": "research"})
    assert (reward.arn, reward.version, reward.role_arn, reward.changed) == (f"{ARN}:1", "1", ROLE, True)
    assert [step.name for step in reward.plan.steps] == [ROLE, "bedrock-rft", ARN, f"{ARN}:1"]
    assert (
        read_settings(here, "1")
        == read_settings(here)
        == {
            "CodeSha256": reward.code_sha256,
            "Handler": "lambda_function.lambda_handler",
            "Runtime": "python3.13",
            "Timeout": 300,
            "MemorySize": 512,
            "Role": ROLE,
            "Architectures": ["x86_64"],
        }
    )
    assert reward.code_sha256 == build_package().code_sha256
    role = here.service("iam").get_role(RoleName=f"sums-{REGION}")["Role"]
    assert role["Path"] == "/bedrock-rft/"
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert trust["Condition"]["ArnLike"] == {"aws:SourceArn": [ARN, f"{ARN}:*"]}
    assert here.service("iam").list_attached_role_policies(RoleName=f"sums-{REGION}")["AttachedPolicies"] == []
    assert here.service("iam").list_role_policies(RoleName=f"sums-{REGION}")["PolicyNames"] == ["bedrock-rft"]
    tags = here.service("lambda").list_tags(Resource=ARN)["Tags"]
    assert tags.items() >= {"bedrock-rft:managed": "reward", "bedrock-rft:name": "sums", "team": "research"}.items()
    assert {*tags} == {"bedrock-rft:managed", "bedrock-rft:name", "bedrock-rft:tags", "team"}
    assert {tag["Key"]: tag["Value"] for tag in role["Tags"]} == tags


def test_a_role_may_only_write_its_log_and_invoke_its_judges(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    [logs] = read_role_policy(here)
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/sums"
    assert {*logs["Resource"]} <= {group, f"{group}:*"}
    again = client.rewards.deploy(
        build_package(models=("amazon.nova-lite-v1:0",)), name="sums", models=["amazon.nova-pro-v1:0"]
    )
    _, judges = read_role_policy(here)
    assert judges["Action"] == ["bedrock:InvokeModel"]
    model = f"arn:aws:bedrock:{REGION}::foundation-model/amazon.nova"
    assert judges["Resource"] == [f"{model}-lite-v1:0", f"{model}-pro-v1:0"]
    assert [(step.action, step.kind) for step in again.plan.steps] == [
        ("leave", "role"),
        ("change", "policy"),
        ("leave", "function"),
        ("leave", "version"),
    ]
    assert "gains bedrock:InvokeModel" in str(again.plan)
    assert "loses bedrock:InvokeModel" in str(client.rewards.deploy(build_package(), name="sums").plan)
    assert len(read_role_policy(here)) == 1


def test_a_judge_in_another_region_is_allowed_there(here: Here, client: Client) -> None:
    """The account of an inference profile is the account of the function."""
    plain = Judge("openai.gpt-oss-120b-1:0", "Is it right?", region="us-east-1")
    profile = Judge("eu.amazon.nova-lite-v1:0", "Is it plain?", region="eu-west-1", name="plain")
    client.rewards.deploy(plain + profile, name="sums")
    _, direct, spread, behind = read_role_policy(here)
    assert direct["Resource"] == ["arn:aws:bedrock:us-east-1::foundation-model/openai.gpt-oss-120b-1:0"]
    arn = f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:inference-profile/eu.amazon.nova-lite-v1:0"
    assert spread["Resource"] == [arn]
    assert behind["Resource"] == ["arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"]
    assert behind["Condition"] == {"ArnEquals": {"bedrock:InferenceProfileArn": [arn]}}


# Deploying again


def test_deploying_again_without_changes_writes_nothing(here: Here, client: Client) -> None:
    first = client.rewards.deploy(build_package(), name="sums", tags={"team": "research"})
    here.gate.clear()
    again = client.rewards.deploy(build_package(), name="sums", tags={"team": "research"})
    assert here.gate.writes == []
    assert (again.arn, again.changed) == (first.arn, False)
    assert str(again) == f"{ARN}:1: nothing changed"
    assert list_versions(here) == ["1"]


@pytest.mark.parametrize(
    ("change", "writes"),
    [
        ({"package": build_package(SOURCE + "# changed\n")}, ["UpdateFunctionCode", "PublishVersion"]),
        ({"timeout": 60}, ["UpdateFunctionConfiguration", "PublishVersion"]),
        ({"memory": 1024}, ["UpdateFunctionConfiguration", "PublishVersion"]),
        ({"package": build_package(runtime="python3.12")}, ["UpdateFunctionConfiguration", "PublishVersion"]),
        ({"tags": {"team": "research"}}, ["TagRole", "TagResource"]),
        ({"models": ["amazon.nova-lite-v1:0"]}, ["PutRolePolicy"]),
    ],
    ids=["code", "timeout", "memory", "runtime", "tags", "judge"],
)
def test_only_differences_are_written(here: Here, client: Client, change: dict[str, Any], writes: list[str]) -> None:
    client.rewards.deploy(build_package(), name="sums")
    here.gate.clear()
    package = change.get("package", build_package())
    settings: dict[str, Any] = {name: value for name, value in change.items() if name != "package"}
    reward = client.rewards.deploy(package, name="sums", **settings)
    assert here.gate.writes == writes
    version = "2" if "PublishVersion" in writes else "1"
    assert (reward.version, reward.changed) == (version, True)
    assert read_settings(here, version) == read_settings(here)
    here.gate.clear()
    assert not client.rewards.deploy(package, name="sums", **settings).changed
    assert here.gate.writes == []


def test_an_old_version_does_not_change(here: Here, client: Client) -> None:
    first = client.rewards.deploy(build_package(), name="sums")
    second = client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums")
    third = client.rewards.deploy(build_package(), name="sums")
    assert [one.version for one in (first, second, third)] == ["1", "2", "3"]
    assert read_settings(here, "1")["CodeSha256"] == read_settings(here, "3")["CodeSha256"] == first.code_sha256


def test_settings_of_others_are_kept_and_published(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums", tags={"team": "research"})
    service = here.service("lambda")
    service.update_function_configuration(FunctionName="sums", Environment={"Variables": {"A": "very-secret"}})
    service.tag_resource(Resource=ARN, Tags={"cost": "42"})
    here.gate.clear()
    again = client.rewards.deploy(build_package(), name="sums", tags={"team": "research"})
    assert here.gate.writes == ["PublishVersion"]
    assert again.version == "2"
    assert "Environment: not as in version 1" in str(again.plan)
    assert "very-secret" not in str(again.plan) + again.plan._repr_html_()
    version = service.get_function_configuration(FunctionName="sums", Qualifier="2")
    assert version["Environment"] == {"Variables": {"A": "very-secret"}}
    assert not client.rewards.deploy(build_package(), name="sums", tags={"team": "research"}).changed
    assert service.list_tags(Resource=ARN)["Tags"]["cost"] == "42"


@pytest.mark.parametrize(
    "settings",
    [
        {"Environment": {"Variables": {"A": "b"}}},
        {"TracingConfig": {"Mode": "Active"}},
        {"EphemeralStorage": {"Size": 1024}},
        {"KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012"},
        {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}},
        {"Layers": [{"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:tools:1", "CodeSize": 7}]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_differ_from_the_newest_version_are_published(
    here: Here, client: Client, settings: dict[str, Any]
) -> None:
    client.rewards.deploy(build_package(), name="sums")
    latest = here.service("lambda").get_function(FunctionName="sums")["Configuration"]
    latest["LastModified"] = str(latest["LastModified"])
    here.gate.change("GetFunction", Configuration={**latest, **settings})
    plan = client.rewards.plan(build_package(), name="sums")
    assert [(step.action, step.kind) for step in plan.steps][-2:] == [("leave", "function"), ("create", "version")]
    assert plan.steps[-1].details == (f"{next(iter(settings))}: not as in version 1",)


def test_tags_that_are_no_longer_given_are_removed(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums", tags={"team": "research", "stage": "trial"})
    iam, functions = here.service("iam"), here.service("lambda")
    functions.tag_resource(Resource=ARN, Tags={"cost": "42"})
    iam.tag_role(RoleName=f"sums-{REGION}", Tags=[{"Key": "cost", "Value": "42"}])

    def tags() -> tuple[set[str], set[str]]:
        role = iam.get_role(RoleName=f"sums-{REGION}")["Role"]
        return {*functions.list_tags(Resource=ARN)["Tags"]}, {tag["Key"] for tag in role["Tags"]}

    own = {"bedrock-rft:managed", "bedrock-rft:name", "cost"}
    changed = client.rewards.deploy(build_package(), name="sums", tags={"team": "research"})
    assert changed.version == "1"
    assert "tags no longer given: stage" in str(changed.plan)
    assert tags() == ({*own, "bedrock-rft:tags", "team"},) * 2
    assert not client.rewards.deploy(build_package(), name="sums", tags={"team": "research"}).changed
    client.rewards.deploy(build_package(), name="sums")
    assert tags() == (own, own)
    assert not client.rewards.deploy(build_package(), name="sums").changed


def large() -> Package:
    """Return a package that is too large for a request."""
    content, files = build_zip({"lambda_function.py": SOURCE.encode(), "data.bin": os.urandom(300_000)})
    return Package(content, "lambda_function.lambda_handler", "python3.13", "x86_64", files, "sums")


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower Lambda's limit on a request, because sending 50 MB takes seconds."""
    monkeypatch.setattr(function, "_MAX_REQUEST", 300_000)


def test_a_package_above_the_limit_of_a_request_is_refused_before_anything_is_created(
    here: Here, client: Client
) -> None:
    package = build_package()
    object.__setattr__(package, "content", bytes(51 * 1024**2))
    with pytest.raises(
        ConfigurationError, match=r"has 51 MB; .* at most 50 MB in a request\. Nothing was created\. Pass bucket="
    ):
        client.rewards.deploy(package, name="sums")
    assert here.gate.asked == []


def test_the_largest_zip_that_lambda_documents_fits_a_request() -> None:
    package = build_package()
    object.__setattr__(package, "content", bytes(LARGEST))
    assert fits_request(package)
    object.__setattr__(package, "content", bytes(LARGEST + 1024**2))
    assert not fits_request(package)


@pytest.mark.usefixtures("low_limit")
def test_a_large_package_goes_through_a_bucket(here: Here, client: Client) -> None:
    storage = here.service("s3")
    storage.create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": REGION})
    here.gate.clear()
    package = large()
    plan = client.rewards.plan(package, name="sums", bucket="packages")
    assert [step.kind for step in plan.steps] == ["role", "policy", "object", "function", "version"]
    assert plan.steps[2].name.startswith("s3://packages/bedrock-rft/sums/")
    assert (
        {"s3:PutObject", "s3:GetObject"}
        <= {*plan.needs}
        <= {*deployer_policy(ARN, role=ROLE, bucket="packages").actions}
    )
    reward = client.rewards.deploy(package, name="sums", bucket="packages", dataset=DATA)
    assert here.gate.writes == ["CreateRole", "PutRolePolicy", "PutObject", "CreateFunction", "PublishVersion"]
    assert read_settings(here, reward.version)["CodeSha256"] == package.code_sha256
    here.gate.clear()
    assert not client.rewards.deploy(package, name="sums", bucket="packages").changed
    assert client.rewards.deploy(build_package(), name="sums", bucket="packages").version == "2"
    assert here.gate.writes == ["UpdateFunctionCode", "PublishVersion"], "a small package needs no bucket"
    here.gate.clear()
    client.rewards.deploy(package, name="sums", bucket="packages")
    assert here.gate.writes == ["PutObject", "UpdateFunctionCode", "PublishVersion"]


@pytest.mark.usefixtures("low_limit")
def test_a_bucket_that_does_not_exist_is_an_error_with_a_remedy(here: Here, client: Client) -> None:
    with pytest.raises(NotFoundError, match=r"s3 PutObject: NoSuchBucket: .*Create the bucket in the region"):
        client.rewards.deploy(large(), name="sums", bucket="packages")
    assert "CreateFunction" not in here.gate.writes


# Old versions


def deploy_versions(client: Client, count: int) -> None:
    for number in range(count):
        client.rewards.deploy(build_package(SOURCE + f"# {number}\n"), name="sums")


def test_old_versions_are_deleted_on_request(here: Here, client: Client) -> None:
    deploy_versions(client, 4)
    here.service("lambda").create_alias(FunctionName="sums", Name="live", FunctionVersion="1")
    with LocalService() as service, Client(**service.client_options()) as other:
        plan = other.rewards.plan(build_package(), name="sums", keep_versions=2)
        assert list_versions(here) == ["1", "2", "3", "4"]
        reward = other.rewards.deploy(build_package(), name="sums", keep_versions=2)
        assert not other.rewards.deploy(build_package(), name="sums", keep_versions=2).changed
    assert (reward.version, list_versions(here)) == ("5", ["1", "4", "5"])
    pruned = [(step.action, step.name, step.details) for step in plan.steps[-3:]]
    assert pruned == [
        ("delete", f"{ARN}:3", ()),
        ("delete", f"{ARN}:2", ()),
        ("leave", f"{ARN}:1", ("the alias live uses it",)),
    ]
    assert {"lambda:DeleteFunction"} <= {*plan.needs} <= {*deployer_policy(ARN, role=ROLE).actions}


def test_a_version_that_a_running_job_uses_is_kept(here: Here) -> None:
    handler = f"{EXAMPLES / 'reward.py'}:lambda_handler"
    with LocalService(reward=handler, pace=60) as service, Client(**service.client_options()) as client:
        first = client.rewards.deploy(build_package(), name="sums")
        file = client.files.upload((DATA * 20)[:100], validate=False)
        client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=first)
        deploy_versions(client, 2)
        kept = client.rewards.deploy(build_package(), name="sums", keep_versions=1)
        assert "a running job uses it" in str(kept.plan)
    assert list_versions(here) == ["1", "4"]


def test_without_a_list_of_the_jobs_no_version_is_deleted(here: Here, client: Client) -> None:
    deploy_versions(client, 2)
    here.gate.clear()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so connections are refused
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        identity = Credentials(ACCESS_KEY, SECRET, TOKEN)
        with (
            Client(REGION, credentials=identity, base_url=nowhere, max_retries=0) as lost,
            pytest.raises(APIConnectionError, match=r"Nothing was changed, .* Leave out keep_versions="),
        ):
            lost.rewards.deploy(build_package(), name="sums", keep_versions=1)
    assert here.gate.asked == []


def test_the_role_is_sent_only_if_it_changes(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    plan = client.rewards.plan(build_package(), name="sums", timeout=60)
    assert "iam:PassRole" not in plan.needs
    here.gate.clear()
    client.rewards.deploy(build_package(), name="sums", timeout=60)
    (update,) = [asked for asked in here.gate.asked if asked.operation == "UpdateFunctionConfiguration"]
    assert json.loads(update.body) == {"Timeout": 60}
    own = here.service("iam").create_role(RoleName="own", AssumeRolePolicyDocument=json.dumps(ANYBODY))["Role"]["Arn"]
    assert "iam:PassRole" in client.rewards.plan(build_package(), name="sums", timeout=60, role_arn=own).needs


def test_changes_by_others_are_reverted(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    iam = here.service("iam")
    iam.put_role_policy(RoleName=f"sums-{REGION}", PolicyName="bedrock-rft", PolicyDocument=json.dumps(WIDE))
    iam.update_assume_role_policy(RoleName=f"sums-{REGION}", PolicyDocument=json.dumps(ANYBODY))
    here.service("lambda").update_function_configuration(FunctionName="sums", Timeout=3)
    reward = client.rewards.deploy(build_package(), name="sums")
    assert [step.kind for step in reward.plan.steps if step.action == "change"] == ["role", "policy", "settings"]
    assert "Timeout: 3 → 300" in str(reward.plan)
    assert [one["Sid"] for one in read_role_policy(here)] == ["OwnLog"]
    assert not client.rewards.deploy(build_package(), name="sums").changed


WIDE = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
LIMITS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}


# Planning


def test_a_plan_writes_nothing_and_lists_the_steps(here: Here, client: Client) -> None:
    plan = client.rewards.plan(build_package(models=("amazon.nova-lite-v1:0",)), name="sums")
    assert here.gate.writes == []
    assert [(step.action, step.kind) for step in plan.steps] == [
        ("create", "role"),
        ("create", "policy"),
        ("create", "function"),
        ("create", "version"),
    ]
    text = str(plan)
    assert text.startswith("Deploy sums: 4 to create\n")
    for part in (
        ROLE,
        ARN,
        "Timeout: 300",
        "MemorySize: 512",
        "IAM actions needed: iam:CreateRole",
        "bedrock:InvokeModel",
    ):
        assert part in " ".join(text.split())
    for _, each in plan.policies:
        assert all(statement.reason for statement in each.statement)
        assert all(" ".join(statement.reason.split()[:4]) in text for statement in each.statement)
    done = client.rewards.deploy(build_package(models=("amazon.nova-lite-v1:0",)), name="sums").plan
    assert (done.done, str(done).splitlines()[0]) == (True, "Deploy sums: 4 created")
    assert [step.kind for step in done.steps] == [step.kind for step in plan.steps]


def test_a_plan_fits_a_terminal_and_a_notebook(client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    evil = build_package(reward="<script>alert(1)</script>\x1b[2J")
    plans: list[Plan] = [
        client.rewards.plan(evil, name="sums", timeout=9),
        client.rewards.plan(evil, name="sums-" + "x" * 59),
        client.rewards.plan_destroy("sums"),
    ]
    evil_step = Step("leave", "role", "<script>\x1b[2J", ("<script>\x1b[2J",))
    plans.append(Plan("Deploy <script>", (evil_step,), facts=(("as", "<script>\x1b[2J"),)))
    for plan in plans:
        for line in str(plan).splitlines():
            assert len(line) <= 80 or " " not in line.strip().removeprefix("on "), line
        page = plan._repr_html_()
        assert "<script>" not in page
        assert "\x1b" not in str(plan) + page
        assert plan.title.split()[0] in page
        assert all(action in page for action in plan.needs)


def test_the_deployers_policy_allows_every_call(here: Here, client: Client) -> None:
    plan = client.rewards.plan(build_package(), name="sums")
    client.rewards.deploy(build_package(), name="sums", dataset=DATA)
    iam = here.service("iam")
    iam.update_assume_role_policy(RoleName=f"sums-{REGION}", PolicyDocument=json.dumps(ANYBODY))
    here.gate.asked[-1:] = []
    client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums", timeout=60, tags={"team": "research"})
    client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums", timeout=60)
    client.rewards.destroy("sums", force=True)
    allowed = deployer_policy(ARN, role=ROLE)
    for asked in here.gate.asked:
        if asked.action != "sts:GetCallerIdentity":  # needs no permission
            assert any(
                asked.action in statement.action and any(fnmatchcase(asked.resource, on) for on in statement.resource)
                for statement in allowed.statement
            ), asked.action
    assert {*plan.needs} <= {*allowed.actions}


def test_removed_arguments_name_their_successors(client: Client) -> None:
    with pytest.raises(ConfigurationError, match=r"Use client\.rewards\.plan\(reward, name=…\)"):
        client.rewards.deploy(build_package(), name="sums", plan=True)  # type: ignore[arg-type] # as before 0.3
    with pytest.raises(ConfigurationError, match=r"Use client\.rewards\.plan_destroy\(reward\)"):
        client.rewards.destroy("sums", plan=True)  # type: ignore[arg-type] # as before 0.3


# The check


def test_the_check_invokes_the_deployed_version(here: Here, client: Client) -> None:
    reward = client.rewards.deploy(build_package(), name="sums", dataset=DATA)
    assert reward.report is not None
    assert reward.report.ok
    assert reward.report.target == f"{ARN}:1"
    invoked = [asked for asked in here.gate.asked if asked.operation == "InvokeFunction"]
    assert len(invoked) == reward.report.invocations
    assert {asked.resource for asked in invoked} == {f"{ARN}:1"}
    assert "Check of" in str(reward)
    assert "Check of" in reward._repr_html_()
    assert len(repr(reward)) < 400


def test_a_failed_check_raises(client: Client) -> None:
    blind = build_package(SOURCE.replace("RIGHT = 1.0", "RIGHT = 0.0"))
    with pytest.raises(RewardError, match=r"function:sums:1 is deployed, but its check found .*ERROR") as caught:
        client.rewards.deploy(blind, name="sums", dataset=DATA, gold=lambda record: str(record["reference_answer"]))
    assert caught.value.report is not None
    assert caught.value.code == caught.value.report.errors[0].code
    assert client.rewards.deploy(blind, name="sums", dataset=DATA, check=False).report is None


def test_the_check_of_a_deployed_function_accepts_gold(client: Client) -> None:
    reversed_source = SOURCE.replace("== [str(reference)]", "== [str(reference)[::-1]]")
    package = build_package(reversed_source.replace("float(", "0.1 * bool(numbers) + 0.9 * float("))
    unsure = client.rewards.deploy(package, name="sums", dataset=WIDER)
    assert unsure.report is not None
    assert {finding.code for finding in unsure.report.unknown} == {"no_right_answer"}
    sure = client.rewards.deploy(
        package, name="sums", dataset=WIDER, gold=lambda record: str(record["reference_answer"])[::-1]
    )
    assert sure.report is not None
    assert sure.report.scores["right"].mean == 1.0
    assert not sure.report.unknown


def test_there_is_no_check_without_records(here: Here, client: Client) -> None:
    assert client.rewards.deploy(build_package(), name="sums").report is None
    assert "InvokeFunction" not in [asked.operation for asked in here.gate.asked]


# Foreign resources


def foreign_function(here: Here, **tags: str) -> None:
    iam = here.service("iam")
    role = iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=json.dumps(ANYBODY))["Role"]["Arn"]
    here.service("lambda").create_function(
        FunctionName="sums",
        Runtime="python3.13",
        Role=role,
        Handler="a.b",
        Code={"ZipFile": build_package().content},
        Tags=tags,
    )
    here.gate.clear()


@pytest.mark.parametrize(
    "tags", [{"x": "y"}, {"bedrock-rft:managed": "reward"}, {"bedrock-rft:managed": "reward", "bedrock-rft:name": "s"}]
)
@pytest.mark.parametrize("plan", [False, True])
def test_a_foreign_function_is_not_changed(here: Here, client: Client, tags: dict[str, str], *, plan: bool) -> None:
    foreign_function(here, **tags)
    with pytest.raises(ConfigurationError, match=r"was not created by deploying 'sums'.*Choose another name="):
        (client.rewards.plan if plan else client.rewards.deploy)(build_package(), name="sums")
    with pytest.raises(ConfigurationError, match=r"was not created by deploying 'sums'.*Delete it yourself"):
        client.rewards.plan_destroy("sums") if plan else client.rewards.destroy("sums", force=True)
    assert here.gate.writes == []


def test_a_foreign_role_is_not_changed(here: Here, client: Client) -> None:
    here.service("iam").create_role(RoleName=f"sums-{REGION}", AssumeRolePolicyDocument=json.dumps(ANYBODY))
    here.gate.clear()
    with pytest.raises(ConfigurationError, match=r"The role .*sums-us-west-2 was not created .*role_arn="):
        client.rewards.deploy(build_package(), name="sums")
    assert here.gate.writes == []
    plan = client.rewards.destroy("sums", force=True)
    assert here.gate.writes == []
    assert [(step.action, step.details) for step in plan.steps] == [
        ("leave", ("does not exist",)),
        ("leave", ("not created by deploy",)),
    ]


def test_role_arn_is_used_unchanged(here: Here, client: Client) -> None:
    iam = here.service("iam")
    own = iam.create_role(RoleName="own", Path="/team/", AssumeRolePolicyDocument=json.dumps(ANYBODY))["Role"]["Arn"]
    here.gate.clear()
    reward = client.rewards.deploy(build_package(models=("amazon.nova-lite-v1:0",)), name="sums", role_arn=own)
    assert reward.role_arn == own
    assert not any(asked.action.startswith("iam:") for asked in here.gate.asked)
    assert "it needs bedrock:InvokeModel on amazon.nova-lite-v1:0" in str(reward.plan).replace("\n     ", "")
    client.rewards.destroy(reward, force=True)
    assert iam.get_role(RoleName="own")["Role"]["Arn"] == own


def test_a_role_keeps_its_permissions_boundary(here: Here, client: Client) -> None:
    iam = here.service("iam")
    first, other = (
        iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(LIMITS))["Policy"]["Arn"] for name in ("a", "b")
    )

    def boundary() -> str | None:
        role = iam.get_role(RoleName=f"sums-{REGION}")["Role"]
        found: str | None = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        return found

    plan = client.rewards.plan(build_package(), name="sums", permissions_boundary=first)
    assert f"permissions boundary: {first}" in str(plan).replace("\n      ", "")
    assert "iam:PutRolePermissionsBoundary" in plan.needs
    here.gate.clear()
    client.rewards.deploy(build_package(), name="sums", permissions_boundary=first)
    assert boundary() == first
    assert here.gate.writes[0].endswith("CreateRole"), "and never without it"
    assert not client.rewards.deploy(build_package(), name="sums", permissions_boundary=first).changed

    changed = client.rewards.deploy(build_package(), name="sums", permissions_boundary=other)
    assert boundary() == other
    assert f"{first} → {other}" in " ".join(changed.plan.steps[0].details)
    kept = client.rewards.deploy(build_package(), name="sums")
    assert (kept.changed, boundary()) == (False, other), "left out, it stays"
    assert f"stays: {other}" in " ".join(kept.plan.steps[0].details)

    iam.delete_role_permissions_boundary(RoleName=f"sums-{REGION}")
    client.rewards.deploy(build_package(), name="sums", permissions_boundary=first)
    assert boundary() == first
    allowed = deployer_policy(ARN, role=ROLE, permissions_boundary=first)
    assert {*changed.plan.needs, *plan.needs} <= {*allowed.actions}
    client.rewards.destroy("sums", force=True)


def test_a_role_that_is_no_longer_used_is_named(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    own = here.service("iam").create_role(RoleName="own", AssumeRolePolicyDocument=json.dumps(ANYBODY))["Role"]["Arn"]
    reward = client.rewards.deploy(build_package(), name="sums", role_arn=own)
    assert read_settings(here, reward.version)["Role"] == own
    assert f"{ROLE} is no longer used; destroy deletes it" in reward.plan.steps[0].details
    client.rewards.destroy("sums", force=True)
    assert [role["RoleName"] for role in here.service("iam").list_roles()["Roles"]] == ["own"]


# Destroying


def test_destroy_deletes_only_the_deployment(here: Here, client: Client) -> None:
    reward = client.rewards.deploy(build_package(), name="sums")
    client.rewards.deploy(build_package(SOURCE + "# changed\n"), name="sums")
    client.rewards.deploy(build_package(), name="other")
    here.gate.clear()
    planned = client.rewards.plan_destroy(reward)
    assert here.gate.writes == []
    done = client.rewards.destroy(reward, force=True)
    assert here.gate.writes == ["DeleteFunction", "DeleteRolePolicy", "DeleteRole"]
    assert [step.kind for step in planned.steps] == [step.kind for step in done.steps]
    assert (planned.verdict, done.verdict) == ("3 to delete", "3 deleted")
    assert "aws logs delete-log-group" in str(planned)
    assert [one["FunctionName"] for one in here.service("lambda").list_functions()["Functions"]] == ["other"]
    assert [role["RoleName"] for role in here.service("iam").list_roles()["Roles"]] == [f"other-{REGION}"]


@pytest.mark.parametrize("given", ["sums", f"{ARN}:1", ARN])
def test_destroy_can_be_repeated(here: Here, client: Client, given: str) -> None:
    client.rewards.deploy(build_package(), name="sums")
    assert client.rewards.destroy(given, force=True).changes
    here.gate.clear()
    again = client.rewards.destroy(given, force=True)
    assert not again.changes
    assert str(again).startswith("Destroy sums: nothing changed")
    assert here.gate.writes == []
    assert client.rewards.deploy(build_package(), name="sums").version == "1"


def test_a_role_with_other_policies_is_not_deleted(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    iam = here.service("iam")
    iam.put_role_policy(RoleName=f"sums-{REGION}", PolicyName="more", PolicyDocument=json.dumps(WIDE))
    arn = iam.create_policy(PolicyName="shared", PolicyDocument=json.dumps(WIDE))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=f"sums-{REGION}", PolicyArn=arn)
    here.gate.clear()
    with pytest.raises(ConfigurationError, match="Nothing was deleted") as caught:
        client.rewards.destroy("sums", force=True)
    assert f"aws iam delete-role-policy --role-name sums-{REGION} --policy-name more" in str(caught.value)
    assert f"aws iam detach-role-policy --role-name sums-{REGION} --policy-arn {arn}" in str(caught.value)
    again = client.rewards.deploy(build_package(), name="sums")
    assert not again.changed
    assert "not attached by deploy" in str(again.plan)
    assert here.gate.writes == []


def test_a_function_that_a_running_job_needs_is_kept(here: Here) -> None:
    handler = f"{EXAMPLES / 'reward.py'}:lambda_handler"
    with LocalService(reward=handler, pace=60) as service, Client(**service.client_options()) as rehearsal:
        reward = rehearsal.rewards.deploy(build_package(), name="sums")
        other = rehearsal.rewards.deploy(build_package(), name="other")
        file = rehearsal.files.upload((DATA * 20)[:100], validate=False)
        job = rehearsal.jobs.create("openai.gpt-oss-20b", training_file=file, reward=reward)
        assert job.reward == f"{ARN}:1"
        here.gate.clear()
        with pytest.raises(ConfigurationError, match=rf"Job {job.id} is \w+ and needs the function 'sums'"):
            rehearsal.rewards.destroy("sums")
        assert here.gate.writes == []
        assert rehearsal.rewards.destroy(other).changes
        rehearsal.jobs.cancel(job)
        assert rehearsal.rewards.destroy("sums").changes


def test_nothing_is_deleted_if_jobs_cannot_be_listed(here: Here, client: Client) -> None:
    client.rewards.deploy(build_package(), name="sums")
    here.gate.clear()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening, so connections are refused
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        identity = Credentials(ACCESS_KEY, SECRET, TOKEN)
        with Client(REGION, credentials=identity, base_url=nowhere, max_retries=0) as lost:
            with pytest.raises(
                APIConnectionError, match=r"Nothing was deleted, because .* force=True skips this check\."
            ):
                lost.rewards.destroy("sums")
            assert here.gate.asked == []
            assert lost.rewards.destroy("sums", force=True).changes


# Identities and regions


@pytest.mark.usefixtures("here")
def test_the_async_client_plans_deploys_and_destroys() -> None:
    async def both() -> tuple[Plan, DeployedReward, Plan]:
        async with AsyncClient(REGION, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN)) as client:
            plan = await client.rewards.plan(build_package(), name="sums")
            reward = await client.rewards.deploy(build_package(), name="sums", dataset=DATA)
            return plan, reward, await client.rewards.destroy(reward, force=True)

    plan, reward, gone = asyncio.run(both())
    assert (plan.verdict, reward.arn, gone.verdict) == ("4 to create", f"{ARN}:1", "3 deleted")


@pytest.mark.usefixtures("here")
def test_a_client_with_a_key_uses_credentials_of_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(REGION, api_key="ABSKfake9Long8Term7Key") as client:
        with pytest.raises(ConfigurationError, match="Lambda take no Bedrock API key"):
            client.rewards.deploy(build_package(), name="sums")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        plan = client.rewards.plan(build_package(), name="sums")
    assert dict(plan.facts)["identity"] == "AWS credentials from the AWS credential chain (env)"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("region", ["us-gov-west-1", "eu-central-1"])
def test_deployed_arns_have_the_partition_of_the_region(region: str) -> None:
    partition = "aws-us-gov" if "gov" in region else "aws"
    with Client(region, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN)) as client:
        reward = client.rewards.deploy(build_package(models=("amazon.nova-lite-v1:0",)), name="sums")
        assert reward.arn == f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:sums:1"
        assert reward.role_arn == f"arn:{partition}:iam::{ACCOUNT}:role/bedrock-rft/sums-{region}"
        for _, each in reward.plan.policies:
            for statement in each.statement:
                assert all(on.startswith(f"arn:{partition}:") for on in statement.resource)
        assert client.rewards.destroy(reward, force=True).verdict == "3 deleted"


def test_a_client_of_the_local_service_changes_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with Client(REGION, api_key="k", base_url="http://127.0.0.1:9/v1") as client:
        with pytest.raises(ConfigurationError, match=r"uses a local service, but lambda\.us-west-2\.amazonaws\.com"):
            client.rewards.plan(build_package(), name="sums")
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
        with pytest.raises(ConfigurationError, match=r"iam\.amazonaws\.com .*AWS_ENDPOINT_URL_IAM"):
            client.rewards.destroy("sums", force=True)


# Names and settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"name": ""}, "name is ''"),
        ({"name": "a b"}, "1 to 64 letters"),
        ({"name": "x" * 65}, "1 to 64 letters"),
        ({"name": "sums:1"}, "1 to 64 letters"),
        ({"name": "süms"}, "1 to 64 letters"),
        ({"name": 7}, "name is 7"),
        ({"timeout": 0}, "timeout is 0; Lambda takes 1 to 900"),
        ({"timeout": 901}, "timeout is 901"),
        ({"timeout": True}, "timeout is True"),
        ({"timeout": 1.5}, "timeout is 1.5"),
        ({"memory": 127}, "memory is 127; Lambda takes 128 to 10240"),
        ({"models": "amazon.nova-lite-v1:0"}, "models takes a list"),
        ({"role_arn": "own"}, "role_arn is 'own'"),
        ({"role_arn": "arn:aws:iam::210987654321:role/own"}, "of another account"),
        ({"permissions_boundary": "limits"}, "permissions_boundary is 'limits'. Pass the ARN"),
        ({"permissions_boundary": "arn:aws:iam::210987654321:policy/limits"}, "of another account"),
        (
            {"permissions_boundary": "arn:aws:iam::aws:policy/X", "role_arn": f"arn:aws:iam::{ACCOUNT}:role/own"},
            "Pass one",
        ),
        ({"tags": {"aws:x": "y"}}, "a reserved prefix"),
        ({"tags": {"bedrock-rft:name": "y"}}, "a reserved prefix"),
        ({"tags": {"x": "\x1b[2J"}}, "AWS does not accept the tag"),
        ({"tags": {"x": 1}}, "tags must map text to text"),
        ({"tags": {"Team": "a", "team": "b"}}, "Team, team differ in case only"),
        ({"bucket": "s3://packages"}, "bucket is 's3://packages'"),
        ({"keep_versions": 0}, "keep_versions is 0"),
        ({"tags": {str(n): "" for n in range(49)}}, "tags has 49 entries"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(
    here: Here, client: Client, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        client.rewards.deploy(build_package(), **dict[str, Any]({"name": "sums", **settings}))
    assert says in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert here.gate.writes == []
    if "another account" not in says:
        assert here.gate.asked == []


def test_role_names_are_valid_and_distinct() -> None:
    assert role_name("sums", REGION) == "sums-us-west-2"
    longest = [role_name("x" * 63 + end, region) for end in "ab" for region in (REGION, "ap-southeast-1")]
    assert len({*longest}) == 4
    assert all(len(name) <= 64 for name in longest)
    assert role_name("x" * 54, REGION) == "x" * 54 + "-us-west-2"


def test_destroy_refuses_invalid_names(client: Client) -> None:
    with pytest.raises(ConfigurationError, match="in eu-west-1, but this client is in us-west-2"):
        client.rewards.destroy(ARN.replace("us-west-2", "eu-west-1"))
    for given in (7, None, "a b", "arn:aws:s3:::bucket"):
        with pytest.raises(ConfigurationError):
            client.rewards.destroy(given)


def test_no_secret_is_sent_or_shown(here: Here, client: Client) -> None:
    reward = client.rewards.deploy(build_package(), name="sums", dataset=DATA)
    assert all(find_secrets(asked.body) == [] for asked in here.gate.asked)
    for shown in (repr(reward), str(reward), str(reward.plan), repr(reward.plan), reward.plan._repr_html_()):
        assert find_secrets(shown) == []
