"""What was answered so far, as a file beside config.yaml, so that the setup can be left and resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from toolkit.errors import BadOutput, UsageError
from toolkit.synthesis.whole_file import WholeFile

__all__ = ["STEPS", "SetupRecord", "state_file"]

STEPS = ("machine", "place", "model", "precision", "limits", "sentence", "writing")
"""The steps in their order; each is unlocked by the one before it."""

_SCHEMA = 1
_MOST_BYTES = 4 * 2**20
_NOT_COMPARED = ("report",)  # figures of the moment, on which no later step depends


def state_file(folder: Path) -> Path:
    """Where the answers of a folder lie."""
    return folder / "setup-state.json"


@dataclass(frozen=True)
class SetupRecord:
    """Answers by step, JSON values. A step is done when it has an answer and all before it have one."""

    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = [key for key in self.answers if key not in STEPS]
        if unknown:
            raise UsageError(f"there is no step {unknown[0]!r}; there are {', '.join(STEPS)}")
        object.__setattr__(self, "answers", MappingProxyType(dict(self.answers)))

    @classmethod
    def read(cls, folder: Path) -> SetupRecord:
        """The folder's answers, none where there is no file. Raises UsageError for a damaged one."""
        path = state_file(folder)
        try:
            if not path.exists():
                return cls()
            with path.open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
            data = json.loads(raw.decode("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path}: cannot be read ({str(error)[:120]}); {_ANEW}") from None
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA or not isinstance(data.get("answers"), dict):
            raise UsageError(f"{path}: is no state of this setup; {_ANEW}")
        if not all(isinstance(answer, dict) for answer in data["answers"].values()):
            raise UsageError(f"{path}: holds an answer that is none; {_ANEW}")
        return cls(data["answers"])

    def write(self, folder: Path) -> Path:
        """Write the file, whole or not at all. Raises BadOutput, DiskFull."""
        path = state_file(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadOutput(f"{folder}: cannot be made: {error.strerror or error}") from None
        data = {"schema": _SCHEMA, "answers": {key: self.answers[key] for key in STEPS if key in self.answers}}
        with WholeFile(path, overwrite=True) as file:
            file.write((json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))
        return path

    def with_answer(self, step: str, answer: Mapping[str, Any]) -> SetupRecord:
        """With a step's answer. Answers of later steps are dropped when it differs from the one before."""
        kept = dict(self.answers)
        if step in kept and _compared(kept[step]) != _compared(answer):
            for later in STEPS[STEPS.index(step) + 1 :]:
                kept.pop(later, None)
        return SetupRecord({**kept, step: answer})

    def is_done(self, step: str) -> bool:
        """Whether it and all before it have an answer."""
        return all(key in self.answers for key in STEPS[: STEPS.index(step) + 1])

    def is_open(self, step: str) -> bool:
        """Whether it may be looked at: the first one, or one after a step that is done."""
        place = STEPS.index(step)
        return place == 0 or self.is_done(STEPS[place - 1])

    @property
    def next_step(self) -> str:
        """The first step that is not done; the last one when all are."""
        return next((step for step in STEPS if not self.is_done(step)), STEPS[-1])


_ANEW = "remove it, or choose another folder"


def _compared(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in _NOT_COMPARED}
