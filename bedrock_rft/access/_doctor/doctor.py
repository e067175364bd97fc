"""One report on everything that a job needs and has: who calls, what it may do, and whether the reward is ready."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, overload
from urllib.parse import urlsplit

from bedrock_rft._auth import api_key as keys
from bedrock_rft._auth.aws_credentials import AwsCredentials, chain
from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import is_loopback
from bedrock_rft._auth.identity import Identity
from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft._core.redaction import Secret
from bedrock_rft._transport.transport import Transport, run_sync
from bedrock_rft.access._doctor import client_checks as look_client
from bedrock_rft.access._doctor import function_checks as look_function
from bedrock_rft.access._doctor import role_checks as look_role
from bedrock_rft.access._doctor.aws_queries import Aws, Refused
from bedrock_rft.access._doctor.caller_checks import permissions, unasked, who_am_i
from bedrock_rft.access._doctor.concurrent_checks import failed, late, together
from bedrock_rft.access._doctor.endpoint_checks import endpoint
from bedrock_rft.access._policies.arns import function_arns
from bedrock_rft.access._policies.judge_policies import judge_policy
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.access._policies.rft_policies import caller_policy
from bedrock_rft.errors import BedrockRFTError, ConfigurationError
from bedrock_rft.types.arn import LambdaArn

if TYPE_CHECKING:
    from bedrock_rft import AsyncClient, Client

__all__ = ["Report", "doctor"]

_ONE_ANSWER = 8.0
_NO_CREDENTIALS = (
    "There are no AWS credentials, and IAM, STS and Lambda take no Bedrock API key. Run 'aws configure' or 'aws sso "
    "login', or look with Client(profile=…)."
)


@dataclass(frozen=True)
class Report(Findings):
    """What the doctor found. Print it, or let a notebook show it.

    Attributes:
        base_url: the endpoint.
        region: that is signed for.
        source: where the key or the credentials come from.
        who: the ARN of whoever AWS says this is; None where it did not say.
        reward: the reward function, where one was looked at.
    """

    base_url: str = ""
    region: str = ""
    source: str = ""
    who: str | None = None
    reward: str | None = None

    def facts(self) -> Sequence[tuple[str, str]]:
        """Endpoint, region, identity and reward."""
        found = [("endpoint", self.base_url), ("region", self.region), ("identity", self.source)]
        found += [("as", self.who)] if self.who else []
        return [*found, ("reward", self.reward or "none given: reward=… looks at one")]


@overload
def doctor(
    client: Client,
    *,
    reward: object | None = ...,
    models: Sequence[str] | str = ...,
    judges: Sequence[str] = ...,
    seconds: float = ...,
) -> Report: ...
@overload
def doctor(
    client: AsyncClient,
    *,
    reward: object | None = ...,
    models: Sequence[str] | str = ...,
    judges: Sequence[str] = ...,
    seconds: float = ...,
) -> Coroutine[Any, Any, Report]: ...
def doctor(
    client: Client | AsyncClient,
    *,
    reward: object | None = None,
    models: Sequence[str] | str = (),
    judges: Sequence[str] = (),
    seconds: float = 20.0,
) -> Report | Coroutine[Any, Any, Report]:
    """Look at everything that a job needs, and say what is wrong, why, and what mends it.

    ```python
    print(access.doctor(client, reward=arn, models=["openai.gpt-oss-20b"]))
    ```

    It only looks. The endpoint is asked through the client's own connection; STS, IAM and Lambda with its AWS
    credentials, or, beside an API key, with those that botocore finds. What could not be looked at is `unknown`, with
    the reason. With an `AsyncClient`, the answer is awaited.

    Args:
        client: whose access it is.
        reward: the reward function: its ARN, or what `client.rewards.deploy` returned.
        models: that are to be trained.
        judges: models that the reward asks.
        seconds: for all of it; what is not seen by then is `unknown`.

    Raises:
        ConfigurationError: an argument makes no sense. Whatever is wrong otherwise is in the report.
    """
    source = getattr(client, "_async", client)
    session = getattr(source, "_session", None)
    if session is None:
        raise ConfigurationError(f"doctor takes a Client or an AsyncClient, not {type(client).__name__}.")
    given: Any = getattr(reward, "arn", reward)
    arn = LambdaArn(given) if given is not None else None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise ConfigurationError("seconds must be a positive number.")
    if judges:
        judge_policy(judges, arn.region if arn else session.config.region, arn.account if arn else "0" * 12)
    wanted = (models,) if isinstance(models, str) else tuple(models)
    whole = _Examination(client.identity, session.config, arn, wanted, tuple(judges), float(seconds))
    return whole.soon(session.transport) if source is client else whole.now(session.transport)


@dataclass(frozen=True)
class _Examination:
    identity: Identity
    config: Config
    reward: LambdaArn | None
    models: tuple[str, ...]
    judges: tuple[str, ...]
    seconds: float

    def now(self, transport: Transport) -> Report:
        """All of it, in threads."""
        aws = self._aws()
        looks = {
            "endpoint": lambda: run_sync(endpoint(transport, self.config, self.models)),
            "API key": self._key,
            **self._looks(aws),
        }
        return self._report(together(looks, self.seconds), aws)

    async def soon(self, transport: Transport) -> Report:
        """All of it, without holding up the event loop."""
        import anyio

        aws = self._aws()
        found: dict[str, list[Finding]] = {}

        async def look(name: str, at: Callable[[], Coroutine[Any, Any, list[Finding]]]) -> None:
            found[name] = [late(name, self.seconds)]
            with anyio.move_on_after(self.seconds):
                try:
                    found[name] = await at()
                except Exception as error:  # noqa: BLE001 - a report is to come of whatever it finds
                    found[name] = [failed(name, error)]

        async def elsewhere() -> None:
            found["AWS"] = await transport.run(lambda: together(self._looks(aws), self.seconds))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look, "endpoint", lambda: endpoint(transport, self.config, self.models))
            tasks.start_soon(look, "API key", self._key_soon)
            tasks.start_soon(elsewhere)
        return self._report([*found["endpoint"], *found["API key"], *found["AWS"]], aws)

    def _report(self, found: list[Finding], aws: Aws) -> Report:
        own = [*look_client.identity(self.identity), look_client.region(self.config)]
        own += look_function.where(self.reward, self.config.region) if self.reward else ()
        who = aws.known
        aws.close()
        return Report(
            f"Access to {urlsplit(self.config.base_url).hostname or self.config.base_url}",
            (*own, *found),
            base_url=self.config.base_url,
            region=self.config.region,
            source=self.identity.source,
            who=who.arn if who else None,
            reward=self.reward,
        )

    def _aws(self) -> Aws:
        credentials: AwsCredentials | None = self.config.aws
        if credentials is None:
            credentials = chain(None)
            credentials.none_found = _NO_CREDENTIALS
        base = self.config.base_url
        return Aws(
            credentials,
            {"": self.config.region, **({"lambda": self.reward.region} if self.reward else {})},
            ca_bundle=self.config.ca_bundle,
            seconds=min(self.seconds, _ONE_ANSWER),
            here=base.startswith("local:") or is_loopback(urlsplit(base).hostname or ""),
        )

    def _looks(self, aws: Aws) -> dict[str, Callable[[], Iterator[Finding]]]:
        looks: dict[str, Callable[[], Iterator[Finding]]] = {"caller": partial(self._caller, aws)}
        if self.reward is not None:
            looks["reward function"] = partial(self._function, aws, self.reward)
        return looks

    def _key(self) -> list[Finding]:
        try:
            return [] if self.config.key is None else self._about(self.config.key.ask_now())
        except BedrockRFTError as error:
            return [Finding("error", "key", "The API key cannot be used", error.message)]

    async def _key_soon(self) -> list[Finding]:
        try:
            return [] if self.config.key is None else self._about(await self.config.key.ask_soon())
        except BedrockRFTError as error:
            return [Finding("error", "key", "The API key cannot be used", error.message)]

    def _about(self, key: Secret[str]) -> list[Finding]:
        return list(look_client.about_key(keys.parse_key(key.reveal()), self.config.region, datetime.now(timezone.utc)))

    def _caller(self, aws: Aws) -> Iterator[Finding]:
        who = aws.who
        signs = self.config.key is None
        yield who_am_i(who, aws.credentials.origin, signs=signs)
        account = who.account if not isinstance(who, Refused) else self.reward.account if self.reward else "0" * 12
        needed = caller_policy(
            self.config.region, account, reward=self.reward, project=self.config.project, api_key=not signs
        )
        if isinstance(who, Refused):
            yield from unasked(needed, str(who) if who.unasked else f"AWS did not say who this is: {who}")
        elif not signs and not self._made_with(aws):
            why = "an API key does not say whose it is, and these AWS credentials may be somebody else's"
            yield from unasked(needed, why, "Look again with the credentials it was made from: Client(auth='aws').")
        else:
            yield from self._permissions(aws, needed)

    def _permissions(self, aws: Aws, needed: Policy) -> Iterator[Finding]:
        who = aws.who
        if isinstance(who, Refused):
            return
        context = {"bedrock-mantle:Model": self.models[0]} if self.models else {}
        if self.config.key is not None:
            context["bedrock-mantle:BearerTokenType"] = "SHORT_TERM"
        own = aws("lambda", "get_policy", FunctionName=self.reward) if self.reward else None
        lets_in = own is not None and not (isinstance(own, Refused) and own.missing)
        yield from permissions(aws, who, needed, context, resource_policy=lets_in)

    def _made_with(self, aws: Aws) -> bool:
        """Whether the API key was made with the very credentials that AWS is asked with."""
        key = self.config.key
        made = keys.parse_key(key.static() or "").access_key_id if key is not None else None
        return made is not None and made == aws.credentials.freeze().access_key

    def _function(self, aws: Aws, arn: LambdaArn) -> Iterator[Finding]:
        said = aws("lambda", "get_function_configuration", FunctionName=arn)
        yield from look_function.configuration(arn, said, datetime.now(timezone.utc).date())
        if isinstance(said, Refused):
            return
        bare, _ = function_arns(arn)
        yield look_function.concurrency(arn, aws("lambda", "get_function_concurrency", FunctionName=bare))
        policy = aws("lambda", "get_policy", FunctionName=arn)
        yield look_function.resource_policy(arn, policy)
        who = aws.who
        if isinstance(who, Refused):
            return
        yield from look_function.account(arn, who.account, policy)
        role = str(said.get("Role") or "")
        if arn.account != who.account or not role:
            yield Finding("unknown", "role", "The function's role could not be seen", "it is of another account")
            return
        name = role.rpartition("/")[2]
        yield look_role.trust(role, aws("iam", "get_role", RoleName=name))
        yield from look_role.powers(aws("iam", "list_attached_role_policies", RoleName=name))
        yield from look_role.reach(aws, role, arn, self.judges)
