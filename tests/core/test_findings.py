"""Reports show the most severe findings first, in 80 columns, and escape text of unknown origin."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft._core.findings import LEVEL_COLOURS, Finding, Findings
from bedrock_rft.errors import DatasetError

ARN = "arn:aws:lambda:us-west-2:123456789012:function:" + "a-rather-long-name-for-a-reward-function-to-have"


class Facts(Findings):
    def facts(self) -> list[tuple[str, str]]:
        return [("function", ARN), ("x", "1")]


def test_a_report_is_sorted_and_wrapped() -> None:
    report = Facts(
        "Checked reward.py",
        (
            Finding("ok", "a", "The function answers"),
            Finding("unknown", "b", "Its timeout is not known", "lambda:GetFunctionConfiguration is denied"),
            Finding("error", "c", "Every score is 0", "there is nothing to learn", f"Look at {ARN}"),
            Finding("warning", "d", "openai.gpt-oss-20b is slow"),
        ),
    )
    assert str(report) == "\n".join(
        [
            "Checked reward.py: 1 ERROR, 1 warning, 1 check could not run",
            "  function",
            f"            {ARN}",
            "  x         1",
            "  error:   Every score is 0. There is nothing to learn. Look at",
            f"      {ARN}.",
            "  warning: openai.gpt-oss-20b is slow.",
            "  unknown: Its timeout is not known. lambda:GetFunctionConfiguration is denied.",
            "  ok:      The function answers.",
        ]
    )
    assert not report.ok
    assert [finding.code for finding in report.findings] == ["c", "d", "b", "a"]
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 - ours


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("earlier", encoding="utf-8")
    report = Findings("Checked ü", ())
    assert path.read_text("utf-8") == "earlier"
    assert report.to_json(path) == path.read_text("utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(DatasetError, match=r"report\.json cannot be written: "):
        report.to_json(tmp_path / "absent" / "report.json")


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="needs a POSIX device")
def test_a_report_can_be_written_to_a_device_without_replacing_it() -> None:
    Findings("Checked", ()).to_json("/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_report_without_findings_is_ok() -> None:
    report = Findings("Checked", ())
    assert report.ok
    assert str(report) == "Checked: ok"


@given(st.text(), st.text(), st.text(), st.text())
def test_text_of_unknown_origin_is_escaped(title: str, what: str, why: str, mend: str) -> None:
    report = Findings(title, (Finding("error", "x", what, why, mend),))
    shown = str(report)
    assert not any(ord(char) < 32 and char != "\n" for char in shown.replace("\t", ""))
    page = report._repr_html_()
    assert "<" not in re.sub(r"</?(div|p|b|table|ul|li)( style='[\w:;.,# -]*')?>", "", page)


def test_the_colours_of_levels_are_readable_on_light_and_dark_pages() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in LEVEL_COLOURS.values():
        for page in ("#ffffff", "#111111"):
            low, high = sorted((luminance(colour), luminance(page)))
            assert (high + 0.05) / (low + 0.05) >= 4


def test_a_long_title_is_wrapped_with_the_verdict() -> None:
    report = Findings(
        "Check of " + "0.5 * Numeric() + " * 20, (Finding("error", "a", "b"), Finding("warning", "c", "d"))
    )
    first, *_ = str(report).split("\n  error:")
    assert " ".join(first.split()) == f"{report.title}: 1 ERROR, 1 warning"
    assert max(map(len, first.splitlines())) <= 80


@pytest.mark.parametrize(("old", "new"), [("what", "summary"), ("why", "reason"), ("mend", "remedy")])
def test_a_renamed_attribute_names_the_new_one(old: str, new: str) -> None:
    finding = Finding("ok", "a", "Fine")
    with pytest.raises(AttributeError, match=f"renamed to Finding.{new}"):
        getattr(finding, old)
    with pytest.raises(AttributeError, match="nonsense"):
        getattr(finding, "nonsense")  # noqa: B009 - the name is not there on purpose


@pytest.mark.parametrize(("old", "new"), [("Call", "Request"), ("Reply", "Response")])
def test_a_renamed_public_name_names_the_new_one(old: str, new: str) -> None:
    import bedrock_rft

    with pytest.raises(ImportError, match=f"use bedrock_rft.{new}"):
        getattr(bedrock_rft, old)
