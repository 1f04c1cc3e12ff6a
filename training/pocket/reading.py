"""Counts how many of the unseen instructions the toolkit's reader of effects understands, quantity by quantity."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from toolkit.tuning.effects import parse_effects

from .instructions import _filled, library

__all__ = ["is_read_right", "main"]

_UNSEEN = Path(__file__).parent / "unseen"
_TOLERANCE = 0.01


def is_read_right(text: str, style: Mapping[str, float | bool], tolerance: float = _TOLERANCE) -> bool:
    """Whether just the fields of `style` are found in `text`, each within the tolerance."""
    found = parse_effects(text).named()
    return found.keys() == style.keys() and all(
        abs(float(found[name]) - float(style[name])) <= tolerance for name in found
    )


def main() -> None:
    """Print the count for both lists and for the wordings of the training."""
    for name in ("instructions", "instructions_second"):
        lines = (_UNSEEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        cases = [json.loads(line) for line in lines]
        _print(name, (is_read_right(case["instruct"], case["style"]) for case in cases))
    _print("wordings with a number", _wordings(numbered=True))
    _print("wordings without a number", _wordings(numbered=False))


def _wordings(*, numbered: bool) -> Iterator[bool]:
    source = random.Random(1)
    known = library().concrete if numbered else library().vague
    for effect, many in known.items():
        for one in () if effect == "mood" else many:
            text, style = _filled(one, source)
            # Styles of drawn numbers are rounded.
            yield is_read_right(text, style.changes(), 0.02 if numbered else _TOLERANCE)


def _print(name: str, outcomes: Iterable[bool]) -> None:
    every = list(outcomes)
    print(f"{name}: {sum(every)} of {len(every)}")


if __name__ == "__main__":
    main()
