"""The rows of the doctor's table: their file is read strictly, and each is judged by facts and rules alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import toolkit.doctor as room
from troubleshoot.catalogue import Catalogue
from troubleshoot.errors import RuleError
from troubleshoot.facts import NA
from troubleshoot.requirements import RowResult, check_requirements, load_rows

ROW = "  - {id: one, title: One, threshold: t, why: w, needs: [a.b], found: ['{a.b}']"
NONE = Catalogue((), {})


def judged(
    name: str, facts: Mapping[str, object], states: Mapping[str, str] | None = None, *, rules: bool = False
) -> RowResult:
    catalogue = room.matcher_of().catalogue if rules else NONE
    return next(row for row in check_requirements(catalogue, facts, states) if row.row.id == name)


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        ("rows: 3\n", 1, "does not hold a list of rows"),
        (f"rows:\n{ROW}, more: 1}}\n", 3, "Extra inputs are not permitted"),
        (f"rows:\n{ROW}, applies: {{a.b: '=? 3'}}, not_applicable: {{a.b: x}}}}\n", 3, "is not a condition"),
        (f"rows:\n{ROW}, applies: {{a.b: known}}}}\n", 3, "one: applies and not_applicable name different facts"),
        (f"rows:\n{ROW}, must: {{a.b: known}}}}\n", 3, "one: must and otherwise go together"),
        (f"rows:\n{ROW}, follows: [two]}}\n", 3, "one follows two, which is no row above it"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, rows: str, line: int, reason: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(f"schema: 1\n{rows}", encoding="utf-8")
    with pytest.raises(RuleError) as caught:
        load_rows(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert reason in caught.value.reason


def test_every_rule_that_states_a_requirement_names_a_row_that_exists() -> None:
    rows = {row.id for row in load_rows()}
    named = {rule.requirement.row for rule in room.matcher_of().catalogue if rule.requirement}
    assert named <= rows
    assert rows - named == set()


def test_a_row_that_does_not_apply_says_why() -> None:
    assert judged("cuda", {"gpu.vendor": "amd"}).found == "no NVIDIA card"
    facts = {"gpu.vendor": "nvidia", "torch.state": "missing", "torch.build": "cu128"}
    assert (judged("cuda", facts).verdict, judged("cuda", facts).found) == ("not-applicable", "PyTorch does not import")
    assert judged("cuda", {**facts, "torch.state": "ok", "torch.build": "rocm6.4"}).found.endswith("without CUDA")


def test_a_fact_that_is_missing_shows_its_reason_or_how_its_probe_ended() -> None:
    assert judged("disk", {}).found == "disk.free_gb is not known"
    gone = {"disk.free_gb": NA("the drive is gone\nmore lines")}
    assert (judged("disk", gone).verdict, judged("disk", gone).found) == ("not-checked", "the drive is gone")
    for state in ("crashed", "timed-out"):
        assert judged("disk", gone, {"disk": state}).verdict == state


def test_numbers_keep_the_figures_that_matter() -> None:
    for value, shown in ((412.63, "413 GB"), (23.985, "24.0 GB"), (0.1213, "0.12 GB"), (7, "7 GB")):
        assert judged("disk", {"disk.free_gb": value}).found == shown


def test_a_long_text_is_cut_and_only_its_first_line_shown() -> None:
    facts = {
        "gpu.vendor": "nvidia", "gpu.count": 1, "torch.state": "ok", "torch.build": "cu128", "torch.cuda": "12.8",
        "driver.cuda": "12.8", "torch.cuda_available": False, "torch.cuda_message": "x" * 1_000 + "\nsecond line",
    }  # fmt: skip
    row = judged("cuda", facts)
    assert row.verdict == "fail"
    assert len(row.found) < 340
    assert row.found.endswith("x…")


def test_a_crash_shows_as_a_crash_although_a_rule_is_broken() -> None:
    for state, verdict in (("crashed", "crashed"), ("timed-out", "timed-out"), ("error", "fail"), ("missing", "fail")):
        row = judged("torch-version", {"torch.state": state, "torch.version": "2.8.0"}, rules=True)
        assert (row.verdict, row.rule is not None) == (verdict, True)


def test_a_card_that_only_the_container_does_not_see_leads_to_the_container() -> None:
    facts: dict[str, object] = {"gpu.vendor": "nvidia", "gpu.count": 0}
    for container, rule in (
        (True, "container-toolkit-missing"),
        (False, "no-nvidia-gpu-visible"),
        (None, "no-nvidia-gpu-visible"),
    ):
        row = judged("graphics-card", {**facts, "os.container": container}, rules=True)
        assert row.rule is not None
        assert row.rule.id == rule


def test_the_json_form_of_a_row() -> None:
    row = judged("graphics-card", {"gpu.vendor": "intel"}).to_json()
    assert list(row) == ["id", "title", "verdict", "found", "threshold", "why", "rule", "follows", "fixes", "remedy"]
    assert (row["verdict"], row["rule"], row["fixes"]) == ("fail", None, [])
    assert str(row["remedy"]).startswith("Use a machine with an NVIDIA card")
