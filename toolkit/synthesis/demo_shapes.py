"""Sizes of the demo checkpoints and the JSON files that state them, in the layout of the published folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "ADDED_TOKENS",
    "CODE_GROUPS",
    "DECODER_RATES",
    "DECODER_RATIOS",
    "ENCODER_RATIOS",
    "GENERATION_CONFIG",
    "Kind",
    "ModelShape",
    "Scale",
    "Size",
    "Stack",
    "codec_json",
    "model_json",
    "model_shape",
    "preprocessor_json",
    "tokenizer_json",
]

Kind = Literal["custom_voice", "voice_design", "base"]
Size = Literal["1b7", "0b6"]
Scale = Literal["tiny", "small", "real"]

CODE_GROUPS = 16
DECODER_RATES = (8, 5, 4, 3)
DECODER_RATIOS = (2, 2)
ENCODER_RATIOS = (8, 6, 5, 4)
_PUBLISHED_CODEBOOK = 2048

# Published ids of the talker's vocabulary. A smaller codebook shifts all of them down by the same number.
_MARKS = {
    "codec_pad_id": 2148,
    "codec_bos_id": 2149,
    "codec_eos_token_id": 2150,
    "codec_think_id": 2154,
    "codec_nothink_id": 2155,
    "codec_think_bos_id": 2156,
    "codec_think_eos_id": 2157,
}
_LANGUAGES = {
    "chinese": 2055,
    "english": 2050,
    "german": 2053,
    "italian": 2070,
    "portuguese": 2071,
    "spanish": 2054,
    "japanese": 2058,
    "korean": 2064,
    "french": 2061,
    "russian": 2069,
    "beijing_dialect": 2074,
    "sichuan_dialect": 2062,
}
_SPEAKERS = {
    "serena": 3066,
    "vivian": 3065,
    "uncle_fu": 3010,
    "ryan": 3061,
    "aiden": 2861,
    "ono_anna": 2873,
    "sohee": 2864,
    "eric": 2875,
    "dylan": 2878,
}
_DIALECTS = {"eric": "sichuan_dialect", "dylan": "beijing_dialect"}

# In the order of their ids, which follow the base vocabulary without a gap.
_SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)
_PLAIN_TOKENS = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>", "</think>"),
)
_AUDIO_TOKENS = (
    *("<|audio_start|>", "<|audio_end|>", "<tts_pad>", "<tts_text_bos>", "<tts_text_eod>"),
    *("<tts_text_bos_single>", "<|audio_pad|>"),
)
ADDED_TOKENS: tuple[tuple[str, bool], ...] = (
    *((text, True) for text in _SPECIAL_TOKENS),
    *((text, False) for text in _PLAIN_TOKENS),
    *((text, True) for text in _AUDIO_TOKENS),
)
"""Text of the tokens after the base vocabulary, and whether each is special."""

GENERATION_CONFIG: dict[str, object] = {
    "do_sample": True,
    "repetition_penalty": 1.05,
    "temperature": 0.9,
    "top_p": 1.0,
    "top_k": 50,
    "subtalker_dosample": True,
    "subtalker_temperature": 0.9,
    "subtalker_top_p": 1.0,
    "subtalker_top_k": 50,
    "max_new_tokens": 8192,
}


@dataclass(frozen=True)
class Stack:
    """Sizes of a stack of transformer layers."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def inner(self) -> int:
        """Width of all queries together."""
        return self.heads * self.head_dim


@dataclass(frozen=True)
class ModelShape:
    """Every size of one checkpoint."""

    talker: Stack
    predictor: Stack
    rope_sections: tuple[int, int, int]
    text_hidden: int
    codebook: int
    speaker_channels: int
    speaker_pooled: int
    speaker_attention: int
    speaker_squeeze: int
    decoder: Stack
    decoder_codebook_dim: int
    decoder_latent: int
    decoder_channels: int
    encoder: Stack
    encoder_filters: int
    encoder_codebook_dim: int
    encoder_quantizers: int = 32

    @property
    def vocab(self) -> int:
        """Codes of codebook 0, then 1024 marks, languages and speakers."""
        return self.codebook + 1024

    def shifted(self, published_id: int) -> int:
        """A published codec-side id, moved along with the size of the codebook."""
        return published_id - _PUBLISHED_CODEBOOK + self.codebook

    @property
    def codec_eos(self) -> int:
        """The id of the end of speech."""
        return self.shifted(_MARKS["codec_eos_token_id"])


