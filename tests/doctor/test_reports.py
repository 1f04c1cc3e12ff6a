"""The doctor's whole report, word for word, for nine machines; ``machines.py`` writes the texts anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from machines import FACTS, MACHINES, REPORTS, machine

import toolkit.doctor as room
from toolkit.doctor.page import render_html
from toolkit.doctor.report import DoctorReport, build_report, document_of
from toolkit.doctor.text import render_text
from toolkit.errors import EXIT_FAILS, EXIT_WARNINGS, EXIT_WELL
from toolkit.probe import PROBES, FactsFile
from toolkit.probe.facts_file import ProbeEntry

VERDICTS = {
    "no-gpu": {"graphics-card": "fail"},
    "healthy-rtx-4090": {},
    "rtx-2060": {"compute-capability": "fail", "bf16": "warn", "vram": "fail"},
    "rtx-5090-cu121": {"torch-build": "fail", "bf16": "fail", "speech-path": "warn"},
    "cpu-wheel-windows": {"torch-build": "fail"},
    "driver-too-old": {"cuda": "fail", "bf16": "not-checked", "speech-path": "not-checked"},
    "broken-torch": {"torch-version": "crashed", "torch-build": "not-checked"},
    "wsl-shadowed-libcuda": {
        "wsl-libcuda": "fail", "graphics-card": "fail", "compute-capability": "not-checked",
        "torch-build": "not-checked", "cuda": "not-checked", "bf16": "not-checked", "speech-path": "not-checked",
        "vram": "not-checked",
        "card-free": "not-checked", "throttle": "not-checked",
    },
    "cuda-init-hangs": {"cuda": "timed-out", "bf16": "not-checked", "speech-path": "not-checked"},
}  # fmt: skip


def report_of(name: str, **changed: object) -> DoctorReport:
    file = machine(name)
    facts = {**file.facts, **changed}
    return build_report(
        room.matcher_of(), FactsFile(file.created, file.toolkit, file.interpreter, file.probes, facts, file.schema)
    )


def rows_of(report: DoctorReport) -> dict[str, Any]:
    return {row.row.id: row for row in report.rows}


@pytest.mark.parametrize("name", MACHINES)
def test_the_report_word_for_word(name: str) -> None:
    file = FactsFile.from_json((FACTS / f"{name}.json").read_text(encoding="utf-8"))
    text = render_text(document_of(build_report(room.matcher_of(), file)))
    assert text == (REPORTS / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MACHINES)
def test_the_facts_are_as_the_probes_give_them(name: str) -> None:
    stored = FactsFile.from_json((FACTS / f"{name}.json").read_text(encoding="utf-8"))
    assert stored == machine(name)
    provided = [prefix for probe in PROBES for prefix in probe.provides]
    strange = [fact for fact in stored.facts if not fact.startswith(tuple(provided))]
    assert strange == []


@pytest.mark.parametrize("name", MACHINES)
def test_the_verdicts(name: str) -> None:
    report = report_of(name)
    found = {row.row.id: row.verdict for row in report.rows if row.verdict not in ("ok", "not-applicable")}
    assert found == VERDICTS[name]
    assert report.also == ()
    assert report.exit_code == (EXIT_WELL if name == "healthy-rtx-4090" else EXIT_FAILS)


@pytest.mark.parametrize("name", MACHINES)
def test_every_row_has_what_was_found_and_what_is_needed(name: str) -> None:
    for row in report_of(name).rows:
        assert row.found, row.row.id
        assert row.row.threshold, row.row.id
        assert row.row.why, row.row.id
        if row.is_bad or row.verdict == "warn":
            assert row.rule or row.remedy or row.follows, row.row.id


@pytest.mark.parametrize("name", MACHINES)
def test_json_and_page_say_the_same(name: str) -> None:
    report = report_of(name)
    data = json.loads(json.dumps(report.to_json()))
    assert (data["schema"], data["kind"], data["exit_code"], data["tier"]) == (
        1,
        "doctor",
        report.exit_code,
        report.tier,
    )
    assert {row["id"]: row["verdict"] for row in data["rows"]} == {row.row.id: row.verdict for row in report.rows}
    assert FactsFile.from_json(data["facts_file"]) == report.file
    html = render_html(document_of(report))
    assert all(row.row.title in html for row in report.rows)


def test_a_consequence_points_to_its_root_and_gives_no_cure_of_its_own() -> None:
    row = rows_of(report_of("rtx-5090-cu121"))["bf16"]
    assert (row.follows.id, row.rule.id) == ("torch-build", "bf16-operation-fails")
    text = render_text(document_of(report_of("rtx-5090-cu121")))
    assert "See what fails above: PyTorch build." in text
    assert text.count("pip install torch") == 1


def test_a_linux_driver_is_never_recommended_inside_wsl() -> None:
    text = render_text(document_of(report_of("wsl-shadowed-libcuda")))
    assert "ubuntu-drivers" not in text
    assert "apt purge" in text


def test_commands_name_the_interpreter_that_was_looked_at() -> None:
    text = render_text(document_of(report_of("rtx-5090-cu121")))
    assert "$ /home/ann/tts/.venv/bin/python -m pip install" in text
    windows = render_text(
        document_of(report_of("cpu-wheel-windows", **{"python.executable": r"C:\My Tools\python.exe"}))
    )
    assert '> & "C:\\My Tools\\python.exe" -m pip install' in windows


def test_verbose_gives_reason_and_threshold_of_every_row() -> None:
    report = report_of("healthy-rtx-4090")
    text = render_text(document_of(report, verbose=True))
    assert text.count("  needed  ") == text.count("  why     ") == len(report.rows)


def test_a_cuda_device_that_pytorch_does_not_see_fails_without_a_rule() -> None:
    told = "CUDA initialization: CUDA unknown error\nmore"
    row = rows_of(report_of("healthy-rtx-4090", **{"torch.cuda_available": False, "torch.cuda_message": told}))["cuda"]
    assert (row.verdict, row.rule) == ("fail", None)
    assert row.found == "PyTorch sees no CUDA device: CUDA initialization: CUDA unknown error"
    assert "qwen-audio diagnose" in row.to_json()["remedy"]


def test_a_hanging_driver_shows_as_timed_out() -> None:
    file = machine("no-gpu")
    facts = {**file.facts, "gpu.vendor": "nvidia", "gpu.nvml": "timed-out", "gpu.count": 0}
    probes = tuple(
        ProbeEntry("gpu", "timed-out", 20.0, reason="no answer within 20.0 s") if each.name == "gpu" else each
        for each in file.probes
    )
    report = build_report(room.matcher_of(), FactsFile(file.created, "0.1.0", file.interpreter, probes, facts))
    assert rows_of(report)["graphics-card"].verdict == "timed-out"
    assert report.exit_code == EXIT_FAILS
    assert "Probe gpu: timed out\n\nNo answer within 20.0 s\n" in render_text(document_of(report))


def test_warnings_alone_give_their_own_exit_code() -> None:
    report = report_of("healthy-rtx-4090", **{"disk.free_gb": 3.2})
    assert (report.exit_code, rows_of(report)["disk"].verdict) == (EXIT_WARNINGS, "warn")
    assert report.tier == "Support: native BF16. This is what the toolkit is made for."


@pytest.mark.parametrize(
    ("name", "changed", "tier"),
    [
        ("no-gpu", {}, "no NVIDIA card"),
        ("healthy-rtx-4090", {}, "native BF16. This is"),
        (
            "healthy-rtx-4090",
            {"soundfile.state": "missing"},
            "native BF16. This is what the toolkit is made for. But first",
        ),
        ("rtx-2060", {"forecast.verdict": "fits"}, "float32, slower. Native BF16 needs compute capability 8.0."),
        ("rtx-2060", {}, "float32, slower. Native BF16 needs compute capability 8.0. But first"),
        ("wsl-shadowed-libcuda", {}, "not usable as it stands"),
        ("cuda-init-hangs", {}, "not usable as it stands"),
    ],
)
def test_the_support_that_can_be_expected(name: str, changed: dict[str, object], tier: str) -> None:
    assert report_of(name, **changed).tier.startswith(f"Support: {tier}")


def test_nvcc_is_named_as_information_only() -> None:
    text = render_text(document_of(report_of("healthy-rtx-4090", **{"nvcc.version": "12.4"})))
    assert "nvcc 12.4 is installed. For information only" in text


def test_conflicts_of_packages_are_notes() -> None:
    changed = {
        "packages.conflicts": "qwen-tts 0.1.1 needs transformers==4.57.3, 5.0.0 is installed; a; b; c; d; e; f; g"
    }
    text = render_text(document_of(report_of("healthy-rtx-4090", **changed)))
    assert text.count("- Package conflict: ") == 6
