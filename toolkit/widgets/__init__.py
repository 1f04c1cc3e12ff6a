"""The notebooks' controls: thin views over functions of the rooms below, in Chinese and English."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.widgets.setup.wizard import guided_setup

__all__ = ["guided_setup"]

# PEP 562: one notebook does not pay for the controls of the others.
_LAZY = {"guided_setup": "toolkit.widgets.setup.wizard"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'toolkit.widgets' has no attribute {name!r}")
