"""QWEN-AUDIO toolkit: find out why local Qwen3-TTS fails, put it right, and speak fast in BF16."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.doctor import diagnose, examine
    from toolkit.synthesis.speaker import load

__version__ = "0.1.0"
__all__ = ["__version__", "diagnose", "examine", "load"]

# PEP 562: names are imported when first used, so that `import toolkit` costs nothing and never needs torch.
_LAZY = {"diagnose": "toolkit.doctor", "examine": "toolkit.doctor", "load": "toolkit.synthesis.speaker"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'toolkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
