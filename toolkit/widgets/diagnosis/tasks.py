"""Long work of the diagnosis, done in a worker: find the cause, draw recordings, check again, make a bundle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.widgets.diagnosis.given import Given
from toolkit.widgets.jobs import Work

if TYPE_CHECKING:
    from toolkit.doctor.diagnosis import DiagnosisReport
    from toolkit.probe.catalogue import Probe

__all__ = ["check_again", "draw_sounds", "find_cause", "make_bundle"]

_LONGEST_DRAWN_S = 60.0
_MOST_DRAWN = 4


def find_cause(work: Work, given: dict[str, Any]) -> dict[str, Any]:
    """The diagnosis as :meth:`DiagnosisReport.to_json` gives it, with what a page needs besides; the recordings drawn.

    The diagnosis itself comes as the partial result ``report`` before anything is drawn.
    """
    from toolkit.doctor import matcher_of
    from toolkit.doctor.diagnosis import diagnose_inquiry

    asked = Given.from_json(given)
    work.progress(None, "diagnosis.progress.rules")
    matcher = matcher_of()
    work.progress(None, "diagnosis.progress.reading")
    report = diagnose_inquiry(matcher, asked.inquiry())
    told = _page_of(report)
    work.partial("report", told)
    return {"report": told, "sounds": draw_sounds(work, asked.audio)}


def draw_sounds(work: Work, paths: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each recording: its name, faults, a picture as PNG with the faults marked, and its first minute as sound.

    Raises BadAudio.
    """
    if not paths:
        return []
    from toolkit.acoustics import read_wav
    from toolkit.acoustics.faults import find_faults
    from toolkit.acoustics.figures import View, draw_speech, picture_bytes

    sounds = []
    for number, path in enumerate(paths[:_MOST_DRAWN]):
        work.progress(number / len(paths), "diagnosis.progress.drawing", name=Path(path).name)
        recording = read_wav(path)
        rate = recording.sample_rate
        faults = find_faults(recording)
        shown = recording.finite_mono()[: int(_LONGEST_DRAWN_S * rate)]
        near = tuple(fault for fault in faults if fault.place_s < shown.size / rate)
        picture = b""
        if shown.size >= 0.05 * rate:
            picture = picture_bytes(draw_speech([View(Path(path).name, shown, rate, faults=near)]))
        sound = {
            "name": Path(path).name,
            "duration_s": recording.duration_s,
            "rate_hz": rate,
            "samples": shown.clip(-1, 1),
            "picture": picture,
            "faults": [fault.to_json() for fault in faults],
        }
        work.partial("sound", sound)
        sounds.append(sound)
    return sounds


def check_again(
    work: Work, saved: dict[str, Any], rule: str, log_text: str, logs: list[str], audio: list[str], told: dict[str, str]
) -> dict[str, Any]:
    """Whether what spoke for a finding is gone: the JSON form of :class:`RecheckReport`."""
    from toolkit.doctor import recheck

    work.progress(None, "diagnosis.progress.again")
    new = Given(log_text=log_text, logs=tuple(logs))
    with new.log_paths() as paths, tempfile.TemporaryDirectory(prefix="qwen-audio-") as folder:
        file = Path(folder) / "saved.json"
        file.write_text(json.dumps(saved), encoding="utf-8")
        sounds = [Path(name) for name in audio]
        report = recheck(
            file, rule_id=rule, logs=paths, audio=sounds, told=told, on_slow=lambda probe: _slow(work, probe)
        )
    return report.to_json()


def make_bundle(work: Work, given: dict[str, Any], doctor: bool, path: str) -> dict[str, Any]:
    """Gather and redact what was given, and facts of this machine with ``doctor``; written when ``path`` is no "".

    Returns its contents in bytes a file, the ledger, what is not redacted, and where it was written.
    """
    from dataclasses import replace

    from toolkit.doctor import bundling, matcher_of
    from toolkit.doctor.bundle_view import to_json
    from toolkit.doctor.examination import gather_facts
    from toolkit.doctor.report import build_report

    asked = Given.from_json(given)
    inquiry = None if asked == Given() and doctor else asked.inquiry()
    doctor_json: Mapping[str, object] | None = None
    if doctor:
        work.progress(None, "diagnosis.progress.doctor")
        service = Path(asked.service) if asked.service else None
        facts = gather_facts(
            python=None, model=None, service=service, gpu_index=None, on_slow=lambda probe: _slow(work, probe)
        )
        doctor_json = build_report(matcher_of(), facts).to_json()
        from toolkit.doctor.inquiry import Inquiry

        inquiry = inquiry or Inquiry()
        inquiry = replace(inquiry, measured={**facts.facts, **inquiry.measured})
    work.progress(None, "diagnosis.progress.bundle")
    assert inquiry is not None  # noqa: S101 - for the type checker: asked.inquiry() raises for nothing
    made = bundling.make_bundle(inquiry, inquiry.measure_audio(), doctor_json)
    target = Path(path).expanduser() if path else None
    if target is not None:
        work.check()
        bundling.write_bundle(made, target)
    return to_json(made, target)


def _slow(work: Work, probe: Probe) -> None:
    work.progress(None, "diagnosis.progress.slow", title=probe.title, seconds=f"{probe.deadline_s:.0f}")


def _page_of(report: DiagnosisReport) -> dict[str, Any]:
    """The report's JSON, with Chinese titles and the commands for the machine that it is about."""
    from toolkit.doctor.wording import commands_for

    data = report.to_json()
    facts = report.diagnosis.facts
    shown = []
    for finding in report.diagnosis.findings:
        rule = finding.rule
        shown.append(
            {
                "title_zh": rule.title_zh,
                "commands": [commands_for(fix.commands, facts) for fix in rule.fixes],
                "verify_commands": commands_for(rule.verify.commands, facts),
            }
        )
    return {"saved": data, "shown": shown}
