"""Where the goldens lie, and a checkpoint in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.prompt import PromptBuilder
from toolkit.synthesis.talker import Talker
from toolkit.synthesis.tokenizer import TextTokenizer

__all__ = ["GOLDENS", "Loaded"]

GOLDENS = Path(__file__).parent / "goldens"


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory."""

    folder: Path
    config: ModelConfig
    talker: Talker
    tokenizer: TextTokenizer
    prompts: PromptBuilder
