"""Multi-step arithmetic word problems as training data: `python examples/word_problems.py --out train.jsonl`.

A story is a scene, an amount and a few steps; each step has a sentence and a calculation. The same seed writes the same
bytes on every version of Python.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TASK = 'Think step by step and give the final answer after "####".'


@dataclass(frozen=True)
class Scene:
    """The setting of a story.

    In its texts, `{who}` is a name, `{she}` a pronoun, `{n}` the initial amount and `{k}` the amount of a step.
    """

    things: str
    opening: str
    gains: tuple[str, ...]
    losses: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One step: its sentence, its calculation and the resulting amount."""

    text: str
    worked: str
    amount: int


PEOPLE = (
    ("Amara", "she"), ("Bruno", "he"), ("Chen", "he"), ("Dalia", "she"), ("Elif", "she"), ("Farid", "he"),
    ("Greta", "she"), ("Hugo", "he"), ("Imani", "she"), ("Jonas", "he"), ("Keiko", "she"), ("Luca", "he"),
    ("Maya", "she"), ("Nikhil", "he"), ("Olga", "she"), ("Pedro", "he"), ("Rosa", "she"), ("Samir", "he"),
)  # fmt: skip
SCENES = (
    Scene(
        "apples",
        "{who} picks {n} apples in the orchard.",
        ("finds {k} more under the trees", "gets {k} more from a neighbour"),
        ("gives {k} of them to the school kitchen", "throws {k} away because they are bruised"),
    ),
    Scene(
        "books",
        "{who} looks after a small library with {n} books.",
        ("unpacks a donation of {k} books", "buys {k} books at a fair"),
        ("lends {k} books to a class", "sends {k} worn books to be repaired"),
    ),
    Scene(
        "loaves",
        "{who} bakes {n} loaves in the morning.",
        ("bakes {k} more at noon", "takes over {k} loaves from the bakery next door"),
        ("sells {k} of them to a café", "takes {k} of them to a street party"),
    ),
    Scene(
        "beads",
        "{who} has a jar with {n} beads.",
        ("adds {k} beads from an old necklace", "wins {k} beads in a game"),
        ("uses {k} of them for a bracelet", "loses {k} of them on the way home"),
    ),
    Scene(
        "seedlings",
        "{who} raises {n} seedlings on the window sill.",
        ("sows again and gets {k} more", "swaps some seeds for {k} seedlings"),
        ("plants {k} of them in the garden", "loses {k} of them to a late frost"),
    ),
    Scene(
        "postcards",
        "{who} collects postcards and owns {n} postcards.",
        ("finds {k} more in the attic", "buys {k} more at a flea market"),
        ("sends {k} of them to friends", "trades {k} of them for a stamp"),
    ),
)
FRACTIONS = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
TIMES = {2: "twice", 3: "three times", 4: "four times"}
LINKS = ("Then", "Later", "After that", "The next day", "In the evening")

SMALLEST, LARGEST = 6, 900  # plural amounts that allow mental arithmetic


