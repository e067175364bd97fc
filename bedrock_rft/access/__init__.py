"""IAM policies, access checks, short-term API keys and deployed rewards."""

from __future__ import annotations

from bedrock_rft.access._deployment.deploy import DeployedReward
from bedrock_rft.access._deployment.logs import LogLine, LogLines, LogSummary
from bedrock_rft.access._deployment.plan import Plan, Step
from bedrock_rft.access._doctor.doctor import Report, doctor
from bedrock_rft.access._keys import ApiKeyProvider, MintedKey, api_key_provider, mint_api_key
from bedrock_rft.access._live_check import LiveReport, live_check
from bedrock_rft.access._policies.managed_policies import MANAGED_POLICIES, ManagedPolicy
from bedrock_rft.access._policies.policy import Policy, Statement
from bedrock_rft.access._policies.rft_policies import (
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

__all__ = [
    "MANAGED_POLICIES",
    "ApiKeyProvider",
    "DeployedReward",
    "LiveReport",
    "LogLine",
    "LogLines",
    "LogSummary",
    "ManagedPolicy",
    "MintedKey",
    "Plan",
    "Policy",
    "Report",
    "Statement",
    "Step",
    "api_key_provider",
    "caller_policy",
    "deployer_policy",
    "doctor",
    "doctor_policy",
    "documented_invoke_policy",
    "documented_judge_policy",
    "execution_policy",
    "invoke_policy",
    "judge_policy",
    "live_check",
    "mint_api_key",
    "trust_policy",
    "watcher_policy",
]
