"""Messages of the SDK in the terms of the command line."""

from __future__ import annotations

import pytest

from bedrock_rft._cli.wording import extract_remedy, for_shell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No region: pass region='us-west-2', or set it.", "No region: pass --region 'us-west-2', or set it."),
        ("Pass force=True.", "Pass --force."),
        ("check=False deploys without a check.", "--no-check deploys without a check."),
        ("Pass keep_versions=, or memory=…", "Pass --keep-versions, or --memory"),
        ("permissions_boundary= is for role_arn=.", "--permissions-boundary is for --role."),
        ("requirements=['a==1'] is not valid", "--requirement is not valid"),
        ("See client.jobs.events('ftjob-1').", "See bedrock-rft jobs events ftjob-1."),
        ("resume with client.jobs.wait('job-1'), or", "resume with bedrock-rft jobs wait job-1, or"),
        ("Search with client.jobs.find('once') first", "Search with bedrock-rft jobs find once first"),
        (
            "Deploy it: reward = client.rewards.deploy(…, name='my-reward').",
            "Deploy it: bedrock-rft reward deploy … --name 'my-reward'.",
        ),
        (
            "Compare with access.caller_policy('us-west-2', ACCOUNT).",
            "Compare with bedrock-rft policy caller --region us-west-2 --account ACCOUNT.",
        ),
        ("a == b, x>=1, https://host/?name=value", "a == b, x>=1, https://host/?name=value"),
        ("Check it (bedrock_rft.rewards.check).", "Check it (bedrock-rft reward check)."),
        ("Delete some with client.rewards.destroy, or", "Delete some with bedrock-rft reward destroy, or"),
        (
            "Convert it: datasets.write('train.jsonl', datasets.convert(…)).",
            "Convert it: bedrock-rft data convert FILE --to train.jsonl.",
        ),
        (
            "Make a new key, or renew keys automatically: Client(api_key=access.api_key_provider()).",
            "Make a new key: bedrock-rft key.",
        ),
        ("with the credentials of the key: Client(auth='aws').", "with the credentials of the key: --auth 'aws'."),
        ("or pass client=Client(profile=…).", "or pass --profile."),
        ("or pass api_key=…, profile=… or credentials=….", "or pass --profile."),
        ("may have fewer: Limits(min_records=1).", "may have fewer: --min-records 1."),
        ("Run `datasets.validate` first.", "Run `bedrock-rft data check` first."),
        ("the function took 3 s", "the function took 3 s"),
        ("… and 3 more of kind file; see to_dict()", "… and 3 more of kind file; see -o json"),
        (
            "x is not a difficulty that Difficulty.to_json wrote.",
            "x is not a file that 'eval run --difficulty' or 'rollouts stats --difficulty' wrote.",
        ),
        ("1 line was skipped. The attribute 'problems' lists them.", "1 line was skipped."),
        ("Pass an aware datetime, Unix seconds, or text such as 'T'.", "Pass a time such as 'T'."),
        ("`invoke_policy` names one function.", "'bedrock-rft policy invoke' names one function."),
        (
            "expected, such as (record, '42', 1.0).",
            'expected, such as {"record": {...}, "answer": "42", "expected": 1.0}.',
        ),
    ],
)
def test_python_becomes_flags_and_commands(text: str, expected: str) -> None:
    assert for_shell(text) == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("It failed. It was refused. Renew the key. Wait a minute.", "Renew the key. Wait a minute."),
        ("No region: pass --region 'us-west-2', or set AWS_REGION.", "Pass --region 'us-west-2', or set AWS_REGION."),
        ("It failed: something broke.", None),
    ],
)
def test_the_remedy_is_what_to_do(text: str, remedy: str | None) -> None:
    assert extract_remedy(text) == remedy
