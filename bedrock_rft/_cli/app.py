"""Run the command: parse, execute, and turn every error into a message and an exit code."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bedrock_rft._cli.command import COMPLETE, PROGRAM, Group

_COMMANDS = {
    "init": ("init", "Write a small project: data, reward, run.toml."),
    "whoami": ("account", "Show the endpoint, region and identity."),
    "doctor": ("account", "Check everything that a job needs."),
    "key": ("account", "Print a short-term API key."),
    "data": ("data", "Check, split and convert training files."),
    "reward": ("reward", "Check, deploy and invoke reward functions."),
    "rollouts": ("rollouts", "Show, export and judge recorded rollouts."),
    "rehearse": ("evaluate", "Rehearse a job on this machine."),
    "files": ("files", "Upload and manage files of the service."),
    "jobs": ("jobs", "Create, follow and compare jobs."),
    "models": ("models", "List models, and ask a model a question."),
    "eval": ("evaluate", "Compare models on a dataset."),
    "inventory": ("account", "List the resources of the account, and their cost."),
    "policy": ("policy", "Print IAM policies."),
    "local": ("local", "Run the service on this machine."),
    "completion": ("completion", "Print the completion script for a shell."),
}

_EPILOG = """\
Exit codes:
  0    success
  1    an error
  2    a wrong command line, argument or setting; nothing was sent
  3    a check found errors
  4    the job failed or was cancelled
  5    a job may or may not have been created
  124  the time limit of --timeout passed
  130  Ctrl-C
Results go to standard output; progress, warnings and errors go to standard
error. Settings come from the options above, and from the environment
variables and AWS profiles that the SDK reads.
"""

root = Group(
    PROGRAM,
    help="Reinforcement fine-tuning of open-weight models on Amazon Bedrock.",
    epilog=_EPILOG,
    lazy=_COMMANDS,
    root=True,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    instruction = os.environ.get(COMPLETE)
    if instruction:
        from bedrock_rft._cli.completion import complete

        return complete(root, instruction)
    if list(arguments) in ([], ["--help"], ["-h"]):  # before anything else is imported
        from bedrock_rft._core.output import print_line

        print_line(root.get_help(root.make_context(PROGRAM, [], resilient_parsing=True)))
        return 0
    from bedrock_rft._cli.failures import catch_failures

    with catch_failures(arguments) as outcome, root.make_context(PROGRAM, list(arguments)) as context:
        outcome.enter(context)
        root.invoke(context)
    return outcome.code