def model_shape(scale: Scale, size: Size) -> ModelShape:
    """Sizes of a scale: "tiny" has codebooks of 256 entries, "small" the published 2048, "real" is all as published."""
    big = size == "1b7"
    if scale == "tiny":
        return ModelShape(
            talker=Stack(3, 128 if big else 64, 256 if big else 128, 4, 2, 32),
            predictor=Stack(2, 64, 128, 4, 2, 32),
            rope_sections=(6, 5, 5),
            text_hidden=128,
            codebook=256,
            speaker_channels=32,
            speaker_pooled=96,
            speaker_attention=16,
            speaker_squeeze=16,
            decoder=Stack(3, 32, 64, 4, 4, 16),
            decoder_codebook_dim=32,
            decoder_latent=64,
            decoder_channels=64,
            encoder=Stack(2, 64, 128, 4, 4, 16),
            encoder_filters=4,
            encoder_codebook_dim=16,
        )
    if scale == "small":
        return ModelShape(
            talker=Stack(6, 192 if big else 128, 384 if big else 256, 4, 2, 64),
            predictor=Stack(5, 128, 256, 4, 2, 64),
            rope_sections=(12, 10, 10),
            text_hidden=192,
            codebook=2048,
            speaker_channels=64,
            speaker_pooled=192,
            speaker_attention=32,
            speaker_squeeze=32,
            decoder=Stack(4, 64, 128, 4, 4, 32),
            decoder_codebook_dim=64,
            decoder_latent=128,
            decoder_channels=96,
            encoder=Stack(3, 128, 256, 4, 4, 32),
            encoder_filters=8,
            encoder_codebook_dim=32,
        )
    return ModelShape(
        talker=Stack(28, 2048 if big else 1024, 6144 if big else 3072, 16, 8, 128),
        predictor=Stack(5, 1024, 3072, 16, 8, 128),
        rope_sections=(24, 20, 20),
        text_hidden=2048,
        codebook=2048,
        speaker_channels=512,
        speaker_pooled=1536,
        speaker_attention=128,
        speaker_squeeze=128,
        decoder=Stack(8, 512, 1024, 16, 16, 64),
        decoder_codebook_dim=512,
        decoder_latent=1024,
        decoder_channels=1536,
        encoder=Stack(8, 512, 2048, 8, 8, 64),
        encoder_filters=64,
        encoder_codebook_dim=256,
    )


def model_json(
    kind: Kind, size: Size, sizes: Scale | ModelShape, *, base_vocab: int, text_vocab: int, assistant_id: int
) -> dict[str, object]:
    """The top-level ``config.json``.

    Args:
        kind: which voices the model has.
        size: the family member.
        sizes: the sizes, or the scale that has them.
        base_vocab: text tokens before the added ones; the first added one has this id.
        text_vocab: rows of the text embedding.
        assistant_id: id of the word "assistant".
    """
    shape = sizes if isinstance(sizes, ModelShape) else model_shape(sizes, size)
    added = {text: base_vocab + index for index, (text, _) in enumerate(ADDED_TOKENS)}
    speakers = _SPEAKERS if kind == "custom_voice" else {}
    languages = {name: value for name, value in _LANGUAGES.items() if kind == "custom_voice" or "dialect" not in name}
    talker: dict[str, object] = {
        "model_type": "qwen3_tts_talker",
        "vocab_size": shape.vocab,
        **_stack_json(shape.talker),
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000,
        "rope_scaling": {
            "interleaved": True,
            "mrope_section": list(shape.rope_sections),
            "rope_type": "default",
            "type": "default",
        },
        "use_sliding_window": False,
        "sliding_window": None,
        "num_code_groups": CODE_GROUPS,
        "text_hidden_size": shape.text_hidden,
        "text_vocab_size": text_vocab,
        "position_id_per_seconds": 13,
        "codec_language_id": {name: shape.shifted(value) for name, value in languages.items()},
        "spk_id": {name: shape.shifted(value) for name, value in speakers.items()},
        "spk_is_dialect": {name: _DIALECTS.get(name, False) for name in speakers},
        "code_predictor_config": {
            "model_type": "qwen3_tts_talker_code_predictor",
            "vocab_size": shape.codebook,
            **_stack_json(shape.predictor),
            "num_code_groups": CODE_GROUPS,
            "max_position_embeddings": 65536,
            "max_window_layers": 28,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000,
            "rope_scaling": None,
            "use_sliding_window": False,
            "sliding_window": None,
            "layer_types": ["full_attention"] * shape.predictor.layers,
        },
        **{name: shape.shifted(value) for name, value in _MARKS.items()},
    }
    config: dict[str, object] = {
        "architectures": ["Qwen3TTSForConditionalGeneration"],
        "model_type": "qwen3_tts",
        "tokenizer_type": "qwen3_tts_tokenizer_12hz",
        "tts_model_size": size,
        "tts_model_type": kind,
        "assistant_token_id": assistant_id,
        "im_start_token_id": added["<|im_start|>"],
        "im_end_token_id": added["<|im_end|>"],
        "tts_pad_token_id": added["<tts_pad>"],
        "tts_bos_token_id": added["<tts_text_bos>"],
        "tts_eos_token_id": added["<tts_text_eod>"],
        "talker_config": talker,
    }
    if kind == "base":
        # The published folders leave all but two keys at the defaults of the official class.
        config["speaker_encoder_config"] = _speaker_json(shape, brief=sizes == "real")
    return config


