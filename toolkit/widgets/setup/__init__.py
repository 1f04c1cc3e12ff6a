"""Guided setup: from a bare machine to a config.yaml in seven steps that unlock one another."""

from __future__ import annotations

from toolkit.widgets.setup.wizard import GuidedSetup, guided_setup

__all__ = ["GuidedSetup", "guided_setup"]
