"""Fixtures: small catalogues in a temporary folder, and the built-in one, made ready once a session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rulebook import Rulebook

from troubleshoot.catalogue import Catalogue, load_catalogue
from troubleshoot.evidence import Matcher


@pytest.fixture
def rulebook(tmp_path: Path) -> Callable[..., Rulebook]:
    """Make a catalogue of the given rules."""

    def make(*rules: Mapping[str, object]) -> Rulebook:
        return Rulebook(tmp_path / "rules", *rules)

    return make


@pytest.fixture(scope="session")
def builtin_catalogue() -> Catalogue:
    return load_catalogue(plugins=False)


@pytest.fixture(scope="session")
def builtin_matcher(builtin_catalogue: Catalogue) -> Matcher:
    return Matcher(builtin_catalogue)
