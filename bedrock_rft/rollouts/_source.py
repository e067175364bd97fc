"""Sources of recorded rollouts: a folder or a file on disk, or a prefix of an S3 bucket."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from bedrock_rft._auth.aws_failures import AwsFailure, read_aws_failure
from bedrock_rft._auth.botocore_clients import service_client_for
from bedrock_rft.errors import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    BedrockRFTError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)

_IN_MEMORY = 8_000_000
_ATTEMPTS = 3
_SUFFIXES = (".jsonl", ".jsonl.gz", ".ndjson", ".json.gz")
_ACTIONS = {"list_objects_v2": "s3:ListBucket", "get_object": "s3:GetObject"}


class File(NamedTuple):
    """A file with recorded rollouts. `modified` is only compared between files of the same source."""

    modified: float
    path: str
    size: int


class Source(Protocol):
    """A tree of folders and files, whose paths have `/` between names. The path of the root is empty."""

    location: str
    is_remote: bool

    def children(self, path: str) -> tuple[list[str], list[File]]:
        """Return the names of the folders of a folder, and its files."""
        ...

    def open(self, file: File) -> BinaryIO:
        """Open a file. Raises `FileNotFoundError` if it is gone."""
        ...

    def url(self, file: File) -> str:
        """Return the path or the URL of a file."""
        ...


def open_source(location: str | os.PathLike[str], client: Any) -> Source:
    """Return the source for a path or S3 location. Raises `ConfigurationError` if there is no such folder or file."""
    text = os.fspath(location)
    if text.startswith("s3://"):
        return _Bucket(text, client)
    path = Path(text).expanduser()
    if not text or not path.exists():
        raise ConfigurationError(
            f"There is no folder or file {text!r}. Pass the folder or the s3:// location to which rollouts were "
            "recorded."
        )
    return _Folder(path)


class _Folder:
    is_remote = False

    def __init__(self, path: Path) -> None:
        self.location, self._root = str(path), path

    def children(self, path: str) -> tuple[list[str], list[File]]:
        folders, files = list[str](), list[File]()
        if self._root.is_file():
            return [], [self._file(self._root.stat(), "")]
        try:
            with os.scandir(self._root / path) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.name.endswith(_SUFFIXES):
                        with suppress(FileNotFoundError):  # it was deleted meanwhile
                            files.append(self._file(entry.stat(), f"{path}/{entry.name}" if path else entry.name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigurationError(f"Cannot read the folder {self.location}: {error.strerror}.") from error
        return folders, files

    def open(self, file: File) -> BinaryIO:
        return Path(self.url(file)).open("rb")

    def url(self, file: File) -> str:
        return str(self._root / file.path if file.path else self._root)

    @staticmethod
    def _file(stat: os.stat_result, path: str) -> File:
        return File(stat.st_mtime, path, stat.st_size)


class _Bucket:
    is_remote = True

    def __init__(self, location: str, client: Any) -> None:
        self.location = location.rstrip("/")
        self._bucket, _, key = location.removeprefix("s3://").partition("/")
        if not self._bucket:
            raise ConfigurationError(f"{location!r} names no bucket. Use s3://bucket/prefix.")
        self._prefix = key.rstrip("/")
        self._client = client if hasattr(client, "list_objects_v2") else service_client_for(client, "s3", timeout=30.0)

    def children(self, path: str) -> tuple[list[str], list[File]]:
        full = "/".join(filter(None, (self._prefix, path)))
        prefix = f"{full}/" if full and not full.endswith(_SUFFIXES) else full
        folders, files, token = list[str](), list[File](), dict[str, str]()
        while True:
            page = self._call("list_objects_v2", prefix, Prefix=prefix, Delimiter="/", **token)
            folders += [one["Prefix"][len(prefix) : -1] for one in page.get("CommonPrefixes", ())]
            files += [
                File(one["LastModified"].timestamp(), one["Key"], int(one["Size"]))
                for one in page.get("Contents", ())
                if one["Key"].endswith(_SUFFIXES)
            ]
            if not page.get("NextContinuationToken"):
                return folders, files
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def open(self, file: File) -> BinaryIO:
        """Download a file into memory, or to a disk if it is large. If the connection is lost, try again."""
        for attempt in range(_ATTEMPTS):
            target = cast("BinaryIO", io.BytesIO() if file.size <= _IN_MEMORY else tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
            response = self._call("get_object", file.path, Key=file.path)
            try:
                shutil.copyfileobj(response["Body"], target, 1 << 20)
            except Exception as error:  # noqa: BLE001 - botocore raises its HTTP library's errors too
                target.close()
                if attempt + 1 == _ATTEMPTS:
                    failure = read_aws_failure(error)
                    raise APIConnectionError(f"s3 GetObject of {file.path} was interrupted: {failure}.") from None
            else:
                target.seek(0)
                return target
        raise AssertionError("unreachable")

    def url(self, file: File) -> str:
        return f"s3://{self._bucket}/{file.path}"

    def _call(self, method: str, subject: str, **parameters: Any) -> dict[str, Any]:
        problem: BedrockRFTError
        try:
            return cast("dict[str, Any]", getattr(self._client, method)(Bucket=self._bucket, **parameters))
        except Exception as error:  # noqa: BLE001 - botocore raises its parsers' and its HTTP library's errors too
            failure = read_aws_failure(error)
            if failure.code == "NoSuchKey":
                raise FileNotFoundError(subject) from None
            problem = self._problem(failure, method, subject)
        raise problem  # outside the handler, so that no exception of botocore's, with its secrets, is chained

    def _problem(self, failure: AwsFailure, method: str, subject: str) -> BedrockRFTError:
        action, head = _ACTIONS[method], f"Reading s3://{self._bucket}/{subject} failed: {failure}."
        about: dict[str, Any] = {"status": failure.status, "code": failure.code, "request_id": failure.request_id}
        if failure.kind == "credentials" and not failure.status:
            return ConfigurationError(
                f"{head} Run 'aws sso login' or 'aws configure', or pass client=Client(profile=…)."
            )
        if not failure.status:
            return APIConnectionError(f"{head} Check the network, any proxy, and AWS_ENDPOINT_URL_S3.")
        if failure.kind == "denied":
            resource = f"{self._bucket}/{self._prefix}/*" if method == "get_object" else self._bucket
            advice = f"Allow {action} on arn:aws:s3:::{resource}."
            named = re.search(r"perform:? (kms:\w+)", failure.message)
            if named:
                action, advice = named[1], f"Allow {named[1]} on the KMS key of the bucket."
            denied = PermissionDeniedError(f"{head} {advice}", **about)
            denied.action = action
            return denied
        if failure.code == "NoSuchBucket":
            return NotFoundError(f"There is no bucket {self._bucket!r}. Check the name and the account.", **about)
        types: dict[str, type[APIStatusError]] = {"throttled": RateLimitError, "credentials": AuthenticationError}
        default = InternalServerError if failure.status >= 500 else BadRequestError  # noqa: PLR2004 - HTTP
        return types.get(failure.kind, default)(head, **about)
