"""``speech_tokenizer/config.json``: what is read, and what is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import BadModelFolder
from toolkit.synthesis.codec_config import CodecConfig
from toolkit.synthesis.demo_shapes import codec_json


def written(folder: Path, path: str = "", value: object = None) -> Path:
    """The published file, with one value changed (None: taken out)."""
    document: dict[str, Any] = json.loads(json.dumps(codec_json("real")))
    *parts, last = path.split("/") if path else [""]
    target = document
    for part in parts:
        target = target[part]
    if value is None:
        target.pop(last, None)
    else:
        target[last] = value
    (folder / "config.json").write_text(json.dumps(document), "utf-8")
    return folder


def test_the_published_file_is_read(tmp_path: Path) -> None:
    config = CodecConfig.read(written(tmp_path))
    decoder, encoder = config.decoder, config.encoder
    assert (decoder.window, decoder.codebook_size, decoder.entry_dim, decoder.latent) == (72, 2048, 256, 1024)
    assert (decoder.rates, decoder.ratios, decoder.channels) == ((8, 5, 4, 3), (2, 2), 1536)
    assert (decoder.stack.layers, decoder.stack.inner, decoder.stack.norm_eps) == (8, 1024, 1e-5)
    assert (encoder.rates, encoder.filters, encoder.quantizers) == ((4, 5, 6, 8), 64, 32)
    assert encoder.samples_per_position == 960


def test_the_stored_semantic_codebook_has_the_common_size(tmp_path: Path) -> None:
    # The published file says 4096 under a key of its own; the tensor has 2048 entries and the key is not used.
    folder = written(tmp_path, "decoder_config/semantic_codebook_size", 4096)
    assert CodecConfig.read(folder).decoder.codebook_size == 2048


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model_type", "qwen3_tts_tokenizer_25hz", "only the 12 Hz tokenizer"),
        ("encoder_valid_num_quantizers", 8, "encoder_valid_num_quantizers is 8; only 16"),
        ("output_sample_rate", 48000, "output_sample_rate is 48000"),
        ("decoder_config", 3, "decoder_config must be an object"),
        ("decoder_config/num_quantizers", 8, "speech_tokenizer/config.json: decoder_config: num_quantizers is 8"),
        ("decoder_config/hidden_act", "relu", 'hidden_act is "relu"'),
        ("decoder_config/num_key_value_heads", 4, "num_key_value_heads is 4; only 16"),
        ("decoder_config/upsample_rates", [8, 5, 4], "its decoder makes 640 samples a frame instead of 1920"),
        ("decoder_config/head_dim", 63, "rotary positions need an even number"),
        ("decoder_config/codebook_dim", 511, "must halve evenly"),
        ("decoder_config/sliding_window", "wide", "sliding_window must be a whole number"),
        ("encoder_config/use_causal_conv", False, "use_causal_conv is false"),
        ("encoder_config/pad_mode", "reflect", 'pad_mode is "reflect"'),
        ("encoder_config/num_residual_layers", 2, "num_residual_layers is 2"),
        ("encoder_config/upsampling_ratios", [8, 6, 5], "its encoder reads 480 samples a frame instead of 1920"),
        ("encoder_config/num_quantizers", 8, "its encoder has 8 quantizers; 16 are needed"),
        ("encoder_config/num_filters", 63, "num_filters must halve evenly"),
    ],
)
def test_one_sentence_says_what_is_wrong(tmp_path: Path, path: str, value: object, message: str) -> None:
    with pytest.raises(BadModelFolder, match=message):
        CodecConfig.read(written(tmp_path, path, value))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModelFolder, match=r"config\.json is missing"):
        CodecConfig.read(tmp_path)
