"""Sizes of the pocket voice, and the JSON files that state them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.synthesis.demo_shapes import (
    ADDED_TOKENS,
    CODE_GROUPS,
    GENERATION_CONFIG,
    ModelShape,
    Stack,
    codec_json,
    model_json,
    preprocessor_json,
)

__all__ = [
    "CODE_GROUPS",
    "LANGUAGES",
    "POCKET",
    "SMOKE",
    "ModelShape",
    "Stack",
    "TalkerIds",
    "config_json",
    "generation_json",
    "json_files",
    "talker_ids",
    "text_rows",
]

LANGUAGES: tuple[Literal["english", "chinese"], ...] = ("english", "chinese")

POCKET = ModelShape(
    talker=Stack(8, 256, 640, 4, 2, 64),
    # As wide as the talker, so that nothing has to be projected between the two.
    predictor=Stack(3, 256, 384, 4, 2, 64),
    rope_sections=(12, 10, 10),
    text_hidden=128,
    codebook=256,
    speaker_channels=64,
    speaker_pooled=192,
    speaker_attention=32,
    speaker_squeeze=32,
    decoder=Stack(3, 128, 256, 4, 4, 64),
    decoder_codebook_dim=128,
    decoder_latent=192,
    decoder_channels=256,
    encoder=Stack(2, 128, 256, 4, 4, 32),
    encoder_filters=16,
    encoder_codebook_dim=64,
    encoder_quantizers=CODE_GROUPS,
)
"""What ships. A custom voice has no speaker encoder; its sizes are there because every shape has them."""

SMOKE = ModelShape(
    talker=Stack(3, 48, 96, 2, 1, 16),
    predictor=Stack(2, 48, 64, 2, 1, 16),
    rope_sections=(4, 2, 2),
    text_hidden=32,
    codebook=32,
    speaker_channels=16,
    speaker_pooled=48,
    speaker_attention=8,
    speaker_squeeze=8,
    decoder=Stack(1, 32, 64, 2, 2, 16),
    decoder_codebook_dim=16,
    decoder_latent=32,
    decoder_channels=32,
    encoder=Stack(1, 16, 32, 2, 2, 8),
    encoder_filters=4,
    encoder_codebook_dim=8,
    encoder_quantizers=CODE_GROUPS,
)
"""Small enough to run every stage within seconds on a CPU."""


@dataclass(frozen=True)
class TalkerIds:
    """Ids of the talker's vocabulary that are no codes; languages and speakers by name."""

    pad: int
    bos: int
    eos: int
    think: int
    nothink: int
    think_bos: int
    think_eos: int
    languages: dict[str, int]
    speakers: dict[str, int]

    @property
    def read(self) -> tuple[int, ...]:
        """Ids that a prompt can hold, rising. The end of speech is only ever written."""
        marks = (self.pad, self.bos, self.think, self.nothink, self.think_bos, self.think_eos)
        return tuple(sorted((*marks, *self.languages.values(), *self.speakers.values())))


def text_rows(base_vocab: int) -> int:
    """Rows of the text embedding: base vocabulary and added tokens, rounded up to a multiple of 32."""
    return math.ceil((base_vocab + len(ADDED_TOKENS)) / 32) * 32


def config_json(shape: ModelShape, *, base_vocab: int, assistant_id: int) -> dict[str, Any]:
    """``config.json`` of a custom voice with two languages and nine speakers without a dialect."""
    document: dict[str, Any] = model_json(
        "custom_voice",
        "1b7",  # the official code drops the instruction for the other size
        shape,
        base_vocab=base_vocab,
        text_vocab=text_rows(base_vocab),
        assistant_id=assistant_id,
    )
    talker = document["talker_config"]
    talker["codec_language_id"] = {name: talker["codec_language_id"][name] for name in sorted(LANGUAGES)}
    talker["spk_is_dialect"] = dict.fromkeys(talker["spk_id"], False)
    return document


def generation_json() -> dict[str, object]:
    """``generation_config.json``: the published defaults, but speech ends after 41 seconds at the latest."""
    return {**GENERATION_CONFIG, "max_new_tokens": 512}


def json_files(shape: ModelShape, *, base_vocab: int, assistant_id: int) -> dict[str, dict[str, Any]]:
    """Every JSON file of the folder but those of the tokenizer, by its place."""
    return {
        "config.json": config_json(shape, base_vocab=base_vocab, assistant_id=assistant_id),
        "generation_config.json": generation_json(),
        "speech_tokenizer/config.json": codec_json(shape),
        **preprocessor_json(),
    }


def talker_ids(shape: ModelShape) -> TalkerIds:
    """The ids that ``config.json`` states for a shape."""
    talker = config_json(shape, base_vocab=0, assistant_id=0)["talker_config"]
    return TalkerIds(
        pad=talker["codec_pad_id"],
        bos=talker["codec_bos_id"],
        eos=talker["codec_eos_token_id"],
        think=talker["codec_think_id"],
        nothink=talker["codec_nothink_id"],
        think_bos=talker["codec_think_bos_id"],
        think_eos=talker["codec_think_eos_id"],
        languages=talker["codec_language_id"],
        speakers=talker["spk_id"],
    )
