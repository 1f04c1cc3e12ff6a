"""Prints facts as one JSON object on standard output: what a probe's child process gives back."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from troubleshoot.facts import NA

__all__ = ["facts_to_json_text", "print_facts"]


def facts_to_json_text(facts: Mapping[str, object]) -> str:
    """One line of ASCII JSON; NA, also inside lists and tables, becomes ``{"na": reason}``."""
    return json.dumps(facts, default=_plain, allow_nan=False, ensure_ascii=True, separators=(",", ":"))


def print_facts(facts: Mapping[str, object]) -> None:
    """Write the facts to standard output, ended by one line break."""
    sys.stdout.write(facts_to_json_text(facts) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    if isinstance(value, NA):
        return {"na": value.reason}
    raise TypeError(f"a fact of type {type(value).__name__} has no JSON form")
