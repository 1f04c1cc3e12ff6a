"""Looking at a machine, and gathering what a person gives, for the functions of the doctor's room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from toolkit import __version__
from toolkit.doctor.bundling import read_bundle
from toolkit.doctor.inquiry import Inquiry, load_facts
from toolkit.errors import UsageError
from toolkit.probe.catalogue import PROBES, Probe, Target, collect
from toolkit.probe.facts_file import FactsFile, utc_now
from toolkit.probe.interpreter import resolve_interpreter
from troubleshoot.facts import NA, FactValue, told_facts

__all__ = ["facts_file_of", "gather_facts", "inquire", "reprobe_of"]

OnSlow = Callable[[Probe], None]


def gather_facts(
    *,
    python: str | None,
    model: str | None,
    service: Path | None,
    gpu_index: int | None,
    on_slow: OnSlow | None,
    only: Sequence[str] | None = None,
) -> FactsFile:
    """Run the probes. Raises UsageError for an interpreter, model or service that is not there."""
    if service is not None and not service.is_dir():
        raise UsageError(f"{service} is not a folder; give the folder that holds the service's start script")
    target = Target(
        interpreter=resolve_interpreter(python),
        model=Path(model) if model else None,
        service=service,
        gpu_index=gpu_index,
    )
    return collect(target, only=only, on_slow=on_slow)


def facts_file_of(path: Path) -> FactsFile:
    """A facts file, a doctor's JSON, or told facts, as a facts file."""
    loaded = load_facts(path)
    if loaded.file is not None:
        return loaded.file
    facts = {**told_facts(loaded.told), **loaded.measured}
    return FactsFile(created=utc_now(), toolkit=__version__, interpreter="interpreter not told", probes=(), facts=facts)


def inquire(
    *,
    logs: Sequence[str],
    log_text: str | None,
    words: str,
    told: Mapping[str, object],
    facts: Path | None,
    audio: Sequence[Path],
    spoken_text: str,
    service: Path | None,
    answers: Mapping[str, str],
) -> Inquiry:
    """Gather what was given into one inquiry. Raises UsageError when it is nothing."""
    inquiry = Inquiry(
        words=words.strip(), told=dict(told), audio=tuple(audio), spoken_text=spoken_text, answers=dict(answers)
    )
    plain = [name for name in logs if not _is_zip(name)]
    for name in logs:
        if name not in plain:
            inquiry = _joined(inquiry, read_bundle(Path(name)).inquiry())
            inquiry = replace(inquiry, target={"facts": name})
    inquiry = replace(inquiry, logs=tuple(plain))
    if log_text is not None:
        inquiry = replace(inquiry, log_texts={**inquiry.log_texts, "log": log_text})
    if facts is not None:
        loaded = load_facts(facts)
        python = {"python": loaded.interpreter} if loaded.interpreter else {}
        inquiry = replace(
            inquiry,
            measured={**inquiry.measured, **loaded.measured},
            told={**loaded.told, **inquiry.told},
            target={"facts": str(facts), **python},
        )
    if service is not None:
        file = gather_facts(python=None, model=None, service=service, gpu_index=None, on_slow=None, only=["service"])
        inquiry = replace(
            inquiry, measured={**inquiry.measured, **file.facts}, target={**inquiry.target, "service": str(service)}
        )
    if inquiry.is_empty():
        raise UsageError(
            "nothing to diagnose: give a log file, - for standard input, --words, --fact, --facts, --audio or --service"
        )
    return inquiry


def reprobe_of(target: Mapping[str, str], on_slow: OnSlow | None) -> Callable[[Sequence[str]], Mapping[str, FactValue]]:
    """A function that measures named facts again, on what the saved diagnosis looked at."""

    def reprobe(names: Sequence[str]) -> Mapping[str, FactValue]:
        if not _is_here(target):
            return MappingProxyType({})
        wanted = [
            probe.name
            for probe in PROBES
            if any(
                name.startswith(prefix) if prefix.endswith(".") else name == prefix
                for name in names
                for prefix in probe.provides
            )
        ]
        if not wanted:
            return MappingProxyType({})
        service = target.get("service")
        file = gather_facts(
            python=target.get("python"),
            model=target.get("model"),
            service=Path(service) if service else None,
            gpu_index=None,
            on_slow=on_slow,
            only=wanted,
        )
        return {name: value for name, value in file.facts.items() if not isinstance(value, NA)}

    return reprobe


def _is_zip(name: str) -> bool:
    if name.lower().endswith(".zip"):
        return True
    try:
        with open(name, "rb") as stream:
            return stream.read(4) == b"PK\x03\x04"
    except OSError:  # also "-"; what cannot be read is told by whoever reads it as a log
        return False


def _is_here(target: Mapping[str, str]) -> bool:
    """Whether what was measured can be measured again: facts from another machine cannot."""
    python = target.get("python")
    return Path(python).exists() if python else "facts" not in target


def _joined(first: Inquiry, second: Inquiry) -> Inquiry:
    return replace(
        first,
        log_texts={**first.log_texts, **second.log_texts},
        words=first.words or second.words,
        told={**second.told, **first.told},
        measured={**second.measured, **first.measured},
        audio_measures={**second.audio_measures, **first.audio_measures},
    )
