"""Metrics of text similarity. The library of a metric is imported when the metric is first used."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")

METRICS: dict[str, str] = {
    "fuzzy_match": "rapidfuzz",
    "bleu": "sacrebleu",
    "gleu": "nltk",
    **dict.fromkeys([*(f"rouge_{n}" for n in range(1, 6)), "rouge_l"], "rouge-score"),
}
"""The library of each metric."""


def with_dependencies(*names: str) -> tuple[str, ...]:
    """Return distributions with all those that they depend on and that are installed here."""
    from importlib.metadata import PackageNotFoundError, requires  # Lambda does not need it

    found: dict[str, None] = {}
    pending = list(names)
    while pending:
        name = pending.pop()
        if re.sub(r"[-_.]+", "-", name).lower() in found:
            continue
        try:
            needed = requires(name) or []
        except (
            PackageNotFoundError
        ):  # a dependency of another platform or version of Python, unless the caller named it
            needed = []
            if name not in names:
                continue
        found[re.sub(r"[-_.]+", "-", name).lower()] = None
        pending += [match.group() for each in needed if "extra" not in each and (match := _NAME.match(each))]
    return tuple(found)


def metric_function(metric: str) -> Callable[[str, str], float]:
    """Return the function that compares a text with a reference, from 0 to 1."""
    try:
        return _METRIC_FUNCTIONS.get(metric, _rouge)(metric)
    except ImportError as error:
        raise ImportError(
            f"Similarity({metric!r}) needs {METRICS[metric]}: pip install 'bedrock_rft[similarity]'. In Lambda, "
            "package it too."
        ) from error


def _fuzzy_match(_: str) -> Callable[[str, str], float]:
    fuzz: Any = import_module("rapidfuzz.fuzz")
    utils: Any = import_module("rapidfuzz.utils")
    return lambda text, reference: float(fuzz.WRatio(text, reference, processor=utils.default_process)) / 100


def _bleu(_: str) -> Callable[[str, str], float]:
    sacrebleu: Any = import_module("sacrebleu")
    return lambda text, reference: float(sacrebleu.sentence_bleu(text, [reference]).score) / 100


def _gleu(_: str) -> Callable[[str, str], float]:
    gleu: Any = import_module("nltk.translate.gleu_score")
    return lambda text, reference: float(gleu.sentence_gleu([reference.split()], text.split()))


def _rouge(metric: str) -> Callable[[str, str], float]:
    name = metric.replace("rouge_l", "rougeL").replace("_", "")
    rouge: Any = import_module("rouge_score.rouge_scorer")
    scorer = rouge.RougeScorer([name])
    return lambda text, reference: float(scorer.score(reference, text)[name].fmeasure)


_METRIC_FUNCTIONS = {"fuzzy_match": _fuzzy_match, "bleu": _bleu, "gleu": _gleu}
