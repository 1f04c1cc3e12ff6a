"""Logs of programs that work: hardly ever may a cause be believed where nothing is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from troubleshoot.engine import Diagnosis, diagnose
from troubleshoot.evidence import Case, Matcher
from troubleshoot.scanner import scan_path

HEALTHY = sorted((Path(__file__).parent / "healthy").glob("*.log"))
LEAST_QUIET_SHARE = 0.98


@pytest.fixture(scope="module")
def diagnoses(builtin_matcher: Matcher) -> dict[str, Diagnosis]:
    """The diagnosis of each healthy log."""
    patterns = builtin_matcher.patterns
    return {path.name: diagnose(builtin_matcher, Case(logs={path.name: scan_path(path, patterns)})) for path in HEALTHY}


def test_there_are_two_hundred_healthy_logs_of_a_moderate_size() -> None:
    assert len(HEALTHY) >= 200
    assert sum(path.stat().st_size for path in HEALTHY) < 400_000


def test_hardly_any_healthy_log_has_a_finding_above_the_threshold(diagnoses: dict[str, Diagnosis]) -> None:
    false_alarms = [
        f"{name}: {found.rule.id} {found.probability:.2f}, {found.evidence_for[0].why}: {found.evidence_for[0].quote}"
        for name, diagnosis in diagnoses.items()
        for found in diagnosis.findings
        if found.known
    ]
    noisy = {line.split(":")[0] for line in false_alarms}
    assert len(noisy) <= (1 - LEAST_QUIET_SHARE) * len(HEALTHY), "\n".join(false_alarms)


def test_a_healthy_log_names_no_second_fault(diagnoses: dict[str, Diagnosis]) -> None:
    assert [name for name, diagnosis in diagnoses.items() if diagnosis.second_fault] == []


def test_a_healthy_log_is_told_what_to_collect_instead(diagnoses: dict[str, Diagnosis]) -> None:
    assert all(diagnosis.collect for diagnosis in diagnoses.values() if not diagnosis.known)
