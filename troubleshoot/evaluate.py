"""Measure the catalogue on labelled reports: how often the true cause comes first, or among the first three."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from troubleshoot.engine import diagnose
from troubleshoot.errors import UsageError
from troubleshoot.evidence import Matcher
from troubleshoot.samples import case_of

__all__ = ["NOT_CAUSES", "Evaluation", "Report", "Verdict", "evaluate", "read_reports"]

# Labels that say "not established": no cause to find, so not scored.
NOT_CAUSES = frozenset({"unresolved", "sampling-nan-unknown"})
_MAX_REPORTS_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Report:
    """One labelled failure report."""

    id: str
    family: str
    cause: str
    log: str
    words: str
    told: dict[str, object]


@dataclass(frozen=True)
class Verdict:
    """Where the true cause came: ``place`` counts from 1, ``None`` when it was not found at all."""

    report: Report
    place: int | None
    known: bool
    found: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Evaluation:
    """Verdicts of a set of reports."""

    verdicts: tuple[Verdict, ...]

    def share(self, within: int, family: str | None = None) -> float:
        """Share of reports whose true cause is among the first ``within``."""
        chosen = [verdict for verdict in self.verdicts if family in (None, verdict.report.family)]
        good = sum(verdict.place is not None and verdict.place <= within for verdict in chosen)
        return good / len(chosen) if chosen else 0.0

    def families(self) -> list[tuple[str, int]]:
        """Families with their number of reports, largest first."""
        counts: dict[str, int] = {}
        for verdict in self.verdicts:
            counts[verdict.report.family] = counts.get(verdict.report.family, 0) + 1
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def worst(self, count: int = 20) -> list[Verdict]:
        """Misses, worst first."""
        missed = [verdict for verdict in self.verdicts if verdict.place != 1]
        return sorted(missed, key=lambda verdict: (-(verdict.place or 99), verdict.report.id))[:count]

    def to_json(self) -> dict[str, object]:
        """JSON form."""
        return {
            "reports": len(self.verdicts),
            "first": round(self.share(1), 4),
            "first_three": round(self.share(3), 4),
            "families": [
                {
                    "family": family,
                    "reports": count,
                    "first": round(self.share(1, family), 4),
                    "first_three": round(self.share(3, family), 4),
                }
                for family, count in self.families()
            ],
            "misses": [
                {
                    "id": verdict.report.id,
                    "cause": verdict.report.cause,
                    "place": verdict.place,
                    "found": [list(pair) for pair in verdict.found],
                }
                for verdict in self.worst(1_000)
            ],
        }


def read_reports(path: Path) -> Iterator[Report]:
    """Read labelled reports, one JSON object a line: id, family, cause, log, user_words, env. Raises UsageError."""
    try:
        if path.stat().st_size > _MAX_REPORTS_BYTES:
            raise UsageError(f"{path} is over {_MAX_REPORTS_BYTES >> 20} MB; labelled reports are short texts")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read the reports {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield Report(
                id=str(row["id"]),
                family=str(row.get("family", "")),
                cause=str(row["cause"]),
                log=str(row.get("log") or ""),
                words=str(row.get("user_words") or ""),
                told=dict(row.get("env") or {}),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path}:{number}: not a labelled report ({error}); each line needs id, cause, log, user_words, env"
            ) from None


def evaluate(matcher: Matcher, reports: Iterable[Report]) -> Evaluation:
    """Diagnose each report without its label and see where the label comes."""
    verdicts = []
    for report in reports:
        if report.cause in NOT_CAUSES:
            continue
        diagnosis = diagnose(matcher, case_of(matcher, log=report.log, words=report.words, facts=report.told))
        ids = [finding.rule.id for finding in diagnosis.findings]
        place = ids.index(report.cause) + 1 if report.cause in ids else None
        found = tuple((finding.rule.id, round(finding.probability, 2)) for finding in diagnosis.findings[:3])
        verdicts.append(Verdict(report, place, diagnosis.known, found))
    return Evaluation(tuple(verdicts))
