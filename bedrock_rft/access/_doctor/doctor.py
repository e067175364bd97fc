"""Check everything that a job needs: endpoint, identity, permissions, reward function."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from typing import Any, Protocol, TypedDict, overload
from urllib.parse import urlsplit

from typing_extensions import Unpack

from bedrock_rft._auth import api_key as api_keys
from bedrock_rft._auth.botocore_clients import AwsServices
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.identity import Identity
from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft._core.redaction import redact
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.transport import Transport, run_sync
from bedrock_rft.access._doctor import client_checks, function_checks, role_checks
from bedrock_rft.access._doctor.aws_queries import Aws, QueryFailure
from bedrock_rft.access._doctor.caller_checks import check_caller, check_permissions, unknown_permissions_finding
from bedrock_rft.access._doctor.client_checks import check_endpoint
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.access._policies.rft_policies import caller_policy, judge_policy
from bedrock_rft.errors import BedrockRFTError, ConfigurationError
from bedrock_rft.types.arn import LambdaArn

_QUERY_SECONDS = 8.0
_NO_ACCOUNT = "0" * 12


class _Client(Protocol):
    """The parts of `Client` that are used here, because this layer must not import the class."""

    @property
    def identity(self) -> Identity: ...

    def __enter__(self) -> Any: ...


class _AsyncClient(Protocol):
    """The parts of `AsyncClient` that are used here."""

    @property
    def identity(self) -> Identity: ...

    async def __aenter__(self) -> Any: ...


@dataclass(frozen=True)
class Report(Findings):
    """Findings of the doctor. Print the report, or display it in a notebook.

    Attributes:
        base_url: the endpoint.
        region: AWS region of the requests.
        source: source of the API key or credentials.
        who: ARN of the identity; None if it is not known.
        reward: ARN of the checked reward function, or the file that a dry run would deploy; None if none was given.
    """

    base_url: str = ""
    region: str = ""
    source: str = ""
    who: str | None = None
    reward: str | None = None

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return endpoint, region, identity and reward as names and values."""
        facts = [("endpoint", self.base_url), ("region", self.region), ("identity", self.source)]
        facts += [("as", self.who)] if self.who else []
        return [*facts, ("reward", self.reward or "none given; pass reward= to check a reward")]


class _Options(TypedDict, total=False):
    reward: object | None
    models: Sequence[str] | str
    judges: Sequence[str]
    seconds: float


@overload
def doctor(client: _Client, **options: Unpack[_Options]) -> Report: ...
@overload
def doctor(client: _AsyncClient, **options: Unpack[_Options]) -> Coroutine[Any, Any, Report]: ...
def doctor(
    client: _Client | _AsyncClient,
    *,
    reward: object | None = None,
    models: Sequence[str] | str = (),
    judges: Sequence[str] = (),
    seconds: float = 20.0,
) -> Report | Coroutine[Any, Any, Report]:
    """Check everything that a job needs; report problems with their reasons and remedies.

    ```python
    print(access.doctor(client, reward=arn, models=["openai.gpt-oss-20b"]))
    ```

    The doctor changes nothing. It queries the endpoint through the client's own connection, and STS, IAM, Lambda, EC2,
    KMS and S3 with the client's AWS credentials; a client with an API key uses the credentials that botocore finds.
    Checks that cannot run are `unknown_findings`, with the reason. Await the result for an `AsyncClient`.

    Args:
        client: a `Client` or `AsyncClient`.
        reward: the reward function: its ARN as the job will use it, or the result of `client.rewards.deploy`.
        models: models to train.
        judges: models that the reward invokes.
        seconds: time limit for all checks; unfinished checks are `unknown_findings`.

    Raises:
        ConfigurationError: an argument is invalid. All other problems are in the report.
    """
    async_client = getattr(client, "_async", client)
    session = getattr(async_client, "_session", None)
    if session is None:
        raise ConfigurationError(f"doctor takes a Client or an AsyncClient, not {type(client).__name__}.")
    reward_arn: Any = getattr(reward, "arn", reward)
    arn = LambdaArn(reward_arn) if reward_arn is not None else None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"seconds is {seconds!r}. It must be a positive number.")
    if judges:
        judge_policy(judges, arn.region if arn else session.config.region, arn.account if arn else _NO_ACCOUNT)
    models = (models,) if isinstance(models, str) else tuple(models)
    examination = _Examination(client.identity, session.config, arn, models, tuple(judges), float(seconds))
    if async_client is client:
        return examination.run_async(session.transport)
    return examination.run(session.transport, run_sync, wait=False)


