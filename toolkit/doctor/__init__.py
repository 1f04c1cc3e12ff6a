"""The doctor: facts and rules joined into reports; every command and widget calls one function of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.doctor.bundling import Bundle
    from toolkit.doctor.comparison import Comparison
    from toolkit.doctor.diagnosis import DiagnosisReport
    from toolkit.doctor.report import DoctorReport
    from toolkit.doctor.second_look import RecheckReport
    from toolkit.probe.catalogue import Probe
    from troubleshoot.evidence import Matcher

__all__ = ["bundle", "compare_files", "diagnose", "examine", "matcher_of", "recheck", "write_bundle"]

OnSlow = Callable[["Probe"], None]


@lru_cache(maxsize=4)
def _matcher(folders: tuple[Path, ...]) -> Matcher:
    from troubleshoot.catalogue import load_catalogue
    from troubleshoot.evidence import Matcher

    return Matcher(load_catalogue(folders))


def matcher_of(rules: Iterable[Path] = ()) -> Matcher:
    """The catalogue, with further rule folders, made ready for matching. Raises RuleError."""
    return _matcher(tuple(Path(folder).resolve() for folder in rules))


def examine(
    *,
    python: str | None = None,
    model: str | None = None,
    service: Path | None = None,
    gpu_index: int | None = None,
    facts: Path | None = None,
    rules: Iterable[Path] = (),
    on_slow: OnSlow | None = None,
) -> DoctorReport:
    """Look at an interpreter, its card, a model and a service, or judge ``facts`` from elsewhere.

    Changes nothing and uses no network. Raises UsageError for a path that is not what it should be.
    """
    from toolkit.doctor.examination import facts_file_of, gather_facts
    from toolkit.doctor.report import build_report

    matcher = matcher_of(rules)  # a bad rule file is told before seconds of probing
    if facts is not None:
        return build_report(matcher, facts_file_of(facts))
    return build_report(
        matcher, gather_facts(python=python, model=model, service=service, gpu_index=gpu_index, on_slow=on_slow)
    )


def diagnose(
    *,
    logs: Sequence[str] = (),
    log_text: str | None = None,
    words: str = "",
    told: Mapping[str, object] | None = None,
    facts: Path | None = None,
    audio: Sequence[Path] = (),
    spoken_text: str = "",
    service: Path | None = None,
    answers: Mapping[str, str] | None = None,
    rules: Iterable[Path] = (),
) -> DiagnosisReport:
    """Find the cause of a failure. ``logs`` are paths, bundles (.zip) or ``-``; ``log_text`` is a log in memory.

    Raises UsageError when nothing was given or something cannot be read.
    """
    from toolkit.doctor.diagnosis import diagnose_inquiry
    from toolkit.doctor.examination import inquire

    matcher = matcher_of(rules)
    inquiry = inquire(
        logs=logs,
        log_text=log_text,
        words=words,
        told=told or {},
        facts=facts,
        audio=audio,
        spoken_text=spoken_text,
        service=service,
        answers=answers or {},
    )
    return diagnose_inquiry(matcher, inquiry)


def recheck(
    saved: Path,
    *,
    rule_id: str | None = None,
    logs: Sequence[Path] = (),
    audio: Sequence[Path] = (),
    told: Mapping[str, object] | None = None,
    rules: Iterable[Path] = (),
    on_slow: OnSlow | None = None,
) -> RecheckReport:
    """After a fix, measure again just what spoke for a finding of a saved diagnosis."""
    from toolkit.doctor.examination import reprobe_of
    from toolkit.doctor.inquiry import load_saved
    from toolkit.doctor.second_look import recheck as run

    inquiry, data = load_saved(saved)
    return run(
        matcher_of(rules),
        inquiry,
        data,
        rule_id=rule_id,
        logs=logs,
        audio=audio,
        told=told or {},
        reprobe=reprobe_of(inquiry.target, on_slow),
    )


def compare_files(good: Path, bad: Path, *, rules: Iterable[Path] = ()) -> Comparison:
    """Compare the facts of two doctor JSON files."""
    from toolkit.doctor.comparison import compare
    from toolkit.doctor.examination import facts_file_of

    return compare(matcher_of(rules).catalogue, facts_file_of(good), facts_file_of(bad))


def bundle(
    *,
    logs: Sequence[str] = (),
    words: str = "",
    told: Mapping[str, object] | None = None,
    audio: Sequence[Path] = (),
    python: str | None = None,
    model: str | None = None,
    service: Path | None = None,
    with_doctor: bool = True,
    on_slow: OnSlow | None = None,
) -> Bundle:
    """Gather logs, facts and measures, redacted; write it with :func:`write_bundle`."""
    from toolkit.doctor.bundling import make_bundle
    from toolkit.doctor.examination import gather_facts
    from toolkit.doctor.inquiry import Inquiry
    from toolkit.doctor.report import build_report

    doctor_json = None
    measured: Mapping[str, object] = {}
    if with_doctor:
        file = gather_facts(python=python, model=model, service=service, gpu_index=None, on_slow=on_slow)
        measured = file.facts
        doctor_json = build_report(matcher_of(), file).to_json()
    inquiry = Inquiry(logs=tuple(logs), words=words, told=told or {}, measured=measured, audio=tuple(audio))
    return make_bundle(inquiry, inquiry.measure_audio(), doctor_json)


def write_bundle(made: Bundle, path: Path, *, overwrite: bool = False) -> None:
    """Write a bundle: whole or not at all."""
    from toolkit.doctor.bundling import write_bundle as write

    write(made, path, overwrite=overwrite)
