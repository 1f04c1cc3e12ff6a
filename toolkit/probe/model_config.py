"""Reads which model a folder holds, and its shapes, from its config files; knows which tensors must be there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from troubleshoot.facts import NA

__all__ = ["config_facts", "missing_tensors"]

_SIZES = {"0b6": "0.6B", "1b7": "1.7B"}
_HIDDEN_SIZES = {1024: "0.6B", 2048: "1.7B"}
_TYPES = {"base": "base", "custom_voice": "custom-voice", "voice_design": "voice-design"}
_LAYER = (
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "self_attn.q_norm.weight",
    "self_attn.k_norm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
)
_MAX_LAYERS = 256


def config_facts(
    config: Mapping[str, object], generation: Mapping[str, object], codec: Mapping[str, object]
) -> dict[str, object]:
    """Facts from the three tables (empty when a file could not be read); what is not stated becomes NA.

    ``model.talker`` and ``model.predictor`` are dicts (layers, heads, kv_heads, head_dim, hidden, code_groups),
    ``model.codec`` (decoder_dim, latent_dim, upsample_rates, upsampling_ratios), in the units of the config.
    """
    talker = _section(config, "talker_config")
    predictor = _section(talker, "code_predictor_config")
    unknown = NA("config.json could not be read" if not config else "config.json does not say")
    kind = _TYPES.get(_word(config, "tts_model_type"))
    if kind is None and config.get("model_type") == "qwen3_tts_tokenizer_12hz":
        kind = "speech-tokenizer"
    size = _SIZES.get(_word(config, "tts_model_size"))
    size = size or _HIDDEN_SIZES.get(_count(talker, "hidden_size") or 0)
    return {
        "model.type": kind or unknown,
        "model.size": size or unknown,
        "model.architecture": _word(config, "model_type") or unknown,
        "model.talker": _decoder_shape(talker) or unknown,
        "model.predictor": _decoder_shape(predictor) or unknown,
        "model.codec": _codec_shape(_section(codec, "decoder_config"))
        or NA("speech_tokenizer/config.json could not be read"),
        "model.text_vocabulary": _count(talker, "text_vocab_size") or unknown,
        "model.max_positions": _count(talker, "max_position_embeddings") or unknown,
        "model.max_new_tokens": _count(generation, "max_new_tokens") or NA("generation_config.json does not say"),
    }


def missing_tensors(
    file: str, there: Mapping[str, tuple[int, ...]], config: Mapping[str, object], facts: Mapping[str, object]
) -> list[str]:
    """Names that the config asks for and the weight file lacks, or holds in another width (at most 100)."""
    if file.startswith("speech_tokenizer/"):
        parts = {name.split(".", 1)[0] for name in there}
        # Only cloning encodes a sound.
        needed = ("decoder", "encoder") if facts.get("model.type") == "base" else ("decoder",)
        return [f"{part}.*" for part in needed if part not in parts]
    wanted = list(_wanted(config, facts))
    lost = [name for name in wanted if name not in there]
    if facts.get("model.type") == "base" and not any(name.startswith("speaker_encoder.") for name in there):
        lost.append("speaker_encoder.*")
    talker = facts.get("model.talker")
    head = there.get("talker.codec_head.weight")
    if isinstance(talker, dict) and head and head[-1] != talker["hidden"]:
        lost.append(f"talker.codec_head.weight of width {talker['hidden']}")
    return lost[:100]


def _wanted(config: Mapping[str, object], facts: Mapping[str, object]) -> Iterator[str]:
    talker, predictor = facts.get("model.talker"), facts.get("model.predictor")
    if not isinstance(talker, dict) or not isinstance(predictor, dict):
        return
    yield from ("talker.model.text_embedding.weight", "talker.model.codec_embedding.weight", "talker.model.norm.weight")
    yield "talker.codec_head.weight"
    for prefix, shape in (("talker.model", talker), ("talker.code_predictor.model", predictor)):
        for layer in range(min(shape["layers"], _MAX_LAYERS)):
            for name in _LAYER:
                yield f"{prefix}.layers.{layer}.{name}"
    for group in range(min(predictor["code_groups"], 64) - 1):
        yield f"talker.code_predictor.model.codec_embedding.{group}.weight"
        yield f"talker.code_predictor.lm_head.{group}.weight"
    if talker["hidden"] != predictor["hidden"]:
        yield "talker.code_predictor.small_to_mtp_projection.weight"


def _section(table: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = table.get(name)
    return section if isinstance(section, dict) else {}


def _word(table: Mapping[str, object], name: str) -> str:
    value = table.get(name)
    return value.lower() if isinstance(value, str) and len(value) <= 100 else ""


def _count(table: Mapping[str, object], name: str) -> int | None:
    value = table.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else None


def _decoder_shape(table: Mapping[str, object]) -> dict[str, int] | None:
    shape = {
        "layers": _count(table, "num_hidden_layers"),
        "heads": _count(table, "num_attention_heads"),
        "kv_heads": _count(table, "num_key_value_heads"),
        "head_dim": _count(table, "head_dim"),
        "hidden": _count(table, "hidden_size"),
        "code_groups": _count(table, "num_code_groups"),
    }
    known = {name: value for name, value in shape.items() if value is not None}
    return known if len(known) == len(shape) else None


def _codec_shape(table: Mapping[str, object]) -> dict[str, object] | None:
    sizes = {name: _count(table, name) for name in ("decoder_dim", "latent_dim")}
    rates = {name: table.get(name) for name in ("upsample_rates", "upsampling_ratios")}
    for value in rates.values():
        if not isinstance(value, list) or not 0 < len(value) <= 16:
            return None
        if not all(isinstance(rate, int) and not isinstance(rate, bool) and 0 < rate <= 1024 for rate in value):
            return None
    return {**sizes, **rates} if all(sizes.values()) else None
