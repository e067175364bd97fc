"""The page of a report on rollouts: figures and findings, answers side by side, and a table with a filter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from bedrock_rft._core.findings import LEVEL_COLOURS, escape_html, facts_html
from bedrock_rft._core.tables import Markup, html_lines, html_table
from bedrock_rft.metrics._series import COLOURS
from bedrock_rft.rollouts._figures import Figures, Period, format_time, part_rows, rate_rows, step_rows
from bedrock_rft.rollouts._record import Record

_PROMPT, _ANSWER, _PREVIEW = 600, 2000, 120
_WIDE, _HIGH = 800, 200

_STYLE = """
.rft-rollouts{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:auto;overflow-wrap:anywhere}
.rft-rollouts h2{font-size:1.3rem;margin:1rem 0 .5rem}.rft-rollouts h3{font-size:1.05rem;margin:1.8rem 0 .4rem}
.rft-rollouts table{border-collapse:collapse;font:inherit;margin:.5rem 0}
.rft-rollouts th,.rft-rollouts td{padding:.25rem .8rem .25rem 0;text-align:left;vertical-align:top;
 border-bottom:1px solid #8884}
.rft-rollouts td.n,.rft-rollouts th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.rft-rollouts pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.2rem 0 .6rem;padding:.5rem .6rem;
 background:#8881;border-radius:4px;font:13px/1.5 ui-monospace,monospace}
.rft-rollouts summary{cursor:pointer}.rft-rollouts details{margin:.3rem 0}
.rft-rollouts ul{list-style:none;padding:0}
.rft-rollouts li{margin:.5rem 0;padding-left:.7rem;border-left:4px solid #8886}
.rft-rollouts .pair{display:grid;grid-template-columns:1fr 1fr;gap:0 1rem}
.rft-rollouts .dim{opacity:.7}
.rft-rollouts figure{margin:0;max-width:60rem}.rft-rollouts .plot{display:flex;gap:.5rem;height:13rem}
.rft-rollouts .axis{display:flex;justify-content:space-between;font-size:13px;opacity:.75}
.rft-rollouts .plot .axis{flex-direction:column;text-align:right;min-width:2.5rem}
.rft-rollouts .plot svg{flex:1;min-width:0;height:100%;background:#8881}
.rft-rollouts .times{margin-left:3rem}
.rft-rollouts form{display:flex;flex-wrap:wrap;gap:.5rem 1rem;margin:.6rem 0;align-items:end}
.rft-rollouts form[hidden]{display:none}
.rft-rollouts label{display:flex;flex-direction:column;font-size:13px}
.rft-rollouts label.check{flex-direction:row;gap:.4rem;align-items:center}
.rft-rollouts input,.rft-rollouts select{font:inherit;padding:.25rem .4rem;max-width:100%;box-sizing:border-box}
.rft-rollouts input[type=number]{width:6rem}
.rft-rollouts .all{width:100%}.rft-rollouts .all th,.rft-rollouts .all td:nth-child(-n+2){white-space:nowrap}
.rft-rollouts .all td:nth-child(3){min-width:8rem}
.rft-rollouts .all td:nth-child(4),.rft-rollouts .all td:nth-child(5){width:36%}
@media(max-width:700px){
 .rft-rollouts .pair{grid-template-columns:1fr}
 .rft-rollouts .all thead{display:none}
 .rft-rollouts .all,.rft-rollouts .all tbody{display:block}
 .rft-rollouts .all tr{display:block;padding:.5rem 0;border-bottom:1px solid #8886}
 .rft-rollouts .all tr[hidden]{display:none}
 .rft-rollouts .all td{display:inline-block;border:0;padding:0 .8rem 0 0}
 .rft-rollouts .all td:nth-child(n+4){display:block;width:auto;padding:.1rem 0}
}
"""

SCRIPT = """
const form = document.querySelector('.rft-rollouts form'), rows = [...document.querySelectorAll('.all tbody tr')];
const count = document.querySelector('.rft-rollouts output');
const parts = JSON.parse(form.dataset.parts), number = (text, other) => text === '' ? other : Number(text);
function filter() {
  const asked = Object.fromEntries(new FormData(form)), text = asked.text.toLowerCase(), part = asked.part;
  let shown = 0;
  for (const row of rows) {
    const value = part === '' ? Number(row.dataset.score) : JSON.parse(row.dataset.parts)[parts[part]];
    const low = number(asked.low, -Infinity), high = number(asked.high, Infinity);
    const keep = value !== undefined && value >= low && value <= high
      && (!asked.error || row.dataset.error === '1') && (text === '' || row.textContent.toLowerCase().includes(text));
    row.hidden = !keep;
    shown += keep;
  }
  count.textContent = shown.toLocaleString('en') + ' of ' + rows.length.toLocaleString('en') + ' rows match';
}
form.hidden = false;
form.addEventListener('input', filter);
form.addEventListener('submit', event => event.preventDefault());
filter();
"""


def page(report: Figures) -> str:
    """Return the whole page."""
    return overview(report, [_pairs(report), _table(report)])


def overview(report: Figures, more: Iterable[str] = ()) -> str:
    """Return the figures and findings, without the texts of rollouts except examples."""
    findings = [
        f"<li style='border-color:{LEVEL_COLOURS.get(one.level, '#888')}'><b>{one.level}</b> {escape_html(str(one))}"
        f"{_examples(report.examples.get(one.code, ())) if one.level in ('error', 'warning') else ''}</li>"
        for one in report.findings
    ]
    extremes = (("Hardest", report.hardest), ("Easiest", report.easiest))
    prompts = [html_table(title, rate_rows("prompt", rates)) for title, rates in extremes]
    times = [
        [f"{one.duration or 0:.3f} s", f"{one.score:.3f}", (one.answer or "")[:_PREVIEW]] for one in report.slowest
    ]
    slowest = html_table("", [["time", "reward", "answer"], *times])
    sections = [
        f"{facts_html(report.facts())}<h3>Findings</h3><ul>{''.join(findings)}</ul>",
        _chart(report),
        html_table("Parts of the reward", part_rows(report)),
        *(
            html_table(f"Pass rate by {escape_html(name)}", rate_rows(name, rates))
            for name, rates in report.fields.items()
        ),
        _details("Steps, by the times of the job's events (approximate)", html_table("", step_rows(report, 10**6))),
        _details("Hardest and easiest prompts", "".join(prompts)),
        _details("Rollouts whose scoring took longest", slowest),
        *more,
    ]
    title = f"<h2>{escape_html(report.title)}: {escape_html(report.verdict)}</h2>"
    return f"<div class='rft-rollouts'><style>{_STYLE}</style>{title}{''.join(sections)}</div>"


def _details(title: str, content: str) -> str:
    summary = f"<summary>{escape_html(title)}</summary>"
    return f"<details>{summary}{content}</details>" if content else ""


def _chart(report: Figures) -> str:
    """Draw the distribution of rewards over time: one column for each period, darker for more of its rollouts."""
    periods = report.periods
    if not periods:
        return ""
    width, height = _WIDE / len(periods), _HIGH / len(periods[0].histogram)
    drawn = [_column(one, place * width, width, height) for place, one in enumerate(periods)]
    scale = _HIGH / (report.high - report.low)
    heights = [_HIGH - (one.mean - report.low) * scale for one in periods]
    points = " ".join(f"{(place + 0.5) * width:.1f},{at:.1f}" for place, at in enumerate(heights))
    middle = (report.low + report.high) / 2
    return (
        "<h3>Rewards over time</h3><figure><div class='plot'><div class='axis'>"
        f"<span>{report.high:g}</span><span>{middle:g}</span><span>{report.low:g}</span></div>"
        f"<svg viewBox='0 0 {_WIDE} {_HIGH}' preserveAspectRatio='none' role='img' aria-label='Rewards over time'>"
        f"{''.join(drawn)}<polyline points='{points}' fill='none' stroke='{COLOURS[1]}' stroke-width='2.5' "
        "vector-effect='non-scaling-stroke'/></svg></div>"
        f"<div class='axis times'><span>{format_time(periods[0].start)}</span>"
        f"<span>{format_time(periods[-1].end)} UTC</span></div><figcaption class='dim'>Each column has about the same "
        "number of rollouts. Stronger blue: a larger share of them have this reward. Orange line: mean reward."
        "</figcaption></figure>"
    )


def _column(period: Period, left: float, width: float, height: float) -> str:
    errors = f", {period.errors:,} errors" if period.errors else ""
    title = f"from {format_time(period.start)}: {period.rollouts:,} rollouts, mean {period.mean:.3f}{errors}"
    cells = "".join(
        f"<rect x='{left:.1f}' y='{_HIGH - (place + 1) * height:.1f}' width='{width:.1f}' height='{height:.1f}' "
        f"fill='{COLOURS[0]}' opacity='{min(1.0, 0.15 + count / period.rollouts):.2f}'/>"
        for place, count in enumerate(period.histogram)
        if count
    )
    return f"<g><title>{title}</title>{cells}</g>"


def _examples(records: Sequence[Record]) -> str:
    if not records:
        return ""
    shown = "".join(f"<p class='dim'>{_head(one)}</p>{_texts(one)}" for one in records)
    return f"<details><summary>{len(records)} example{'s' * (len(records) > 1)}</summary>{shown}</details>"


def _head(record: Record) -> str:
    """Return time, score, parts and error of a rollout."""
    error = f" · error: {escape_html(record.error)}" if record.error is not None else ""
    values = ", ".join(f"{escape_html(name[:60])} {value:.3g}" for name, value in record.parts.items())
    parts = f" · {values}" if values else ""
    return f"{escape_html(record.time[:19].replace('T', ' '))} · reward <b>{record.score:g}</b>{parts}{error}"


def _texts(record: Record) -> str:
    texts = (("Prompt", _pre(record.prompt, _PROMPT)), ("Answer", _pre(record.answer, _ANSWER)))
    return "".join(f"<p class='dim'>{name}</p>{text}" for name, text in texts)


def _pre(text: str | None, most: int) -> str:
    if text is None:
        return "<p class='dim'>not recorded</p>"
    cut = text if len(text) <= most else f"{text[: most // 2]}\n[…]\n{text[-most // 2 :]}"
    return f"<pre>{html_lines(cut)}</pre>"


def _pairs(report: Figures) -> str:
    """Return the first and the last answer to each of some prompts, side by side."""
    items: list[str] = []
    for first, last in sorted(report.pairs, key=lambda pair: pair[1].score - pair[0].score):
        sides = "".join(
            f"<div><p><b>{title}</b> <span class='dim'>{_head(one)}</span></p>{_pre(one.answer, _ANSWER)}</div>"
            for title, one in (("First", first), ("Last", last))
        )
        preview = _preview(first.prompt or "prompt not recorded")
        scores = f"{first.score:g} → {last.score:g} <span class='dim'>{preview}</span>"
        content = f"{_pre(first.prompt, _PROMPT)}<div class='pair'>{sides}</div>"
        items.append(f"<details{' open' * (not items)}><summary>{scores}</summary>{content}</details>")
    if not items:
        return ""
    chosen = f"{len(items):,} of {report.prompts:,} prompts, chosen at random; the greatest loss of reward comes first."
    return f"<h3>First and last answers to the same prompt</h3><p class='dim'>{chosen}</p>{''.join(items)}"


def _table(report: Figures) -> str:
    names = list(report.parts)
    rows = "".join(_row(one, names) for one in report.sample)
    chosen = (
        f"All {report.rollouts:,} rollouts"
        if len(report.sample) == report.rollouts
        else f"{len(report.sample):,} of {report.rollouts:,} rollouts, chosen at random"
    )
    head = "".join(f"<th>{name}</th>" for name in ("time (UTC)", "reward", "parts", "prompt", "answer"))
    return (
        f"<h3>Rollouts</h3><p class='dim'>{chosen}, in order of time. Long texts are cut in the middle.</p>"
        f"{_form(report, names)}<table class='all'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _form(report: Figures, names: Sequence[str]) -> str:
    """Return the filter, which the script shows; without scripts it stays hidden."""
    options = "".join(f"<option value='{place}'>{escape_html(name[:60])}</option>" for place, name in enumerate(names))
    errors = "<label class='check'><input type='checkbox' name='error' value='1'>errors only</label>"
    return (
        f"<form hidden data-parts='{_attribute([str(place) for place in range(len(names))])}'>"
        "<label>text<input type='search' name='text'></label>"
        f"<label>value<select name='part'><option value=''>reward</option>{options}</select></label>"
        "<label>at least<input type='number' step='any' name='low'></label>"
        f"<label>at most<input type='number' step='any' name='high'></label>"
        f"{errors if report.error_kinds else ''}<output></output></form>"
    )


def _row(record: Record, names: Sequence[str]) -> str:
    values = {str(place): record.parts[name] for place, name in enumerate(names) if name in record.parts}
    parts = [f"{escape_html(name[:40])} {record.parts[name]:.3g}" for name in names if name in record.parts]
    parts += [f"error: {escape_html(record.error)}"] if record.error is not None else []
    cells = (
        escape_html(record.time[5:19].replace("T", " ")),
        f"<b>{record.score:.3g}</b>",
        "<br>".join(parts),
        _foldable(record.prompt, _PROMPT),
        _foldable(record.answer, _ANSWER),
    )
    data = (
        f"data-score='{record.score!r}' data-parts='{_attribute(values)}' data-error='{int(record.error is not None)}'"
    )
    return f"<tr {data}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _foldable(text: str | None, most: int) -> str:
    """Return a text whose beginning is shown, and the rest on request."""
    if text is not None and len(text) <= _PREVIEW and "\n" not in text:
        return escape_html(text)
    if text is None:
        return "<span class='dim'>not recorded</span>"
    return f"<details><summary>{_preview(text)}</summary>{_pre(text, most)}</details>"


def _preview(text: str) -> str:
    """Return the beginning of an answer, or of the last user message of a prompt with several messages."""
    shown = " ".join(text.rpartition("\nuser: ")[2].split())
    return escape_html(shown if len(shown) <= _PREVIEW else f"{shown[:_PREVIEW]}…")


def _attribute(value: object) -> str:
    return Markup(escape_html(json.dumps(value)))
