"""Errors carry what a reader needs, and the exit code and HTTP status of their kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from troubleshoot.errors import FactsError, QwenAudioError, RuleError, UsageError


@pytest.mark.parametrize(
    ("error", "exit_code", "http_status"),
    [(QwenAudioError, 1, 500), (UsageError, 2, 422), (FactsError, 2, 422), (RuleError, 2, 422)],
)
def test_each_error_has_its_exit_code_and_status(error: type[QwenAudioError], exit_code: int, http_status: int) -> None:
    assert issubclass(error, QwenAudioError)
    assert (error.exit_code, error.http_status) == (exit_code, http_status)


@pytest.mark.parametrize(
    ("line", "text"),
    [(7, "rules/a.yaml:7: has the key 'id' twice"), (None, "rules/a.yaml: has the key 'id' twice")],
)
def test_a_rule_error_says_where_and_why(line: int | None, text: str) -> None:
    error = RuleError(Path("rules/a.yaml"), line, "has the key 'id' twice")
    assert (error.path, error.line, error.reason) == (str(Path("rules/a.yaml")), line, "has the key 'id' twice")
    assert str(error).replace("\\", "/") == text
