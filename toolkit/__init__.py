"""QWEN-AUDIO toolkit: find out why local Qwen3-TTS fails, put it right, and speak fast in BF16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.lazy import lazy_names

if TYPE_CHECKING:
    from toolkit.doctor import diagnose, examine
    from toolkit.synthesis.speaker import load

__version__ = "0.1.0"
__all__ = ["__version__", "diagnose", "examine", "load"]

# So that `import toolkit` costs nothing and never needs torch.
__getattr__ = lazy_names(__name__, {"diagnose": "doctor", "examine": "doctor", "load": "synthesis.speaker"})


def __dir__() -> list[str]:
    return sorted(__all__)
