"""The synthesis core: Qwen3-TTS (12 Hz family) in plain PyTorch, loading the official checkpoints.

Nothing is loaded by importing this package; ``toolkit.synthesis.config`` and ``tokenizer`` work without torch.
"""

from __future__ import annotations

__all__: list[str] = []
