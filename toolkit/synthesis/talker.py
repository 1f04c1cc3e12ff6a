"""The talker and all that hangs on it: text and code embeddings, the decoder, its head, and the code predictor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from toolkit.synthesis.code_tables import CodeTables
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.layers import DecoderStack, Linear, pack_linears, stack_tensors
from toolkit.synthesis.predictor import CodePredictor
from toolkit.synthesis.transfer import moved
from toolkit.synthesis.weights import SafetensorsFile, Slot

__all__ = ["SPEAKER_ENCODER_PREFIX", "Talker", "TextEncoder", "load_talker"]

SPEAKER_ENCODER_PREFIX = "speaker_encoder."
"""Tensors of the same file that belong to the speaker encoder of base models."""


class TextEncoder(nn.Module):
    """Text tokens to vectors of the talker: embedding, linear, SiLU, linear.

    The table is 622 MB in bfloat16 at the published size and only the prompt reads it, so that it can stay on the CPU.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        text = config.talker.text_hidden
        self.table = nn.Parameter(torch.empty(config.talker.text_vocab, text, device="meta"), requires_grad=False)
        self.widen = Linear(text, text, bias=True)
        self.narrow = Linear(config.talker.decoder.hidden, text, bias=True)
        self._home = torch.empty(0)

    def tensors(self, config: ModelConfig, target: str) -> Iterator[tuple[str, tuple[int, ...], Slot]]:
        """Name in the file, shape and place of every tensor but the table; ``target`` is the prefix of this module."""
        text, wide = config.talker.text_hidden, config.talker.decoder.hidden
        for layer, place, rows in (("linear_fc1", "widen", text), ("linear_fc2", "narrow", wide)):
            yield f"talker.text_projection.{layer}.weight", (rows, text), Slot(f"{target}{place}.weight")
            yield f"talker.text_projection.{layer}.bias", (rows,), Slot(f"{target}{place}.bias")

    def prepare(self, like: Tensor) -> None:
        """Work on the device and in the dtype of ``like``; call after loading."""
        self._home = like.new_empty(0)

    def forward(self, ids: Tensor) -> Tensor:
        """int64 ``[n]`` to ``[n, hidden]`` on the device and in the dtype of the talker."""
        # The ids go to the table, and its rows to the talker: whichever lies on the host is one copy.
        rows = nn.functional.embedding(moved(ids, self.table.device), self.table)
        rows = moved(rows, self._home.device).to(self._home.dtype)
        vectors: Tensor = self.narrow(nn.functional.silu(self.widen(rows)))
        return vectors


class Talker(nn.Module):
    """All of ``model.safetensors`` but the speaker encoder. Built without memory; :func:`load_talker` fills it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.text = TextEncoder(config)
        self.codes = CodeTables(config)
        self.stack = DecoderStack(config.talker.decoder)
        self.head = Linear(config.talker.vocab, config.talker.decoder.hidden)
        self.predictor = CodePredictor(config)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the talker's weights and activations."""
        return self.stack.norm.dtype

    @property
    def device(self) -> torch.device:
        """Where the talker runs."""
        return self.stack.norm.device

    def text_table(self) -> tuple[str, tuple[int, ...], Slot]:
        """Name in the file, shape and place of the text embedding table."""
        shape = (self.config.talker.text_vocab, self.config.talker.text_hidden)
        return "talker.model.text_embedding.weight", shape, Slot("text.table")

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...], Slot]]:
        """Name in the file, shape and place of every tensor but the text table and the predictor's."""
        talker = self.config.talker
        yield from self.text.tensors(self.config, "text.")
        yield from self.codes.tensors(self.config, "codes.")
        yield from stack_tensors(talker.decoder, "talker.model.", "stack.")
        yield "talker.codec_head.weight", (talker.vocab, talker.decoder.hidden), Slot("head.weight")

    def expected_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every tensor that the file must have (for a base model, besides the speaker encoder's)."""
        rows = (self.text_table(), *self.tensors(), *self.predictor.tensors(self.config, "predictor."))
        return {name: shape for name, shape, _ in rows}

    def prepare(self) -> None:
        """Derive the tables that are not in the file; call after loading."""
        self.text.prepare(self.stack.norm)
        self.stack.prepare()
        self.codes.prepare()
        self.predictor.prepare(self.codes)


def load_talker(
    folder: Path,
    config: ModelConfig,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    predictor_dtype: torch.dtype | None = None,
    text_table_device: torch.device | str | None = None,
    pack: bool = True,
    file: SafetensorsFile | None = None,
) -> Talker:
    """Check ``model.safetensors`` of a folder against the configuration and load it.

    Args:
        predictor_dtype: dtype of the code predictor; ``dtype`` unless given (float32 beside a float16 talker).
        text_table_device: where the text embedding table stays, in the dtype of the file if that is not ``device``.
        pack: re-lay the weights for oneDNN where that is possible (on most CPUs); False is the slow twin.
        file: the weights, where they are open already; ``model.safetensors`` of the folder unless given.

    Raises:
        BadModelFolder: the file is missing, damaged, or does not fit the configuration.
    """
    file = file or SafetensorsFile(folder / "model.safetensors")
    talker = Talker(config)
    elsewhere = (SPEAKER_ENCODER_PREFIX,) if config.speaker_encoder is not None else ()
    file.check_shapes(talker.expected_shapes(), elsewhere=elsewhere)
    name, _, slot = talker.text_table()
    if text_table_device is None or torch.device(text_table_device) == torch.device(device):
        file.load_into(talker, {name: slot}, device, dtype)
    else:
        file.load_into(talker, {name: slot}, text_table_device, None)
    file.load_into(talker, {name: slot for name, _, slot in talker.tensors()}, device, dtype)
    predictor = {name: slot for name, _, slot in talker.predictor.tensors(config, "predictor.")}
    file.load_into(talker, predictor, device, predictor_dtype or dtype)
    talker.prepare()
    if pack:
        pack_linears(talker)
    return talker.eval()