def codec_json(sizes: Scale | ModelShape) -> dict[str, object]:
    """``speech_tokenizer/config.json``; the codec does not depend on the size of the talker."""
    shape = sizes if isinstance(sizes, ModelShape) else model_shape(sizes, "1b7")
    return {
        "architectures": ["Qwen3TTSTokenizerV2Model"],
        "model_type": "qwen3_tts_tokenizer_12hz",
        "encoder_valid_num_quantizers": CODE_GROUPS,
        "input_sample_rate": 24000,
        "output_sample_rate": 24000,
        "decode_upsample_rate": 1920,
        "encode_downsample_rate": 1920,
        "decoder_config": {
            **_stack_json(shape.decoder),
            "latent_dim": shape.decoder_latent,
            "codebook_dim": shape.decoder_codebook_dim,
            "codebook_size": shape.codebook,
            "decoder_dim": shape.decoder_channels,
            "layer_scale_initial_scale": 0.01,
            "max_position_embeddings": 8000,
            "num_quantizers": CODE_GROUPS,
            "num_semantic_quantizers": 1,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000,
            "sliding_window": 72,
            "upsample_rates": list(DECODER_RATES),
            "upsampling_ratios": list(DECODER_RATIOS),
            "vector_quantization_hidden_dimension": shape.decoder_codebook_dim,
        },
        "encoder_config": {
            **_stack_json(shape.encoder),
            "model_type": "mimi",
            "hidden_act": "gelu",
            "sampling_rate": 24000,
            "frame_rate": 12.5,
            "audio_channels": 1,
            "num_filters": shape.encoder_filters,
            "num_residual_layers": 1,
            "upsampling_ratios": list(ENCODER_RATIOS),
            "kernel_size": 7,
            "last_kernel_size": 3,
            "residual_kernel_size": 3,
            "dilation_growth_rate": 2,
            "use_causal_conv": True,
            "pad_mode": "constant",
            "compress": 2,
            "trim_right_ratio": 1.0,
            "codebook_size": shape.codebook,
            "codebook_dim": shape.encoder_codebook_dim,
            "num_quantizers": shape.encoder_quantizers,
            "num_semantic_quantizers": 1,
            "vector_quantization_hidden_dimension": shape.encoder_codebook_dim,
            "upsample_groups": shape.encoder.hidden,
            "use_conv_shortcut": False,
            "max_position_embeddings": 8000,
            "norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "sliding_window": 250,
            "layer_scale_initial_scale": 0.01,
            "use_cache": False,
            "use_streaming": False,
        },
    }


def tokenizer_json(base_vocab: int) -> dict[str, object]:
    """``tokenizer_config.json`` of a byte-level tokenizer with :data:`ADDED_TOKENS` after ``base_vocab`` tokens."""
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(base_vocab + index): {"content": text, **plain, "special": special}
            for index, (text, special) in enumerate(ADDED_TOKENS)
        },
        "additional_special_tokens": [text for text, special in ADDED_TOKENS[1:] if special],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def preprocessor_json() -> dict[str, dict[str, object]]:
    """Small files that other programs expect in the folder; nothing here reads them."""
    return {
        "preprocessor_config.json": {
            "padding_side": "left",
            "padding_value": 0.0,
            "processor_class": "Qwen3TTSProcessor",
            "return_attention_mask": True,
        },
        "speech_tokenizer/configuration.json": {"framework": "pytorch", "task": "feature-extraction"},
        "speech_tokenizer/preprocessor_config.json": {
            "chunk_length_s": None,
            "feature_extractor_type": "EncodecFeatureExtractor",
            "feature_size": 1,
            "overlap": None,
            "padding_side": "right",
            "padding_value": 0.0,
            "return_attention_mask": True,
            "sampling_rate": 24000,
        },
    }


def _stack_json(stack: Stack) -> dict[str, object]:
    return {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": stack.head_dim,
        "hidden_act": "silu",
        "hidden_size": stack.hidden,
        "intermediate_size": stack.intermediate,
        "num_attention_heads": stack.heads,
        "num_hidden_layers": stack.layers,
        "num_key_value_heads": stack.kv_heads,
    }


def _speaker_json(shape: ModelShape, *, brief: bool) -> dict[str, object]:
    config: dict[str, object] = {"enc_dim": shape.talker.hidden, "sample_rate": 24000}
    if not brief:
        config["enc_channels"] = [shape.speaker_channels] * 4 + [shape.speaker_pooled]
        config["enc_attention_channels"] = shape.speaker_attention
        config["enc_se_channels"] = shape.speaker_squeeze
        config["enc_res2net_scale"] = 8
    return config
