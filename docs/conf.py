"""Sphinx configuration. `make docs` builds the site into build/docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.ext import napoleon
from sphinx.ext.napoleon import GoogleDocstring

sys.path.insert(0, str(Path(__file__).parent))

import generate

from bedrock_rft._core.version import __version__

project = "bedrock_rft"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
nitpicky = True
# Names of other packages and private names have no page.
nitpick_ignore_regex = [(r"py:.*", r"(?!bedrock_rft\b).*|.*\._.*")]
# Two modules have a class Thresholds, and docstrings abbreviate code with `…`.
suppress_warnings = ["ref.python", "misc.highlighting_failure"]
default_role = "code"
highlight_language = "default"
add_module_names = False
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_default_options = {"exclude-members": "model_config"}
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"bedrock_rft {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False


def _to_rst(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Convert a Google-style docstring with Markdown literals, fences and tables to reStructuredText."""
    del name, obj, options
    found: list[str] = []
    fenced = False
    for line in lines:
        text = line.strip()
        indent = " " * (len(line) - len(line.lstrip()))
        if text.startswith("```"):
            fenced = not fenced
            found += ["", f"{indent}.. code-block:: {text[3:] or 'text'}", ""] if fenced else [""]
        elif fenced:
            found.append(f"    {line}")
        elif re.fullmatch(r"\|[-| ]+\|", text):
            continue
        elif text.startswith("|"):
            if not found[-1].lstrip().startswith("- "):
                found += ["", f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
            cells = [_literals(cell.strip()) for cell in text.strip("|").split(" | ")]
            found += [f"{indent}   {'* ' if not number else '  '}- {cell}" for number, cell in enumerate(cells)]
        else:
            found.append(_literals(line))
    lines[:] = GoogleDocstring("\n".join(found), napoleon.Config(napoleon_use_ivar=True), app, what).lines()


def _literals(text: str) -> str:
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"\\ ``\1``\\ ", text)


def _expand(app: Any, name: str, source: list[str]) -> None:
    """Replace the parts of a page that come from the code or another file."""
    del app, name
    source[0] = generate.expand(source[0])


def _write_markdown(app: Any, failure: Exception | None) -> None:
    """Write each page as Markdown next to its HTML, and the list of pages as llms.txt."""
    if failure is not None:
        return
    lines = [
        f"# {project} {release}",
        "",
        "> Typed reinforcement fine-tuning on Amazon Bedrock.",
        "",
    ]
    order = sorted(app.env.found_docs, key=lambda name: (name != "index", name))
    for name in order:
        page = generate.expand_api(generate.expand(app.env.doc2path(name).read_text(encoding="utf-8")))
        page = re.sub(r"(?ms)^```\{toctree\}.*?^```\n?", "", page)
        target = Path(app.outdir, f"{name}.md")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
        lines.append(f"- [{app.env.titles[name].astext()}]({name}.md)")
    Path(app.outdir, "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app: Any) -> None:
    """Import the package, and register the handlers."""
    generate.load_public_names()
    app.connect("autodoc-process-docstring", _to_rst)
    app.connect("source-read", _expand)
    app.connect("build-finished", _write_markdown)
