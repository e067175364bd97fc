"""The reliability matrix: all tested faults, and the document with their results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BOTH", "DOCUMENT", "GROUPS", "ROWS", "Group", "Row", "render", "verdicts"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"

BOTH = ("api_key", "aws")
"""The identities: an API key through OpenAI's SDK, or AWS credentials and signed requests."""

PASSED, FAILED, SKIPPED, UNTRIED = "passes", "**fails**", "skipped", "not tried"


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        name: the mark of its tests.
        level: `must` if money, data or credentials are at stake, `should`, or `beyond` what is usual.
        fault: a description of the fault.
        modes: the identities that it can happen to.
    """

    name: str
    level: str
    fault: str
    modes: tuple[str, ...] = BOTH


@dataclass(frozen=True)
class Group:
    """Faults of one kind, and the promise for all of them."""

    title: str
    promise: str
    rows: tuple[Row, ...]


def _rows(text: str, modes: tuple[str, ...] = BOTH) -> tuple[Row, ...]:
    found: list[Row] = []
    for line in text.strip().splitlines():
        name, level, fault = (part.strip() for part in line.split("|"))
        found.append(Row(name, level, fault, modes))
    return tuple(found)


GROUPS = (
    Group(
        "Connecting",
        "A request that was not sent is sent again, at most three times in all. A certificate that is not accepted, or "
        "a header that cannot be sent, is an error at once. The error names the host, or the proxy, and gives "
        "advice.",
        _rows("""
            N01 | must | the connection is refused
            N02 | must | the connection is refused for a while, then accepted
            N03 | must | the connection is refused for a while during the creation of a job
            N04 | must | the host has no address
            N05 | should | the certificate was issued by an unknown authority
            N06 | should | the certificate has expired
            N07 | should | the certificate is for another host
            N08 | must | the peer does not use TLS
            N09 | must | the peer closes during the TLS handshake
            N10 | must | the TLS handshake is never answered
            N11 | must | the authority is private, and configured as trusted
        """),
    ),
    Group(
        "Sending",
        "An upload that was interrupted is sent again from its beginning, byte for byte. If the creation of a job was "
        "interrupted, the client searches for the job, and never creates it again.",
        _rows("""
            Q02 | must | the connection is reset during an upload, once
            Q03 | must | the connection is reset during an upload, always
            Q04 | must | the peer stops reading an upload
            Q05 | must | an upload is refused before it is read
            Q06 | must | the connection is reset before all of a creation was read
        """),
    ),
    Group(
        "Responses",
        "Read requests are sent again. A response that is not the service's becomes an error that quotes its "
        "beginning, with status and request id.",
        _rows("""
            P01 | must | the connection is closed without a response
            P02 | must | the connection is reset in the middle of a response
            P03 | must | the connection is closed in the middle of a response
            P04 | must | the JSON is truncated, though its Content-Length is right
            P05 | must | 200 with a body that is not JSON
            P06 | must | 200 with an HTML page
            P08 | must | 200 with an HTML page after the creation of a job
            P09 | must | 502 with an HTML page, once
            P10 | should | 502 with an HTML page, always
            P11 | must | JSON under another content type
            P12 | must | JSON without a content type
            P13 | must | 200 with an empty body
            P14 | must | 204 in answer to a GET
            P15a | must | null in place of a job
            P15b | must | a JSON list in place of a job
            P15c | must | a JSON string in place of a job
            P15d | must | a number in place of a job
            P16 | must | a compressed body that was not requested
            P17 | must | broken chunks, once
            P18 | must | an invalid status line, once
            P19 | must | a response header of a mebibyte
            P20 | must | ten thousand response headers
            P21 | should | a byte order mark before the JSON
            P22 | should | JSON in UTF-16
            P23 | must | two Content-Length headers that differ
            P25 | must | a kept-alive connection is closed after a response
            P26 | must | a kept-alive connection is reset after a response
            P28 | must | a hundred interim responses
            P29 | must | a body without a length, as in HTTP/1.0
        """),
    ),
    Group(
        "Error responses",
        "Temporary errors are retried with jittered delays, three attempts in all; other errors are raised at once. "
        "The error has status, code, request id and the service's message.",
        _rows("""
            S408a | must | 408 once
            S429a | must | 429 once
            S500a | must | 500 once
            S502a | must | 502 once
            S503a | must | 503 once
            S504a | must | 504 once
            S429b | must | 429 always
            S408b | must | 408 always
            S500b | must | 500 always
            S502b | must | 502 always
            S503b | must | 503 always
            S504b | must | 504 always
            S409 | must | 409 once
            S400c | must | 400
            S401c | must | 401
            S401e | must | a response that repeats the credentials
            S403c | must | 403
            S404c | must | 404
            S405c | must | 405
            S410c | must | 410
            S413c | must | 413
            S422c | must | 422
            S501c | must | 501
            S500d | must | 500 without a body
            S403d | must | 403 in the format of AWS
            S503w | should | throttling with another status
        """),
    ),
    Group(
        "Retry-After",
        "The client waits as long as the header asks, up to two minutes. A longer delay is an error at once, and an "
        "invalid value is ignored.",
        _rows("""
            R01 | must | a number of seconds
            R02 | must | an HTTP date
            R03 | must | an hour
            R04a | must | zero
            R04b | must | a negative number
            R04c | must | a word
            R04d | must | NaN
            R04e | must | infinity
            R04f | must | an empty value
            R04g | must | a date long past
            R04h | must | an enormous number
        """),
    ),
    Group(
        "Creating a job",
        "One call creates at most one job. If the response is lost, the client searches for the job by its marker. If "
        "it finds no job, the error names the marker, so that you can search for the job later.",
        _rows("""
            C01 | must | the response is lost
            C02 | must | the response is lost, and the list of jobs lags behind
            C03 | must | the response is lost, and the list of jobs shows no metadata
            C04 | must | the response is lost, and the search fails as well
            C05 | must | the response is lost, and another program creates an equal job
            C06 | must | the response comes too late
            C07_500 | must | 500 although the job was created
            C07_502 | must | 502 although the job was created
            C07_503 | must | 503 although the job was created
            C07_504 | must | 504 although the job was created
            C07_408 | must | 408 although the job was created
            C07_409 | must | 409 although the job was created
            C08 | must | throttled once
            C09 | must | the connection is reset during the response
            C10 | must | the JSON of the response is truncated
            C11 | must | the program is run again under the same name
            C12 | should | the response to a cancellation is lost
            C13 | should | the response to a deletion is lost
            C14 | must | three hundred jobs were created meanwhile
            C15 | must | the service rejects the marker
        """),
    ),
    Group(
        "Credentials and clocks",
        "Every attempt uses the current credentials. Nothing that was set for another service is sent.",
        _rows("""
            A02 | must | a wrong key or secret
            A03 | must | credentials that expire during a wait, and are refreshed
            A04 | must | credentials that are replaced during a wait, the old ones revoked
            A05 | must | credentials that are unavailable for a moment during a wait
            A06 | must | a session that has expired for good
        """)
        + _rows(
            """
            A07 | should | a clock ten minutes slow
            A08 | should | a clock ten minutes fast
            A09 | beyond | a clock three hours off, either way
            A10 | must | a wrong clock, and no date to correct it by
            A11 | must | a cached response with an old date
            """,
            ("aws",),
        )
        + _rows("A12 | must | keys, organisations and headers for OpenAI in the environment")
        + _rows("A13 | must | an API key given while AWS credentials are in the environment", ("api_key",))
        + _rows("A14 | must | AWS credentials given while an API key is in the environment", ("aws",))
        + _rows("""
            A15 | must | a netrc file with an entry for the host
            A16 | should | valid credentials that are refused once
        """),
    ),
    Group(
        "Redirects",
        "Redirects are not followed: credentials and data go to one origin. The error names the target.",
        _rows("""
            D301 | must | 301 to another origin
            D302 | must | 302 to another origin
            D303 | must | 303 to another origin
            D307 | must | 307 to another origin
            D308 | must | 308 to another origin
            D10 | must | 307 to another origin, for an upload
            D11 | must | 308 to another origin, for a creation
            D13 | should | a redirect to the same URL, without end
            D14 | must | a redirect to a local file
            D15 | must | a redirect to an invalid URL
            D16 | must | a redirect without a target
        """),
    ),
    Group(
        "Slow and large",
        "Time, attempts and memory are bounded: 16 MiB of a response, 64 KiB of an error. Requests ask for "
        "responses without compression (`Accept-Encoding: identity`); a compressed response is refused, or, if its"
        " status is an error, its body is ignored. The body has to end within the timeout, which is checked for "
        "every chunk. For the head of a response only the read timeout of each read counts: a head that arrives "
        "byte by byte can take longer.",
        _rows("""
            L01 | must | no response
            L03 | beyond | a response body that drips
            L04 | beyond | a response of 300 MiB
            L05 | beyond | a response without an end
            L06 | beyond | a compressed response that decompresses to 300 MiB
            L07 | beyond | a compressed error that decompresses to 300 MiB
            L08 | must | every response is late, but in time
        """),
    ),
    Group(
        "Waiting",
        "A wait lasts as long as its job. It ends with the job, with its own time limit, with an error that persists, "
        "or with Ctrl-C, and never cancels the job.",
        _rows("""
            W01 | must | twelve responses in a row are 503
            W02 | must | the service is down for a while
            W03 | must | every second connection is reset
            W04 | must | the job disappears
            W05 | should | an unknown status
            W06 | should | the status goes back to an earlier one
            W07 | must | the job fails
            W08 | must | the job is cancelled by another program
            W09 | must | the time limit is reached
            W10 | must | the machine sleeps during the wait
            W11 | must | the status is missing
            W12 | should | throttling between polls
            W13 | should | a new job is not found at first
            W14 | must | the service asks to wait for longer than the time limit
        """),
    ),
    Group(
        "Events",
        "Each event is returned once, oldest first, from pages of any kind.",
        _rows("""
            E01 | must | pages overlap
            E02 | must | every event is listed twice
            E03 | must | events are shuffled
            E04 | must | the oldest events come first
            E05 | must | the id of an event is missing
            E06 | must | the id of an event is null
            E07 | must | the cursor does not move
            E08 | must | pages go in circles
            E09 | must | a page lacks `has_more`
            E10 | must | an event appears late among older ones
            E11 | must | all events have the same time
            E12 | must | no event has a time
            E13 | must | metrics are NaN or infinite
            E14 | must | metrics are strings
            E15 | must | an event has no data
            E16 | must | a page is lost
            E17 | must | the type of an event is unknown
            E18 | must | a message holds control characters
            E19 | must | there are five hundred events
            E20 | must | following is resumed after an event
        """),
    ),
    Group(
        "Future versions of the service",
        "Unknown values are passed through; missing ones cause no crash.",
        _rows("""
            V01 | must | unknown fields
            V02 | must | a job has an unknown status
            V03 | must | optional fields are absent
            V04 | must | a job has no id
            V05 | must | a field has another type
            V06 | must | a list is null
            V07 | must | the error of a running job is empty
            V08 | must | hyperparameters are null or 'auto'
            V10 | must | method and grader are unknown
            V11 | should | an item of a list is null
            V12 | must | a chat stream has unknown keys and no end marker
        """),
    ),
    Group(
        "Interruption",
        "Ctrl-C ends the call within two seconds, does not touch the job, and leaves nothing behind.",
        _rows("""
            I01 | must | Ctrl-C during an upload
            I02 | must | Ctrl-C during a wait
            I03 | must | Ctrl-C during the delay before a retry
            I04 | must | Ctrl-C during the creation of a job
        """),
    ),
    Group(
        "Many at once",
        "Every response belongs to its request, every request to one identity; nothing is leaked.",
        _rows("""
            T01 | must | a hundred calls, from threads or tasks
            T02 | should | a process forks with a live connection
            T03 | must | two clients with different identities, in turn
            T04 | must | a thousand calls, one after another
            T06 | must | thirty clients opened and closed
            T07 | must | credentials change while ten threads call
            T08 | should | 200 calls from 100 threads or 150 from 150 tasks, 10 % of the exchanges fail
        """),
    ),
)
ROWS = {row.name: row for group in GROUPS for row in group.rows}

_INTRODUCTION = """\
# Reliability

