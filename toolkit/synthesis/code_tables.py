"""The embeddings of the sixteen codebooks in one table."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from toolkit.synthesis.config import CODE_GROUPS, ModelConfig
from toolkit.synthesis.weights import Slot

__all__ = ["CodeTables"]


class CodeTables(nn.Module):
    """``table`` holds the talker's own vocabulary (codebook 0, marks, languages, speakers), then the codebooks 1 to 15.

    ``starts[g]`` is the row at which codebook ``g`` begins.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        vocab, codes, width = config.talker.vocab, config.predictor.vocab, config.talker.decoder.hidden
        rows = vocab + (CODE_GROUPS - 1) * codes
        self.table = nn.Parameter(torch.empty(rows, width, device="meta"), requires_grad=False)
        self.starts: tuple[int, ...] = (0, *range(vocab, rows, codes))
        self.offsets: Tensor
        self.register_buffer("offsets", torch.tensor(self.starts), persistent=False)

    def tensors(self, config: ModelConfig, target: str) -> Iterator[tuple[str, tuple[int, ...], Slot]]:
        """Name in the file, shape and place of every tensor; ``target`` is the prefix of this module."""
        width, codes = config.talker.decoder.hidden, config.predictor.vocab
        yield "talker.model.codec_embedding.weight", (config.talker.vocab, width), Slot(f"{target}table")
        for group, start in enumerate(self.starts[1:]):
            name = f"talker.code_predictor.model.codec_embedding.{group}.weight"
            yield name, (codes, width), Slot(f"{target}table", start)

    def prepare(self) -> None:
        """Call after loading."""
        self.offsets = self.offsets.to(self.table.device)

    def rows(self, ids: Tensor) -> Tensor:
        """Rows of the talker's vocabulary: int64 ``[...]`` to ``[..., width]``."""
        return nn.functional.embedding(ids, self.table)

    def frame_sum(self, codes: Tensor) -> Tensor:
        """Sum of a frame's embeddings, int64 ``[..., 16]`` to ``[..., width]``: added up in float32, rounded once."""
        return nn.functional.embedding(codes + self.offsets, self.table).sum(-2)
