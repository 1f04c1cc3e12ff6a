"""Labelled reports are read line by line, and the shares count where the true cause came."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rulebook import Rulebook, log_item, rule_data

from troubleshoot import evaluate as module
from troubleshoot.errors import UsageError
from troubleshoot.evaluate import Report, evaluate, read_reports

Make = Callable[..., Rulebook]


def report(report_id: str, cause: str, log: str, family: str = "made-up") -> Report:
    return Report(report_id, family, cause, log, "", {})


@pytest.fixture
def book(rulebook: Make) -> Rulebook:
    return rulebook(
        rule_data("boiler-burst", log_item("boiler burst", 6), log_item("no water", 4, "b")),
        rule_data("tap-closed", log_item("no water", 5)),
    )


def test_the_place_of_the_true_cause_is_counted_from_one(book: Rulebook) -> None:
    reports = [
        report("right", "boiler-burst", "boiler burst\n"),
        report("second", "tap-closed", "boiler burst\nno water\n"),
        report("missed", "boiler-burst", "riddle\n", "other"),
    ]
    result = evaluate(book.matcher, reports)
    assert [verdict.place for verdict in result.verdicts] == [1, 2, None]
    assert [verdict.known for verdict in result.verdicts] == [True, True, False]
    assert result.share(1) == pytest.approx(1 / 3)
    assert result.share(3) == pytest.approx(2 / 3)
    assert result.share(1, "made-up") == 0.5
    assert result.share(1, "absent") == 0.0
    assert result.families() == [("made-up", 2), ("other", 1)]
    assert [verdict.report.id for verdict in result.worst()] == ["missed", "second"]
    form = json.loads(json.dumps(result.to_json()))
    assert (form["reports"], form["first"], form["first_three"]) == (3, 0.3333, 0.6667)
    assert [miss["id"] for miss in form["misses"]] == ["missed", "second"]


def test_labels_that_name_no_cause_are_not_scored(book: Rulebook) -> None:
    assert evaluate(book.matcher, [report("open", "unresolved", "boiler burst\n")]).verdicts == ()
    assert evaluate(book.matcher, []).share(1) == 0.0


def test_reports_are_read_from_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    full = {"id": 7, "family": "f", "cause": "c", "log": "l", "user_words": "w", "env": {"gpu": "T4"}}
    path.write_text(json.dumps(full) + "\n\n" + json.dumps({"id": "b", "cause": "c", "log": None, "env": None}) + "\n")
    assert list(read_reports(path)) == [
        Report("7", "f", "c", "l", "w", {"gpu": "T4"}),
        Report("b", "", "c", "", "", {}),
    ]


@pytest.mark.parametrize(
    "line", ["{", "[1]", "7", '{"id": "a"}', '{"id": "a", "cause": "c", "env": 3}', '"text"', "null"]
)
def test_a_line_that_is_no_report_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text('{"id": "a", "cause": "c"}\n' + line + "\n")
    with pytest.raises(UsageError, match=r"reports\.jsonl:2: not a labelled report"):
        list(read_reports(path))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot read the reports"):
        list(read_reports(tmp_path / "absent.jsonl"))
    path = tmp_path / "reports.jsonl"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(UsageError, match="not UTF-8"):
        list(read_reports(path))
    monkeypatch.setattr(module, "_MAX_REPORTS_BYTES", 2)
    with pytest.raises(UsageError, match="over 0 MB"):
        list(read_reports(path))
