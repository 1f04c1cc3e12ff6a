"""Which way a frame would run, from the facts of a machine; and the row of the doctor that shows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from machines import machine

import toolkit.doctor as room
from toolkit.doctor.report import build_report
from toolkit.doctor.speech_path import path_facts
from toolkit.probe.facts_file import FactsFile
from troubleshoot.facts import NA
from troubleshoot.requirements import RowResult

ABSENT = NA("not installed in this interpreter")


def row(**changed: object) -> RowResult:
    """The row of the healthy machine with changed facts; ``_`` in a name stands for a dot."""
    file = machine("healthy-rtx-4090")
    facts = {**file.facts, **{name.replace("_", ".", 1): value for name, value in changed.items()}}
    report = build_report(
        room.matcher_of(), FactsFile(file.created, file.toolkit, file.interpreter, file.probes, facts, file.schema)
    )
    return next(row for row in report.rows if row.row.id == "speech-path")


def test_a_card_with_a_new_triton_runs_fused_kernels() -> None:
    found = row()
    assert (found.verdict, found.rule) == ("ok", None)
    assert "triton graph: compute capability 8.9, Triton 3.4.0" in found.found


@pytest.mark.parametrize(
    ("triton", "told"),
    [(ABSENT, "torch graph: Triton is not installed"), ("3.2.0", "torch graph: Triton 3.2.0 is too old")],
)
def test_a_missing_or_old_triton_on_linux_is_a_finding_that_says_what_to_install(triton: object, told: str) -> None:
    found = row(triton_version=triton)
    assert found.verdict == "warn"
    assert told in found.found
    assert found.rule is not None
    assert found.rule.id == "triton-too-old-for-fast-path"
    assert any("triton>=3.3" in command for command in found.rule.fixes[0].commands.linux)


def test_windows_is_not_blamed_for_having_no_triton() -> None:
    assert row(triton_version=ABSENT, os_family="windows").verdict == "ok"
    assert row(triton_version="3.2.0", os_family="windows").verdict == "warn"


def test_an_old_card_is_told_what_it_lacks_without_a_finding() -> None:
    found = row(gpu_cc="7.5", triton_version="3.1.0")
    assert found.verdict == "ok"
    assert "torch graph: compute capability 7.5: the fused kernels need 8.0" in found.found


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "the card's compute capability is not known"),
        ({"gpu.cc": NA("no card")}, "no card"),
        ({"gpu.cc": "8.9", "triton.version": NA("the probe crashed")}, "the probe crashed"),
        ({"gpu.cc": "8.9"}, "the installed packages are not known"),
        ({"gpu.cc": "8.9", "triton.version": "3.4.0"}, "PyTorch does not reach the card"),
    ],
)
def test_what_is_not_known_is_not_guessed(facts: dict[str, object], told: str) -> None:
    assert path_facts(facts) == {"speech.path": NA(told), "speech.path_told": NA(told)}


def test_it_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import toolkit.doctor.report; print('well')"
    child = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert child.stdout == "well\n", child.stderr
