"""Tasks of the worker: look at the machine, or once more at what one row of the report depends on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import UsageError
from toolkit.widgets.jobs import Work

if TYPE_CHECKING:
    from toolkit.doctor.report import DoctorReport
    from toolkit.probe.catalogue import Probe

__all__ = ["look", "look_again", "report_json"]

_IMPORT_DEADLINE_S = 30.0


def look(work: Work, python: str = "", service: str = "") -> dict[str, Any]:
    """Examine an interpreter and a service folder ("" for this one and for none); see :func:`report_json`."""
    from toolkit.doctor import examine

    work.progress(None, "setup.machine.looking")
    place = Path(service).expanduser() if service.strip() else None
    report = examine(python=python.strip() or None, service=place, on_slow=_teller(work))
    return {**report_json(report), "can_speak": _has_toolkit(str(report.file.interpreter))}


def look_again(work: Work, report: Mapping[str, Any], row: str, python: str = "", service: str = "") -> dict[str, Any]:
    """Take the facts anew that one row depends on, and judge all rows by them.

    Raises UsageError for a row that there is not.
    """
    from toolkit.doctor import matcher_of
    from toolkit.doctor.examination import gather_facts
    from toolkit.doctor.report import build_report
    from toolkit.probe.catalogue import PROBES
    from toolkit.probe.facts_file import FactsFile
    from troubleshoot.requirements import load_rows

    wanted = next((one for one in load_rows() if one.id == row), None)
    if wanted is None:
        raise UsageError(f"the doctor has no row {row!r}")
    names = (*wanted.applies, *wanted.needs, *wanted.must)
    again = [probe for probe in PROBES if any(name.startswith(probe.provides) for name in names)]
    work.progress(None, "setup.machine.again", title=wanted.title)
    place = Path(service).expanduser() if service.strip() else None
    taken = gather_facts(
        python=python.strip() or None,
        model=None,
        service=place,
        gpu_index=None,
        on_slow=_teller(work),
        only=[probe.name for probe in again],
    )
    before = FactsFile.from_json(report["file"])
    stale = tuple(prefix for probe in again for prefix in probe.provides)
    facts = {name: value for name, value in before.facts.items() if not name.startswith(stale)}
    asked = {entry.name: entry for entry in taken.probes if entry.state != "skipped"}
    merged = FactsFile(
        created=taken.created,
        toolkit=taken.toolkit,
        interpreter=taken.interpreter,
        probes=tuple(asked.get(entry.name, entry) for entry in before.probes),
        facts={**before.facts, **facts, **taken.facts},
    )
    return {**report_json(build_report(matcher_of(), merged)), "can_speak": report.get("can_speak", True)}


def report_json(report: DoctorReport) -> dict[str, Any]:
    """A report as the lights show it.

    ``rows`` have id, title, verdict, found and details (label, text, whether it is to be copied); ``also`` are further
    causes in the same form with their rule as id; ``file`` is the facts file, ``card`` what it says of the card.
    """
    from toolkit.doctor.document import StatusRows
    from toolkit.doctor.report import document_of
    from toolkit.widgets.setup.card import Card

    lights = [block for block in document_of(report, verbose=True).blocks if isinstance(block, StatusRows)]
    shown = [
        [
            {
                "title": row.title,
                "verdict": row.verdict,
                "found": row.text,
                "details": [[detail.label, detail.text, detail.code] for detail in row.details],
            }
            for row in light.rows
        ]
        for light in lights
    ]
    rows = [{"id": result.row.id, **row} for result, row in zip(report.rows, shown[0], strict=True)]
    return {
        "rows": rows,
        "also": [{"id": row["title"], **row} for row in (shown[1] if len(shown) > 1 else [])],
        "tier": report.tier,
        "python": str(report.file.facts.get("python.executable") or report.file.interpreter),
        "card": Card.of_facts(report.file.facts).to_json(),
        "file": report.file.to_json(),
    }


def _teller(work: Work) -> Any:
    def tell(probe: Probe) -> None:
        work.progress(None, "setup.machine.slow", title=probe.title)

    return tell


def _has_toolkit(python: str) -> bool:
    """Whether an interpreter has the toolkit itself, so that a start script may use it."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('toolkit.cli') is None)"]
    try:
        done = subprocess.run(command, env=clean, capture_output=True, timeout=_IMPORT_DEADLINE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
