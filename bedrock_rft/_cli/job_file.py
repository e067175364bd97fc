"""Settings of a job to create, from run.toml or a body for OpenAI's client, and from flags, which override the file."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import click

from bedrock_rft._cli.reward_source import is_file

_TEXTS = ("model", "training_file", "validation_file", "reward", "reward_name", "name")
_TABLES = ("hyperparameters", "metadata")
_PATHS = ("training_file", "validation_file")
_SUFFIXES = (".jsonl", ".json", ".ndjson")


@dataclass(frozen=True)
class JobSettings:
    """The settings of a job. Files are paths or ids; the reward is an ARN, a deployed name, or `file.py:name`."""

    model: str | None = None
    training_file: str | None = None
    validation_file: str | None = None
    reward: str | None = None
    reward_name: str | None = None
    name: str | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def raise_if_incomplete(self) -> JobSettings:
        """Return the settings. Raise `click.UsageError` if a setting that a job needs is missing."""
        for name in ("model", "training_file", "reward"):
            if getattr(self, name) is None:
                flag = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"Missing option '{flag}', or the key '{name}' in run.toml.")
        return self

    def derive_name(self, reward: str) -> str:
        """Return a name for the content of the job, with the ARN of the reward or a digest of its code."""
        from bedrock_rft.types.method import Hyperparameters

        content = [
            self.model,
            _digest(self.training_file),
            _digest(self.validation_file),
            reward,
            Hyperparameters.of(self.hyperparameters).sent(),  # 1 and 1.0 are the same multiplier
            dict(self.metadata),
        ]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
        return f"cli-{digest}"


def is_path(text: str) -> bool:
    """Return whether a text is the path of a file on this machine, and not the id of a file on the service."""
    return text.endswith(_SUFFIXES) or "/" in text or "\\" in text or Path(text).exists()


def read_job_file(path: str) -> JobSettings:
    """Read a TOML file, whose paths are relative to its folder, or JSON that was written for OpenAI."""
    if path.endswith(".json"):
        return _read_openai_body(path)
    loads = _toml_parser()
    try:
        found = loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError, or nested too deeply
        raise click.UsageError(f"{path} is not valid TOML: {error}.") from None
    for key, value in found.items():
        _check(path, key, value)
    folder = Path(path).parent
    for key in _PATHS:
        if key in found and is_path(str(folder / found[key])) and is_path(found[key]):
            found[key] = str(folder / found[key])
    reward = found.get("reward", "")
    if is_file(reward):
        found["reward"] = str(folder / reward)
    return JobSettings(**found)


def _read_openai_body(path: str) -> JobSettings:
    """Read the body of OpenAI's `fine_tuning.jobs.create`, or a job. Its model and grader may have to be replaced."""
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(body, dict):
        raise click.UsageError(f"{path} is not a JSON object.")
    return read_body(cast("dict[str, Any]", body))


def read_body(fields: dict[str, Any]) -> JobSettings:
    """Return the settings of the body of a request. Raises `ConfigurationError` for fields without a counterpart."""
    from bedrock_rft.types.models import KNOWN_MODELS
    from bedrock_rft.types.openai_body import is_openai_model, parse_create_body

    given, file = str(fields.get("model") or ""), fields.get("training_file")
    model = None if not given or is_openai_model(given) else given
    deployed = '"lambda"' in json.dumps(fields.get("method"))
    full = {**fields, "model": model or min(KNOWN_MODELS), "training_file": file or "file"}
    found = parse_create_body(full, None if deployed else "reward")
    return JobSettings(
        model=model,
        training_file=file,
        validation_file=found.get("validation_file"),
        reward=str(found["reward"]) if deployed else None,
        hyperparameters=found["hyperparameters"],
        metadata=found.get("metadata", {}),
    )


def override_with_flags(settings: JobSettings, flags: Mapping[str, Any]) -> JobSettings:
    """Return the settings with the flags that were given. Tables are merged."""
    given = {name: value for name, value in flags.items() if value}
    for name in _TABLES:
        given[name] = {**getattr(settings, name), **flags.get(name, {})}
    return replace(settings, **given)


def _check(path: str, key: str, value: object) -> None:
    if key not in {*_TEXTS, *_TABLES}:
        near = difflib.get_close_matches(key, [*_TEXTS, *_TABLES], n=1)
        advice = f" Did you mean '{near[0]}'?" if near else f" Use {', '.join([*_TEXTS, *_TABLES])}."
        raise click.UsageError(f"{path} has the unknown key '{key}'.{advice}")
    if key in _TEXTS and not (isinstance(value, str) and value):
        raise click.UsageError(f"{path}: '{key}' must be text in quotes.")
    if key in _TABLES and not isinstance(value, dict):
        raise click.UsageError(f"{path}: '{key}' must be a table, such as [{key}].")
    if key == "metadata" and not all(isinstance(each, str) for each in cast("dict[str, object]", value).values()):
        raise click.UsageError(f"{path}: the values of 'metadata' must be text in quotes.")


def _digest(file: str | None) -> str | None:
    """Return the digest of a file on this machine, or the id of a file on the service."""
    if file is None or not is_path(file):
        return file
    with Path(file).open("rb") as stream:
        digest = hashlib.sha256()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _toml_parser() -> Any:
    from importlib import import_module

    for name in ("tomllib", "tomli"):  # tomllib since Python 3.11
        try:
            return import_module(name).loads
        except ImportError:
            continue
    from bedrock_rft.errors import MissingExtraError

    raise MissingExtraError("run.toml", "cli")