class Story:
    """Generator of steps that change an amount."""

    def __init__(self, rng: random.Random, scene: Scene, who: str, she: str) -> None:
        self.rng, self.scene, self.who, self.she = rng, scene, who, she
        self.things = scene.things
        self.friends = [name for name, _ in PEOPLE if name != who]
        self.links = list(LINKS)
        rng.shuffle(self.links)

    def step(self, amount: int) -> Step:
        """Return a step that leaves a positive amount."""
        while True:
            step = self.rng.choice((self.gain, self.loss, self.share, self.multiple))(amount)
            if step is not None and SMALLEST <= step.amount <= LARGEST:
                return step

    def gain(self, amount: int) -> Step:
        """Return a step that increases the amount."""
        k = self.rng.randrange(3, 60)
        happens = self.rng.choice(self.scene.gains).format(k=k)
        return Step(self._next(happens), f"{amount} + {k} = {amount + k} {self.things}.", amount + k)

    def loss(self, amount: int) -> Step:
        """Return a step that decreases the amount."""
        k = self.rng.randrange(2, amount - 2)
        happens = self.rng.choice(self.scene.losses).format(k=k)
        return Step(self._next(happens), f"{amount} - {k} = {amount - k} {self.things}.", amount - k)

    def share(self, amount: int) -> Step | None:
        """Return a step that gives away a fraction that is a whole number."""
        parts = self.rng.choice(tuple(FRACTIONS))
        if amount % parts:
            return None
        gone, friend = amount // parts, self.friend()
        left = amount - gone
        worked = f"{amount} / {parts} = {gone}, so {amount} - {gone} = {left} {self.things} are left."
        return Step(self._next(f"gives {FRACTIONS[parts]} of the {self.things} to {friend}"), worked, left)

    def multiple(self, amount: int) -> Step:
        """Return a step that adds a friend's multiple of the amount."""
        times = self.rng.choice(tuple(TIMES))
        more = amount * times
        text = (
            f"{self.friend()} brings {TIMES[times]} as many {self.things} as {self.who} has by then, "
            "and they put them all together."
        )
        worked = f"{amount} * {times} = {more}, and {amount} + {more} = {amount + more} {self.things} together."
        return Step(text, worked, amount + more)

    def end(self, amount: int) -> Step:
        """Return the question."""
        things, who, she = self.things, self.who, self.she
        kind = self.rng.choice(("count", "money", "boxes", "friends"))
        sizes = [size for size in range(2, 13) if amount % size == 0 and amount // size > 1]
        if kind == "money":
            price = self.rng.randrange(2, 10)
            text = f"If {who} sells all the {things} that are there now for ${price} each, how many dollars is that?"
            return Step(text, f"{amount} * {price} = {amount * price} dollars.", amount * price)
        if kind == "count" or not sizes:
            return Step(f"How many {things} are there now?", f"So there are {amount} {things}.", amount)
        size = self.rng.choice(sizes)
        each = amount // size
        if kind == "boxes":
            text = f"If {who} packs all of them into boxes of {size}, how many boxes does {she} fill?"
            return Step(text, f"{amount} / {size} = {each} boxes.", each)
        text = f"If {who} shares all of them equally among {size} friends, how many {things} does each friend get?"
        return Step(text, f"{amount} / {size} = {each} {things} each.", each)

    def friend(self) -> str:
        """Return the name of a friend."""
        return self.rng.choice(self.friends)

    def _next(self, happens: str) -> str:
        self.links.append(self.links.pop(0))
        return f"{self.links[-1]} {self.she} {happens}."


def problem(rng: random.Random) -> dict[str, Any]:
    """Return one record of a training file."""
    (who, she), scene, amount = rng.choice(PEOPLE), rng.choice(SCENES), rng.randrange(12, 120)
    story = Story(rng, scene, who, she)
    text, worked = [scene.opening.format(who=who, n=amount)], list[str]()
    for _ in range(rng.randrange(1, 4)):
        step = story.step(amount)
        text.append(step.text)
        worked.append(step.worked)
        amount = step.amount
    end = story.end(amount)
    return {
        "messages": [{"role": "user", "content": " ".join([*text, end.text, TASK])}],
        "reference_answer": "\n".join([*worked, end.worked, f"#### {end.amount}"]),
        "steps": len(worked) + 1,
    }


def problems(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Return `count` different problems."""
    rng = random.Random(seed)
    text = set[str]()
    while len(text) < count:
        record = problem(rng)
        question = record["messages"][0]["content"]
        if question not in text:
            text.add(question)
            yield record


def write(path: Path, *, count: int = 300, seed: int = 7) -> None:
    """Write a training file with one record a line."""
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in problems(count, seed))
    path.write_bytes("".join(lines).encode())


def main() -> int:
    """Write a file as the command line asks."""
    parser = argparse.ArgumentParser(description="Write multi-step arithmetic word problems as JSON lines.")
    parser.add_argument("--count", type=int, default=300, help="how many; the service takes 100 to 20,000")
    parser.add_argument("--seed", type=int, default=7, help="the same seed writes the same file")
    parser.add_argument("--local", action="store_true", help="accepted as in the other examples; always local")
    parser.add_argument("--out", type=Path, default=Path("word_problems.jsonl"), help="the file to write")
    options = parser.parse_args()
    write(options.out, count=options.count, seed=options.seed)
    print(f"{options.count} problems written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
