"""docs/parity.md: every row names tests, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from loaded_model import Loaded

Load = Callable[..., Loaded]
PAGE = Path(__file__).parents[2] / "docs" / "parity.md"
NAMED = re.compile(r"`(test_\w+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """Cells of every table row but the heads."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\|(?!--)", line)]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    return [[cell.strip() for cell in row] for row in cells if row[0].strip() != "quirk"]


def test_every_row_has_four_cells_and_a_test() -> None:
    assert len(rows()) > 35
    for row in rows():
        assert len(row) == 4, row
        assert all(row), row
        assert NAMED.search(row[3]), row


def test_every_test_that_is_named_exists() -> None:
    for file, name in NAMED.findall(PAGE.read_text(encoding="utf-8")):
        tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names, f"{file}::{name}"


def test_unknown_arguments_are_not_swallowed(load: Load) -> None:
    model = load("cv_1b7_a")
    with pytest.raises(TypeError, match="seed"):
        model.prompts.custom_voice("x", "vivian", seed=1)  # type: ignore[call-arg]
