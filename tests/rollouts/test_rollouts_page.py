"""The page of a report: in a browser with more rollouts than it shows, hostile texts, and without scripts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from support.browser import open_page
from support.rollout_families import BEHAVIOURS, generate
from support.rollout_files import write_rollouts

from bedrock_rft import rollouts
from bedrock_rft._core.findings import standalone_page
from bedrock_rft.rollouts._html import SCRIPT, page
from bedrock_rft.rollouts._report import rollout_report

HOSTILE = "</pre><script>document.title='ran'</script><img src=http://other.example/x onerror=\"alert(1)\">\x1b["
MEASURE = """
const counts = [['', '', '', true], ['', '0', '0.5', false], ['no SUCH text', '', '', false]].map(asked => {
  [form.elements.text.value, form.elements.part.value, form.elements.low.value, form.elements.error.checked] = asked;
  form.dispatchEvent(new Event('input'));
  return `${rows.filter(row => row.offsetHeight > 0).length} (${count.textContent})`;
});
const page = document.documentElement;
document.title = `${counts.join(', ')}, ${page.scrollWidth - page.clientWidth} too wide, ${form.hidden}`;
"""


def test_the_page_of_many_rollouts_is_bounded_and_only_its_filter_needs_a_script(
    tmp_path: Path,
) -> None:
    write_rollouts(tmp_path / "recorded", steps=16, groups=16, samples=8, behaviour="errors")
    many = rollouts.read(tmp_path / "recorded").report(fields=["topic", "level"])
    html = many.to_html(tmp_path / "report.html")
    assert html == (tmp_path / "report.html").read_text("utf-8")
    assert many.rollouts == 2_048
    assert "1,000 of 2,048 rollouts, chosen at random" in html
    assert "16 of 16 prompts, chosen at random" in html
    assert len(html) < 3_000_000
    failed = sum(record.error is not None for record in many.sample)
    right = sum(record.parts.get("correct") == 1 for record in many.sample)
    assert 0 < failed < 1000
    measured = standalone_page(many.title, page(many), SCRIPT + MEASURE)
    # The page without its script follows in one document, because starting the browser takes longer than to show it.
    without_script = standalone_page(many.title, page(many))
    seen = open_page(f'{measured}<hr id="second">{without_script}', tmp_path, width=400, dark=True)
    assert seen.requests == ()
    found = re.search("<title>(.*?)</title>", seen.dom)
    assert found is not None
    counts = ", ".join(f"{count:,} ({count:,} of 1,000 rows match)" for count in (failed, right, 0))
    assert found[1] == f"{counts}, 0 too wide, false"
    filtered, mark, shown = seen.dom.partition('<hr id="second">')
    assert mark
    assert "<form hidden" not in filtered
    assert "rows match" in filtered
    assert "<form hidden" in shown
    assert shown.count("<tr data-score=") == 1000
    assert "rows match" not in shown


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    made = [
        replace(
            record,
            prompt=HOSTILE,
            answer=f"{record.answer} {HOSTILE}",
            error=HOSTILE if place % 50 == 0 else None,
            parts={HOSTILE: 0.5 + place % 2},
            fields={HOSTILE: HOSTILE},
            function=HOSTILE,
            function_version=f"{HOSTILE}{place % 3}",
        )
        for place, record in enumerate(generate(BEHAVIOURS["the reward pays for length"][1], steps=9))
    ]
    report = rollout_report(made, HOSTILE, fields=[HOSTILE])
    assert report.warnings
    seen = open_page(report.to_html(), tmp_path)
    assert seen.requests == ()
    assert "<title>ran</title>" not in seen.dom
    assert "<img" not in seen.dom
    for shown in (str(report), report._repr_html_(), report.to_html()):
        assert "\x1b" not in shown
    assert "<script" not in report._repr_html_()
