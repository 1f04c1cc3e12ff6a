"""An inquiry: what a person gives for a diagnosis, gathered into a case that can be saved and taken up again."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.acoustics import measure, read_wav
from toolkit.errors import BadBundle, UsageError
from toolkit.probe.facts_file import FactsFile
from troubleshoot.evidence import Case, Matcher
from troubleshoot.facts import FactValue, fact_from_json, fact_to_json, told_facts
from troubleshoot.scanner import ScanResult, scan_path, scan_stream, scan_text

__all__ = ["SCHEMA", "Inquiry", "LoadedFacts", "checked_facts", "load_facts", "load_saved", "read_json"]

SCHEMA = 1
_MAX_JSON_BYTES = 32 * 1024 * 1024
_LARGEST = 1e18


@dataclass(frozen=True)
class Inquiry:
    """Inputs of a diagnosis.

    ``logs`` are paths (``-`` is standard input); ``log_texts`` are logs already in memory, by name. ``measured`` facts
    come from probes or a facts file, ``told`` ones from a person. ``audio`` paths are WAV files; ``audio_measures`` are
    measures taken elsewhere. ``target`` records what the measured facts are facts of (python, model, service).
    """

    logs: Sequence[str] = ()
    log_texts: Mapping[str, str] = field(default_factory=dict)
    words: str = ""
    told: Mapping[str, object] = field(default_factory=dict)
    measured: Mapping[str, FactValue] = field(default_factory=dict)
    audio: Sequence[Path] = ()
    audio_measures: Mapping[str, FactValue] = field(default_factory=dict)
    spoken_text: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    target: Mapping[str, str] = field(default_factory=dict)

    def case(self, matcher: Matcher) -> Case:
        """Read and measure everything. Raises UsageError for what cannot be read; nothing is skipped silently."""
        unknown = sorted(set(self.answers) - set(matcher.catalogue.questions))
        if unknown:
            raise UsageError(
                f"no question is called {unknown[0]}; `qwen-audio rules show RULE` lists the questions of a rule"
            )
        for question_id, value in self.answers.items():
            choices = [answer.value for answer in matcher.catalogue.questions[question_id].answers]
            if value not in choices:
                raise UsageError(
                    f"the question {question_id} has no answer {value!r}; choose one of: {', '.join(choices)}"
                )
        logs: dict[str, ScanResult] = {name: scan_text(text, matcher.patterns) for name, text in self.log_texts.items()}
        for name in self.logs:
            logs[name] = (
                scan_stream(sys.stdin.buffer, matcher.patterns)
                if name == "-"
                else scan_path(Path(name), matcher.patterns)
            )
        audio = self.measure_audio()
        facts = {**self.measured, **told_facts(self.told)}
        return Case(logs=logs, facts=facts, words=self.words, audio=audio, answers=dict(self.answers))

    def measure_audio(self) -> dict[str, FactValue]:
        """Measures of the recordings; of several, the last one that has a measure gives it. Raises BadAudio."""
        measures: dict[str, FactValue] = dict(self.audio_measures)
        for path in self.audio:
            measures.update(measure(read_wav(path), self.spoken_text or None))
        return measures

    def is_empty(self) -> bool:
        """True when nothing at all was given."""
        return not (
            self.logs
            or self.log_texts
            or self.words.strip()
            or self.told
            or self.measured
            or self.audio
            or self.audio_measures
            or self.answers
        )

    def to_json(self) -> dict[str, object]:
        """What is needed to take the inquiry up again; log texts are left out, their names stay."""
        return {
            "logs": [*self.logs, *self.log_texts],
            "words": self.words,
            "told": dict(self.told),
            "measured": {name: fact_to_json(value) for name, value in self.measured.items()},
            "audio": [str(path) for path in self.audio],
            "audio_measures": {name: fact_to_json(value) for name, value in self.audio_measures.items()},
            "spoken_text": self.spoken_text,
            "answers": dict(self.answers),
            "target": dict(self.target),
        }


@dataclass(frozen=True)
class LoadedFacts:
    """Facts from a file: ``measured`` ones by their proper names, ``told`` ones by short names such as ``gpu``.

    ``interpreter`` is the Python that they are facts of, when the file says so; ``file`` is the whole facts file.
    """

    measured: Mapping[str, FactValue]
    told: Mapping[str, object]
    interpreter: str | None = None
    file: FactsFile | None = None


def load_facts(path: Path) -> LoadedFacts:
    """Facts from a facts file, from a doctor's ``--json``, or from a plain mapping of names to values.

    Raises BadBundle that names what is wrong.
    """
    data = read_json(path)
    schema = data.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise BadBundle(f"{path} has schema {schema}, this version reads up to {SCHEMA}: upgrade the toolkit")
    if data.get("kind") == "doctor":
        inner = data.get("facts_file")
        data = inner if isinstance(inner, dict) else {}
    if "probes" in data or "facts" in data:
        try:
            file = FactsFile.from_json(data)
        except BadBundle as error:
            raise BadBundle(f"{path}: {error}") from None
        _check_numbers(file.facts, str(path))
        return LoadedFacts(file.facts, {}, file.interpreter, file)
    if not data or "kind" in data:
        raise BadBundle(f"{path} holds no facts; make it with: qwen-audio doctor --json > {path.name}")
    facts = checked_facts({name: value for name, value in data.items() if name != "schema"}, str(path))
    return LoadedFacts(
        {name: value for name, value in facts.items() if "." in name},
        {name: value for name, value in facts.items() if "." not in name},
    )


def checked_facts(data: Mapping[str, object], where: str) -> dict[str, FactValue]:
    """Facts from JSON that anybody may have written: single values only. Raises BadBundle."""
    facts = {str(name): fact_from_json(value) for name, value in data.items()}
    for name, value in facts.items():
        if isinstance(value, dict | list):
            raise BadBundle(f"{where}: the fact {name[:60]!r} holds a list or a table, not a single value")
    _check_numbers(facts, where)
    return facts


def _check_numbers(facts: Mapping[str, FactValue], where: str) -> None:
    for name, value in facts.items():
        if isinstance(value, int | float) and not abs(value) < _LARGEST:
            raise BadBundle(f"{where}: the fact {name[:60]!r} is not a number that a measurement could give")


def load_saved(path: Path) -> tuple[Inquiry, dict[str, Any]]:
    """An inquiry and the diagnosis it led to, from ``diagnose --json``. Raises BadBundle."""
    data = read_json(path)
    if data.get("kind") != "diagnosis" or not isinstance(data.get("inquiry"), dict):
        raise BadBundle(f"{path} is not a saved diagnosis; make one with: qwen-audio diagnose ... --json > {path.name}")
    schema = data.get("schema")
    if not isinstance(schema, int) or schema > SCHEMA:
        raise BadBundle(f"{path} has schema {schema}, this version reads up to {SCHEMA}: upgrade the toolkit")
    saved: dict[str, Any] = data["inquiry"]
    try:
        inquiry = Inquiry(
            logs=[str(name) for name in saved["logs"]],
            words=str(saved["words"]),
            told=dict(saved["told"]),
            measured={str(name): fact_from_json(value) for name, value in saved["measured"].items()},
            audio=[Path(name) for name in saved["audio"]],
            audio_measures={str(name): fact_from_json(value) for name, value in saved["audio_measures"].items()},
            spoken_text=str(saved["spoken_text"]),
            answers={str(name): str(value) for name, value in saved["answers"].items()},
            target={str(name): str(value) for name, value in saved["target"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadBundle(f"{path} is a damaged diagnosis: {error!r} is missing or of the wrong kind") from None
    return inquiry, data


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of bounded size. Raises BadBundle."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise BadBundle(f"{path} is over {_MAX_JSON_BYTES >> 20} MB; a report is far smaller")
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadBundle(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadBundle(f"{path} does not hold a JSON object")
    return data
