"""The check for rule writers: exit codes, and one line for each fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from rulebook import log_item, rule_data, write_rule, write_samples

from troubleshoot import catalogue
from troubleshoot.check import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(catalogue, "BUILTIN_FOLDER", tmp_path)
    return tmp_path


def test_valid_files_whose_samples_hold_exit_with_0(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rule(folder, rule_data("one", log_item("boiler burst", 6)))
    write_samples(path, [{"name": "plain", "log": "boiler burst"}], [{"name": "other", "log": "tap closed"}])
    assert main([str(path)]) == 0
    assert main([str(path), "--samples"]) == 0
    assert capsys.readouterr().out == "1 rules valid\n1 rules valid, 0 samples do not hold\n"


def test_a_sample_that_does_not_hold_exits_with_3_and_says_what_was_found(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_rule(folder, rule_data("one", log_item("boiler burst", 6)))
    write_samples(path, [{"name": "wrong", "log": "tap closed"}], [{"name": "hits", "log": "boiler burst"}])
    assert main([str(path), "--samples"]) == 3
    assert capsys.readouterr().out.splitlines() == [
        "one: hit 'wrong' does not hold; found nothing",
        "one: miss (anything else) 'hits' does not hold; found one 0.89",
        "1 rules valid, 2 samples do not hold",
    ]


def test_every_bad_file_is_named_and_exits_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_samples = write_rule(folder, rule_data("one"))
    broken = write_rule(folder, rule_data("two", prior=3))
    assert main([str(without_samples), str(broken)]) == 2
    first, second = capsys.readouterr().out.splitlines()
    assert "one.samples.yaml: cannot be read" in first
    assert "two.yaml:" in second
    assert "prior" in second
