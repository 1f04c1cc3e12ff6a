"""What a checkpoint's JSON files say about the network: sizes, ids, names, and the defaults of generation.

Names and published values are those of ``config.json`` and ``generation_config.json`` of the 12 Hz Qwen3-TTS models.
Nothing is hard-coded to the published sizes, so that small test models load the same way.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.errors import BadModelFolder, UsageError
from toolkit.synthesis.json_fields import Fields, read_json_object

__all__ = [
    "CODE_GROUPS",
    "CONTROL_IDS",
    "Kind",
    "DecoderShape",
    "GenerationDefaults",
    "ModelConfig",
    "PredictorConfig",
    "SpeakerEncoderConfig",
    "TalkerConfig",
    "TextIds",
]

Kind = Literal["custom_voice", "voice_design", "base"]

CODE_GROUPS = 16
"""Codebooks of one frame (``num_code_groups``), the only number that exists in the 12 Hz family."""

CONTROL_IDS = 1024
"""The last ids of the talker's vocabulary are marks, languages and speakers, never codes: the official code suppresses
``vocab_size - 1024`` and up, except the end of speech."""

_KINDS: tuple[Kind, ...] = ("custom_voice", "voice_design", "base")
_SIZES = ("0b6", "1b7")
_AUTO = "auto"


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of one stack of decoder layers."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_eps: float
    rope_theta: float

    def __post_init__(self) -> None:
        if self.heads % self.kv_heads:
            raise BadModelFolder(f"{self.heads} attention heads cannot share {self.kv_heads} key/value heads evenly")
        if self.head_dim % 2:
            raise BadModelFolder(f"head_dim is {self.head_dim}; rotary positions need an even number")

    @property
    def qkv_rows(self) -> int:
        """Output rows of the queries, keys and values together."""
        return (self.heads + 2 * self.kv_heads) * self.head_dim


@dataclass(frozen=True)
class TalkerConfig:
    """The talker: sizes, and the ids of its own vocabulary that are marks."""

    decoder: DecoderShape
    vocab: int
    text_vocab: int
    text_hidden: int
    max_positions: int
    codec_pad: int
    codec_bos: int
    codec_eos: int
    codec_think: int
    codec_nothink: int
    codec_think_bos: int
    codec_think_eos: int

    def __post_init__(self) -> None:
        if self.vocab <= CONTROL_IDS:
            raise BadModelFolder(f"config.json: talker_config: vocab_size {self.vocab} leaves no room for codes")
        for name in ("pad", "bos", "eos", "think", "nothink", "think_bos", "think_eos"):
            if not 0 <= getattr(self, f"codec_{name}") < self.vocab:
                raise BadModelFolder(f"config.json: talker_config: the codec {name} id lies outside the vocabulary")


@dataclass(frozen=True)
class PredictorConfig:
    """The code predictor: sizes. Its codebooks are the codebooks 1 to 15 of a frame."""

    decoder: DecoderShape
    vocab: int


@dataclass(frozen=True)
class SpeakerEncoderConfig:
    """The speaker encoder of Base models. Published files name only ``enc_dim`` and ``sample_rate``; the rest are the
    defaults of the official configuration class."""

    dimension: int
    sample_rate_hz: int = 24000
    mel_bands: int = 128
    channels: tuple[int, ...] = (512, 512, 512, 512, 1536)
    kernel_sizes: tuple[int, ...] = (5, 3, 3, 3, 1)
    dilations: tuple[int, ...] = (1, 2, 3, 4, 1)
    attention_channels: int = 128
    se_channels: int = 128
    res2net_scale: int = 8

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.kernel_sizes) == len(self.dilations) == 5:
            raise BadModelFolder("config.json: speaker_encoder_config: channels, kernels, dilations must be five each")
        if any(width % self.res2net_scale for width in self.channels[1:4]):
            raise BadModelFolder("config.json: speaker_encoder_config: channels must divide by enc_res2net_scale")


@dataclass(frozen=True)
class TextIds:
    """Text tokens with a fixed role."""

    im_start: int
    im_end: int
    assistant: int
    tts_pad: int
    tts_bos: int
    tts_eos: int


@dataclass(frozen=True)
class GenerationDefaults:
    """``generation_config.json``. A field that is not in the file has the default of the official code, given here."""

    do_sample: bool = True
    temperature: float = 0.9
    top_k: int = 50
    top_p: float = 1.0
    repetition_penalty: float = 1.05
    subtalker_do_sample: bool = True
    subtalker_temperature: float = 0.9
    subtalker_top_k: int = 50
    subtalker_top_p: float = 1.0
    max_new_tokens: int = 2048

    @classmethod
    def read(cls, folder: Path) -> GenerationDefaults:
        """Read the file; it must exist, as for the official package.

        Raises:
            BadModelFolder: no such file, or a value that is no setting.
        """
        fields = read_json_object(folder / "generation_config.json")
        return cls(
            do_sample=fields.flag("do_sample", cls.do_sample),
            temperature=fields.number("temperature", cls.temperature),
            top_k=fields.integer("top_k", cls.top_k),
            top_p=fields.number("top_p", cls.top_p),
            repetition_penalty=fields.number("repetition_penalty", cls.repetition_penalty),
            subtalker_do_sample=fields.flag("subtalker_dosample", cls.subtalker_do_sample),
            subtalker_temperature=fields.number("subtalker_temperature", cls.subtalker_temperature),
            subtalker_top_k=fields.integer("subtalker_top_k", cls.subtalker_top_k),
            subtalker_top_p=fields.number("subtalker_top_p", cls.subtalker_top_p),
            max_new_tokens=fields.integer("max_new_tokens", cls.max_new_tokens, low=1),
        )


@dataclass(frozen=True)
class ModelConfig:
    """One checkpoint. Names of speakers and languages are lower case; ``dialects`` maps a speaker to a language."""

    kind: Kind
    size: str
    talker: TalkerConfig
    predictor: PredictorConfig
    text_ids: TextIds
    language_ids: Mapping[str, int]
    speaker_ids: Mapping[str, int]
    dialects: Mapping[str, str]
    speaker_encoder: SpeakerEncoderConfig | None
    generation: GenerationDefaults
    transformers_version: str | None = None

    def __post_init__(self) -> None:
        for table, what in ((self.language_ids, "codec_language_id"), (self.speaker_ids, "spk_id")):
            for name, value in table.items():
                if value >= self.talker.vocab:
                    raise BadModelFolder(f"config.json: talker_config: {what} of {name} lies outside the vocabulary")
        for speaker, dialect in self.dialects.items():
            if dialect not in self.language_ids:
                raise BadModelFolder(f"config.json: talker_config: {speaker} speaks {dialect}, which has no id")
        if self.kind == "base" and self.speaker_encoder is None:
            raise BadModelFolder("config.json: speaker_encoder_config is missing; a base model needs it")
        if self.talker.codec_eos < self.talker.vocab - CONTROL_IDS:
            raise BadModelFolder("config.json: talker_config: codec_eos_token_id is one of the codes")

    @classmethod
    def read(cls, folder: Path) -> ModelConfig:
        """Read ``config.json`` and ``generation_config.json`` of a model folder.

        Raises:
            BadModelFolder: a file is missing or damaged, the model is of another family, or it needs arithmetic that
                is not implemented here.
        """
        fields = read_json_object(folder / "config.json")
        _refuse_other_families(fields)
        talker = fields.part("talker_config")
        kind: Kind = next(item for item in _KINDS if item == fields.text("tts_model_type", one_of=_KINDS))
        return cls(
            kind=kind,
            size=fields.text("tts_model_size", one_of=_SIZES),
            talker=_talker(talker),
            predictor=_predictor(talker.part("code_predictor_config")),
            text_ids=_text_ids(fields, talker.integer("text_vocab_size", low=1)),
            language_ids=_lower_keys(talker.integer_table("codec_language_id")),
            speaker_ids=_lower_keys(talker.integer_table("spk_id")),
            dialects=_dialects(talker),
            speaker_encoder=_speaker_encoder(fields) if fields.has("speaker_encoder_config") else None,
            generation=GenerationDefaults.read(folder),
            transformers_version=fields.text("transformers_version") if fields.has("transformers_version") else None,
        )

    @property
    def codebook_size(self) -> int:
        """Number of codes of codebook 0 (2048 in the published models)."""
        return self.talker.vocab - CONTROL_IDS

    @property
    def instructs(self) -> bool:
        """Whether a style instruction is used: not by the 0.6B models, which drop it, and not by base models."""
        return self.kind == "voice_design" or (self.kind == "custom_voice" and self.size != "0b6")

    @property
    def languages(self) -> tuple[str, ...]:
        """Names that a caller may give, "auto" first. Dialects come with their speaker and cannot be asked for."""
        dialects = set(self.dialects.values())
        return (_AUTO, *sorted(name for name in self.language_ids if name not in dialects and "dialect" not in name))

    @property
    def speakers(self) -> tuple[str, ...]:
        """Names of the built-in speakers, sorted; empty unless the model is of the kind custom_voice."""
        return tuple(sorted(self.speaker_ids))

    def language(self, name: str | None) -> str:
        """The lower-case name of a language; ``None`` is "auto".

        Raises:
            UsageError: no such language; the message gives the nearest names.
        """
        wanted = _AUTO if name is None else name.strip().lower()
        if wanted not in self.languages:
            extra = " A dialect comes with its speaker and cannot be asked for." if wanted in self.language_ids else ""
            raise UsageError(f"No language {name!r}.{_nearest(wanted, self.languages)}{extra}")
        return wanted

    def speaker(self, name: str) -> str:
        """The lower-case name of a built-in speaker.

        Raises:
            UsageError: no such speaker; the message gives the nearest names.
        """
        wanted = name.strip().lower()
        if wanted not in self.speaker_ids:
            raise UsageError(f"No speaker {name!r}.{_nearest(wanted, self.speakers)}")
        return wanted


def _refuse_other_families(fields: Fields) -> None:
    family = fields.text("model_type", "")
    if family != "qwen3_tts":
        raise BadModelFolder(f'{fields.where}: model_type is "{family}" instead of "qwen3_tts"; not a Qwen3-TTS model')
    codec = fields.text("tokenizer_type", "")
    if codec != "qwen3_tts_tokenizer_12hz":
        raise BadModelFolder(
            f'{fields.where}: tokenizer_type is "{codec}"; only models with the 12 Hz tokenizer '
            "(qwen3_tts_tokenizer_12hz) can be used"
        )


def _talker(fields: Fields) -> TalkerConfig:
    fields.must_be("num_code_groups", CODE_GROUPS, default=CODE_GROUPS)
    return TalkerConfig(
        decoder=_decoder(fields),
        vocab=fields.integer("vocab_size", low=1),
        text_vocab=fields.integer("text_vocab_size", low=1),
        text_hidden=fields.integer("text_hidden_size", low=1),
        max_positions=fields.integer("max_position_embeddings", 32768, low=1),
        codec_pad=fields.integer("codec_pad_id"),
        codec_bos=fields.integer("codec_bos_id"),
        codec_eos=fields.integer("codec_eos_token_id"),
        codec_think=fields.integer("codec_think_id"),
        codec_nothink=fields.integer("codec_nothink_id"),
        codec_think_bos=fields.integer("codec_think_bos_id"),
        codec_think_eos=fields.integer("codec_think_eos_id"),
    )


def _predictor(fields: Fields) -> PredictorConfig:
    fields.must_be("num_code_groups", CODE_GROUPS, default=CODE_GROUPS)
    return PredictorConfig(decoder=_decoder(fields), vocab=fields.integer("vocab_size", low=1))


def _decoder(fields: Fields) -> DecoderShape:
    fields.must_be("hidden_act", "silu", default="silu")
    fields.must_be("attention_bias", False, default=False)
    fields.must_be("use_sliding_window", False, default=False)
    rope = "rope_parameters" if fields.has("rope_parameters") else "rope_scaling"
    theta: float | None = None
    if fields.has(rope):
        part = fields.part(rope)
        # The three position axes of this family are always equal, so that sections and interleaving change nothing.
        for key in ("rope_type", "type"):
            part.must_be(key, "default", default="default")
        theta = part.number("rope_theta", low=1.0) if part.has("rope_theta") else None
    return DecoderShape(
        layers=fields.integer("num_hidden_layers", low=1, high=1000),
        hidden=fields.integer("hidden_size", low=1),
        intermediate=fields.integer("intermediate_size", low=1),
        heads=fields.integer("num_attention_heads", low=1),
        kv_heads=fields.integer("num_key_value_heads", low=1),
        head_dim=fields.integer("head_dim", low=2),
        rms_eps=fields.number("rms_norm_eps", 1e-6),
        rope_theta=fields.number("rope_theta", theta, low=1.0),
    )


def _text_ids(fields: Fields, text_vocab: int) -> TextIds:
    last = text_vocab - 1
    return TextIds(
        im_start=fields.integer("im_start_token_id", high=last),
        im_end=fields.integer("im_end_token_id", high=last),
        assistant=fields.integer("assistant_token_id", high=last),
        tts_pad=fields.integer("tts_pad_token_id", high=last),
        tts_bos=fields.integer("tts_bos_token_id", high=last),
        tts_eos=fields.integer("tts_eos_token_id", high=last),
    )


def _dialects(talker: Fields) -> dict[str, str]:
    """Speakers with a dialect. A speaker that the table does not name has none."""
    if not talker.has("spk_is_dialect"):
        return {}
    part = talker.part("spk_is_dialect")
    table: dict[str, str] = {}
    for speaker, dialect in part.values.items():
        if isinstance(dialect, str) and dialect:
            table[speaker.lower()] = dialect.lower()
        elif dialect is not False and dialect is not None and dialect != "":
            raise part.bad(speaker, "false or the name of a dialect", dialect)
    return table


def _speaker_encoder(fields: Fields) -> SpeakerEncoderConfig:
    part = fields.part("speaker_encoder_config")
    usual = SpeakerEncoderConfig
    part.must_be("sample_rate", usual.sample_rate_hz, default=usual.sample_rate_hz)
    return SpeakerEncoderConfig(
        dimension=part.integer("enc_dim", low=1),
        mel_bands=part.integer("mel_dim", usual.mel_bands, low=1),
        channels=part.integers("enc_channels", usual.channels, low=1),
        kernel_sizes=part.integers("enc_kernel_sizes", usual.kernel_sizes, low=1),
        dilations=part.integers("enc_dilations", usual.dilations, low=1),
        attention_channels=part.integer("enc_attention_channels", usual.attention_channels, low=1),
        se_channels=part.integer("enc_se_channels", usual.se_channels, low=1),
        res2net_scale=part.integer("enc_res2net_scale", usual.res2net_scale, low=2),
    )


def _lower_keys(table: Mapping[str, int]) -> dict[str, int]:
    return {name.lower(): value for name, value in table.items()}


def _nearest(wanted: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return " The model has none."
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return f"{hint} Known: {', '.join(names)}."
