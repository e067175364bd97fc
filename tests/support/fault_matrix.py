"""The reliability matrix: every fault that is tried, and the document that says what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BOTH", "DOCUMENT", "GROUPS", "ROWS", "Group", "Row", "render", "verdicts"]

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"

BOTH = ("api_key", "aws")
"""Who calls: with an API key through OpenAI's SDK, or with AWS credentials and signed requests."""

PASSED, FAILED, SKIPPED, UNTRIED = "passes", "**fails**", "skipped", "not tried"


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        name: what tests are marked with.
        level: `must` where money, data or credentials are at stake, `should`, or `beyond` what is usual.
        fault: what goes wrong.
        modes: the identities it can happen to.
    """

    name: str
    level: str
    fault: str
    modes: tuple[str, ...] = BOTH


@dataclass(frozen=True)
class Group:
    """Faults of one kind, and what is promised for all of them."""

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
        "What was never sent is sent again, at most three times in all. A certificate that is not accepted is not "
        "argued with. The error names the host and what to check.",
        _rows("""
            N01 | must | the connection is refused
            N02 | must | it is refused for a while, then accepted
            N03 | must | the same while a job is created
            N04 | must | the host has no address
            N05 | should | the certificate is of an unknown authority
            N06 | should | the certificate has expired
            N07 | should | the certificate is another host's
            N08 | must | the peer speaks no TLS
            N09 | must | the peer closes during the TLS handshake
            N10 | must | the TLS handshake is never answered
            N11 | must | the authority is a private one that was named as trusted
        """),
    ),
    Group(
        "Sending",
        "A body that broke off is sent again from its beginning, byte for byte; a creation that broke off is looked "
        "up, never repeated.",
        _rows("""
            Q02 | must | an upload is reset midway, once
            Q03 | must | an upload is reset midway, always
            Q04 | must | the peer stops reading an upload
            Q05 | must | an upload is refused before it was read
            Q06 | must | the creation of a job is reset before all of it was read
        """),
    ),
    Group(
        "Answers",
        "Reading is tried again; what is not the service's answer becomes an error that shows how it begins, with "
        "status and request id.",
        _rows("""
            P01 | must | the connection is closed without a byte
            P02 | must | it is reset in the middle of an answer
            P03 | must | it is closed in the middle of an answer
            P04 | must | the JSON is cut short, its frame is not
            P05 | must | 200 with something that is no JSON
            P06 | must | 200 with an HTML page
            P08 | must | 200 with an HTML page in answer to a creation
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
            P16 | must | a compressed body, though none was asked for
            P17 | must | broken chunks, once
            P18 | must | a status line that is none, once
            P19 | must | a response header of a mebibyte
            P20 | must | ten thousand response headers
            P21 | should | a byte order mark before the JSON
            P22 | should | JSON in UTF-16
            P23 | must | two lengths that differ
            P25 | must | a kept connection is closed after an answer
            P26 | must | a kept connection is reset after an answer
            P28 | must | a hundred interim responses
            P29 | must | a body without a length, as in HTTP/1.0
        """),
    ),
    Group(
        "Refusals",
        "A passing trouble is outlived with jittered pauses, three attempts in all; a refusal is not repeated. The "
        "error has status, code, request id and the service's own words.",
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
            S401e | must | an answer that repeats the credentials
            S403c | must | 403
            S404c | must | 404
            S405c | must | 405
            S410c | must | 410
            S413c | must | 413
            S422c | must | 422
            S501c | must | 501
            S500d | must | 500 without a body
            S403d | must | 403 in AWS's own envelope
            S503w | should | throttling under another status
        """),
    ),
    Group(
        "Retry-After",
        "Up to two minutes are waited as asked; more is said at once; nonsense is passed over.",
        _rows("""
            R01 | must | a number of seconds
            R02 | must | an HTTP date
            R03 | must | an hour
            R04a | must | no time at all
            R04b | must | a negative number
            R04c | must | a word
            R04d | must | NaN
            R04e | must | infinity
            R04f | must | nothing
            R04g | must | a date long past
            R04h | must | a number beyond all ages
        """),
    ),
    Group(
        "Creating a job",
        "One call makes at most one job. Where the answer is lost the job is looked for by its own marker; where it is "
        "not found the error says that it may exist, and how to look again.",
        _rows("""
            C01 | must | the answer is lost
            C02 | must | the same, and the list of jobs lags behind
            C03 | must | the same, and the list shows no metadata
            C04 | must | the same, and looking fails as well
            C05 | must | the same, and somebody else creates an equal job
            C06 | must | the answer comes too late
            C07_500 | must | 500 although the job was made
            C07_502 | must | 502 although the job was made
            C07_503 | must | 503 although the job was made
            C07_504 | must | 504 although the job was made
            C07_408 | must | 408 although the job was made
            C07_409 | must | 409 although the job was made
            C08 | must | throttled once
            C09 | must | the answer is reset midway
            C10 | must | the JSON of the answer is cut short
            C11 | must | the program is run again under the same name
            C12 | should | the answer to a cancellation is lost
            C13 | should | the answer to a deletion is lost
            C14 | must | three hundred jobs were made meanwhile
            C15 | must | the service refuses the marker
        """),
    ),
    Group(
        "Credentials and clocks",
        "Every attempt is made out afresh by the current identity. Nothing that was set for another service travels.",
        _rows("""
            A02 | must | a key, or secret, that is wrong
            A03 | must | credentials that expire during a wait, and are refreshed
            A04 | must | credentials that are replaced during a wait, the old ones revoked
            A05 | must | credentials that cannot be had for a moment during a wait
            A06 | must | a session that has expired for good
        """)
        + _rows(
            """
            A07 | should | a clock ten minutes slow
            A08 | should | a clock ten minutes fast
            A09 | beyond | a clock three hours off, either way
            A10 | must | a wrong clock, and no date to correct it by
            A11 | must | a cached answer with an old date
            """,
            ("aws",),
        )
        + _rows("A12 | must | keys, organisations and headers for OpenAI in the environment")
        + _rows("A13 | must | an API key given while AWS credentials are in the environment", ("api_key",))
        + _rows("A14 | must | AWS credentials given while an API key is in the environment", ("aws",))
        + _rows("""
            A15 | must | a netrc file with an entry for the host
            A16 | should | one refusal of what is valid
        """),
    ),
    Group(
        "Redirects",
        "None is followed: neither credentials nor data go to another place. The error names it.",
        _rows("""
            D301 | must | 301 to another origin
            D302 | must | 302 to another origin
            D303 | must | 303 to another origin
            D307 | must | 307 to another origin
            D308 | must | 308 to another origin
            D10 | must | 307 to another origin, for an upload
            D11 | must | 308 to another origin, for a creation
            D13 | should | to itself, for ever
            D14 | must | to a local file
            D15 | must | to something that is no address
            D16 | must | to nowhere
        """),
    ),
    Group(
        "Slow and large",
        "Time, attempts and memory are bounded: 16 MiB of a response, 64 KiB of an error. Requests ask for responses "
        "without compression (`Accept-Encoding: identity`); a compressed response is refused, or, if its status is an "
        "error, its body is ignored. The body has to end within the timeout, which is checked for every chunk. For the head of a response "
        "only the read timeout of each read counts: a head that arrives byte by byte can take longer.",
        _rows("""
            L01 | must | no answer
            L03 | beyond | an answer that drips
            L04 | beyond | an answer of 300 MiB
            L05 | beyond | an answer without an end
            L06 | beyond | a compressed answer that decompresses to 300 MiB
            L07 | beyond | a compressed error that decompresses to 300 MiB
            L08 | must | every answer is late, but in time
        """),
    ),
    Group(
        "Waiting",
        "A wait lasts as long as its job. It ends for the job's end, its own time limit, a refusal that persists, or "
        "Ctrl-C, and never cancels the job.",
        _rows("""
            W01 | must | twelve answers in a row are 503
            W02 | must | nobody listens for a while
            W03 | must | every second answer is reset
            W04 | must | the job disappears
            W05 | should | a status that is not known
            W06 | should | the status goes back to an earlier one
            W07 | must | the job fails
            W08 | must | somebody cancels the job
            W09 | must | the time limit is over
            W10 | must | the machine sleeps meanwhile
            W11 | must | the status is missing
            W12 | should | throttling between looks
            W13 | should | a new job is not found at first
            W14 | must | the service asks to wait for longer than the time limit
        """),
    ),
    Group(
        "Events",
        "Each event once, oldest first, whatever the pages look like.",
        _rows("""
            E01 | must | pages overlap
            E02 | must | every event is there twice
            E03 | must | events are shuffled
            E04 | must | the oldest come first
            E05 | must | an id is missing
            E06 | must | an id is null
            E07 | must | the cursor does not move
            E08 | must | pages go in circles
            E09 | must | a page does not say whether there is more
            E10 | must | an event appears late among older ones
            E11 | must | all are of one second
            E12 | must | none has a time
            E13 | must | metrics are NaN or infinite
            E14 | must | metrics are strings
            E15 | must | an event has no data
            E16 | must | a page is lost
            E17 | must | the type is not known
            E18 | must | a message holds control characters
            E19 | must | there are five hundred
            E20 | must | following is resumed behind an event
        """),
    ),
    Group(
        "What the service may say one day",
        "What is not known passes through; what is missing is no crash.",
        _rows("""
            V01 | must | fields that are not known
            V02 | must | a job's status is not known
            V03 | must | optional fields are absent
            V04 | must | a job has no id
            V05 | must | a field is of another type
            V06 | must | a list is null
            V07 | must | the error of a running job is empty
            V08 | must | hyperparameters are null or 'auto'
            V10 | must | the method and the grader are not known
            V11 | should | an item of a list is null
            V12 | must | a stream of a chat has unknown keys and no end
        """),
    ),
    Group(
        "Interruption",
        "Ctrl-C ends what is done within two seconds, leaves the job alone and nothing behind.",
        _rows("""
            I01 | must | during an upload
            I02 | must | during a wait
            I03 | must | during the pause before a retry
            I04 | must | during the creation of a job
        """),
    ),
    Group(
        "Many at once",
        "Every answer belongs to its question, every request to one identity; nothing is leaked.",
        _rows("""
            T01 | must | a hundred calls, from threads or tasks
            T02 | should | a process forks with a live connection
            T03 | must | two clients with different identities, in turn
            T04 | must | two thousand calls, one after another
            T06 | must | thirty clients opened and closed
            T07 | must | credentials change while ten threads call
            T08 | should | two thousand calls from four hundred threads, 2 % of the exchanges spoiled
        """),
    ),
)
ROWS = {row.name: row for group in GROUPS for row in group.rows}