Check = Callable[[], Iterable[Finding]]
_Step = Callable[[Coroutine[Any, Any, list[Finding]]], list[Finding]]


@dataclass(frozen=True)
class _Examination:
    """The checks of one client."""

    identity: Identity
    config: Config
    reward: LambdaArn | None
    models: tuple[str, ...]
    judges: tuple[str, ...]
    seconds: float

    def run(self, transport: Transport, step: _Step, *, wait: bool) -> Report:
        """Run all checks in threads, and their coroutines with `step`. `wait` allows a key from an async function."""
        regions: Mapping[str, str] = dict.fromkeys(
            ["lambda", "ec2", "kms", "bedrock", "s3"], self.reward.region if self.reward else self.config.region
        )
        aws = Aws(AwsServices(self.config, regions, timeout=min(self.seconds, _QUERY_SECONDS), retries=1))
        checks: dict[str, Check] = {
            "endpoint": lambda: step(check_endpoint(transport, self.config, self.models)),
            "API key": lambda: step(self._check_key(wait=wait)),
            "caller": partial(self._check_caller, aws),
        }
        if self.reward is not None:
            checks["reward function"] = partial(self._check_function, aws, self.reward)
        return self._report(run_checks(checks, self.seconds), aws)

    async def run_async(self, transport: Transport) -> Report:
        """Run all checks, with their coroutines on this event loop, without blocking the loop."""
        import asyncio

        loop, futures = asyncio.get_running_loop(), list[Future[list[Finding]]]()

        def step(coroutine: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
            futures.append(asyncio.run_coroutine_threadsafe(coroutine, loop))
            return futures[-1].result()

        try:
            return await transport.run(lambda: self.run(transport, step, wait=True))
        finally:
            for future in futures:
                future.cancel()

    def _report(self, findings: list[Finding], aws: Aws) -> Report:
        offline = [*client_checks.check_identity(self.identity), client_checks.check_region(self.config)]
        if self.reward:
            offline += function_checks.check_arn(self.reward, self.config.region)
        aws.close()
        reasons = {one.reason.rstrip(".") for one in findings if one.code == "endpoint"}
        findings = [  # say once why the credentials cannot be resolved
            replace(one, reason="no request to AWS was possible")
            if one.code == "who" and one.reason.rstrip(".") in reasons
            else one
            for one in findings
        ]
        return Report(
            f"Access to {urlsplit(self.config.base_url).hostname or self.config.base_url}",
            (*offline, *findings),
            base_url=self.config.base_url,
            region=self.config.region,
            source=self.identity.source,
            who=aws.known_arn,
            reward=self.reward,
        )

    async def _check_key(self, *, wait: bool) -> list[Finding]:
        """Check the API key."""
        if self.config.key is None:
            return []
        try:
            key = await self.config.key.current_key_async() if wait else self.config.key.current_key()
        except BedrockRFTError as error:
            return [Finding("error", "key", "The API key cannot be used", error.message)]
        remedy = self._policy_remedy("Give its user", self.reward.account if self.reward else "", api_key=True)
        parsed, now = api_keys.parse_key(key.reveal()), datetime.now(timezone.utc)
        return list(client_checks.check_key(parsed, now, remedy))

    def _check_caller(self, aws: Aws) -> Iterator[Finding]:
        identity, region = aws.identity, self.config.region
        signs = self.config.key is None
        yield check_caller(identity, aws.credentials.origin, signs=signs, region=region)
        account = self.reward.account if self.reward else ""
        if not isinstance(identity, QueryFailure):
            account = identity.account
        needed_policy = caller_policy(
            region, account or _NO_ACCOUNT, reward=self.reward, project=self.config.project, api_key=not signs
        )
        if isinstance(identity, QueryFailure):
            reason = str(identity) if identity.was_not_sent else f"the caller's identity is not known: {identity}"
            yield unknown_permissions_finding(
                needed_policy, reason, self._policy_remedy("Compare with", account, api_key=not signs)
            )
        elif not signs and not self._key_was_made_with(aws):
            reason = "an API key does not name its owner, and these AWS credentials may belong to someone else"
            remedy = "Run the doctor with the credentials that the key was made from: Client(auth='aws')."
            yield unknown_permissions_finding(needed_policy, reason, remedy)
        else:
            context = {} if signs else {"bedrock-mantle:BearerTokenType": "SHORT_TERM"}
            policy = aws.resource_policy(self.reward) if self.reward else None
            has_policy = policy is not None and not (isinstance(policy, QueryFailure) and policy.is_missing)
            yield from check_permissions(
                aws,
                identity,
                needed_policy,
                context,
                reward=self.reward,
                models=self.models,
                resource_policy=has_policy,
            )

    def _policy_remedy(self, verb: str, account: str, *, api_key: bool) -> str:
        """Return advice to use the policy that the identity needs, with a command if the account is known."""
        region = self.config.region
        if not account:
            return f"{verb} the policy of access.caller_policy('{region}', ACCOUNT{', api_key=True' * api_key})."
        options = f"--region {region} --account {account}"
        options += f" --reward {self.reward}" if self.reward else ""
        options += " --api-key" * api_key
        return f"{verb} the policy of `bedrock-rft policy caller {options}`"

    def _key_was_made_with(self, aws: Aws) -> bool:
        """Return whether the API key was made with the AWS credentials that the queries use."""
        key = self.config.key
        access_key = api_keys.parse_key(key.constant_key() or "").access_key_id if key is not None else None
        return access_key is not None and access_key == aws.credentials.freeze().access_key

    def _check_function(self, aws: Aws, arn: LambdaArn) -> Iterator[Finding]:
        configuration = aws("lambda", "get_function_configuration", FunctionName=arn)
        yield from function_checks.check_configuration(arn, configuration, datetime.now(timezone.utc).date())
        if isinstance(configuration, QueryFailure):
            return
        bare, _ = function_arns(arn)
        concurrency = aws("lambda", "get_function_concurrency", FunctionName=bare)
        yield function_checks.check_concurrency(arn, concurrency)
        policy = aws.resource_policy(arn)
        yield function_checks.check_resource_policy(arn, policy)
        yield from self._check_unqualified_policy(aws, LambdaArn(bare), policy)
        yield from function_checks.check_function_url(aws, arn)
        yield from function_checks.check_kms_key(aws, arn, configuration)
        yield from function_checks.check_network(aws, arn, configuration, self.judges)
        record = function_checks.recording_location(configuration)
        if record is not None:
            yield function_checks.check_recording(aws, arn, record)
        identity = aws.identity
        if isinstance(identity, QueryFailure):
            return
        yield from function_checks.check_account(arn, identity.account, policy)
        role = str(configuration.get("Role") or "")
        if (account_finding := role_checks.check_role_account(role, arn, identity.account)) is not None:
            yield account_finding
            return
        name = role.rpartition("/")[2]
        yield role_checks.check_trust(role, arn, aws("iam", "get_role", RoleName=name))
        role_policies = aws("iam", "list_attached_role_policies", RoleName=name)
        yield from role_checks.check_wide_policies(role, arn, self.judges, role_policies)
        yield from role_checks.check_role_permissions(aws, role, arn, self.judges, record)

    def _check_unqualified_policy(
        self, aws: Aws, bare: LambdaArn, policy: Mapping[str, Any] | QueryFailure
    ) -> Iterator[Finding]:
        """Report a policy of the unqualified function that allows everyone, because it also covers the function URL."""
        bare_policy = aws.resource_policy(bare)
        if isinstance(bare_policy, QueryFailure) or (
            not isinstance(policy, QueryFailure) and bare_policy["Policy"] == policy["Policy"]
        ):
            return
        finding = function_checks.check_resource_policy(bare, bare_policy)
        yield from [finding] if finding.level != "ok" else []


def run_checks(checks: Mapping[str, Check], seconds: float) -> list[Finding]:
    """Run each check in a daemon thread, and return all findings. A check that raises or is late becomes a finding."""
    findings: dict[str, list[Finding]] = {}

    def unknown_findings(name: str, event: str, reason: str = "", remedy: str = "") -> list[Finding]:
        return [Finding("unknown", name.replace(" ", "_"), f"The check of the {name} {event}", reason, remedy)]

    def run(name: str, check: Check) -> None:
        try:
            findings[name] = list(check())
        except Exception as error:  # noqa: BLE001 - one failed check must not prevent the report
            reason = sanitize_line(redact(f"{type(error).__name__}: {error}"), 300)
            findings[name] = unknown_findings(name, "failed", reason)

    threads = [threading.Thread(target=run, args=item, daemon=True, name="doctor") for item in checks.items()]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    timeout_texts = f"did not finish within {seconds:g} s", "", "Allow more time with seconds=."
    return [finding for name in checks for finding in findings.get(name, unknown_findings(name, *timeout_texts))]