This page shows how the package behaves if the network, the service or another peer fails. Every row is a fault on a
real socket, against a server that fails in the way the row describes; no transport is mocked. (The only exception is a
host without an address: this row replaces the resolver.) The tests write this table and check it in every later run, so
it cannot promise more than the tests check.

In every row, besides the promise of its group:

- the error is an exception of this package, explains the cause and the remedy, and can be pickled;
- no key, secret or token appears in the error, in its traceback with local variables, in the log of any library at
  DEBUG, or on standard error;
- every request that arrived had the right identity: signatures are checked by a verifier that was written from the
  specification and does not use the client's signer;
- no request reaches another origin, and no job or file is created that was not asked for;
- the call ends in bounded time.

"must" means that money, data or credentials are at stake; "should" means that some other client does it; "beyond"
means that we know no other client that does. Each row is tested with an API key, which goes through OpenAI's SDK, and
with AWS credentials, which sign every request; a dash marks a fault that cannot happen with that identity.

`make matrix` tests every row and writes this page. `pytest --matrix=check` runs the rows with all other tests, and
fails if the page differs from the results. `pytest --rows C01,C05` runs some rows. The tests also break single rules
of the package on purpose, one at a time, and expect the rows that check them to fail.
"""


def render(found: Mapping[tuple[str, str], str]) -> str:
    """Return the document with the result of every row and identity."""
    parts = [_INTRODUCTION, _summary(found)]
    for group in GROUPS:
        parts += [f"\n## {group.title}\n\n{_folded(group.promise)}\n", "\n| row | level | fault | API key | AWS |\n"]
        parts.append("|---|---|---|---|---|\n")
        for row in group.rows:
            cells = (found.get((row.name, mode), UNTRIED) if mode in row.modes else "–" for mode in BOTH)
            parts.append(f"| {row.name} | {row.level} | {row.fault} | {' | '.join(cells)} |\n")
    return "".join(parts)


def _summary(found: Mapping[tuple[str, str], str]) -> str:
    lines = ["\n| level | API key | AWS |\n|---|---|---|\n"]
    for level in ("must", "should", "beyond"):
        counts: list[str] = []
        for mode in BOTH:
            rows = [row for row in ROWS.values() if row.level == level and mode in row.modes]
            passed = sum(found.get((row.name, mode)) == PASSED for row in rows)
            counts.append(f"{passed} of {len(rows)}")
        lines.append(f"| {level} | {' | '.join(counts)} |\n")
    return "".join(lines)


def _folded(text: str) -> str:
    import textwrap

    return textwrap.fill(text, 120)


def verdicts(document: str) -> dict[tuple[str, str], str]:
    """Return the results of every row and identity in a document."""
    found: dict[tuple[str, str], str] = {}
    for line in document.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[A-Z]\d\w*", cells[0]):
            found |= {(cells[0], mode): cell for mode, cell in zip(BOTH, cells[3:], strict=True) if cell != "–"}
    return found