_INTRODUCTION = """\
# Reliability

What this package does when the network, the service or a peer misbehaves, and what it has been seen to do. Every row is
a fault on a real socket, against a server that misbehaves as the row says; no transport is mocked. (A host without an
address is the exception: there the resolver is told what to say.) The table is written by the tests' own run and
checked against every later one, so it cannot say what the tests do not.

In every row, beside what its group promises:

- the error is one of the package's own, says what, why and what now, and survives pickling;
- no key, secret or token shows in it, in its traceback with local variables, in a log of any library at its most
  talkative, or on standard error;
- every request that arrived was made out by the right identity: signatures are checked by a verifier written from the
  specification, not with the client's signer;
- no request reaches another origin, and no job or file is made that was not asked for;
- it ends in bounded time.

"must" is where money, data or credentials are at stake; "should" is what some other client does; "beyond" is what we
know no other to do. Each row is tried with an API key, which goes through OpenAI's SDK, and with AWS credentials, which
sign every request; a dash is what cannot happen there.

`make matrix` tries every row and writes this page. `pytest --matrix=check` tries them, with all other tests, and fails
where the page is not what came of it. `pytest --rows C01,C05` tries some. The tests also break single rules of the
package on purpose, one at a time, and expect the rows that guard them to fail.
"""


def render(found: Mapping[tuple[str, str], str]) -> str:
    """The document, with the verdict of every row and mode."""
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
    """What a document says of every row and mode."""
    found: dict[tuple[str, str], str] = {}
    for line in document.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and re.fullmatch(r"[A-Z]\d\w*", cells[0]):
            found |= {(cells[0], mode): cell for mode, cell in zip(BOTH, cells[3:], strict=True) if cell != "–"}
    return found
