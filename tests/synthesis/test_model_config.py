"""What is read from a checkpoint's JSON files, and which folders are refused with which sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import BadModelFolder, UsageError
from toolkit.synthesis.config import GenerationDefaults, ModelConfig, SpeakerEncoderConfig

Checkpoints = Callable[[str], Path]
Edit = Callable[[dict[str, object]], None]


@pytest.fixture
def edited(checkpoint: Checkpoints, tmp_path: Path) -> Callable[..., Path]:
    """Write the JSON files of a checkpoint anew, with ``path=value`` changes; a value of None takes the key out."""

    def write(name: str = "cv_1b7_a", file: str = "config.json", **changes: object) -> Path:
        for copy in ("config.json", "generation_config.json"):
            (tmp_path / copy).write_bytes((checkpoint(name) / copy).read_bytes())
        document = json.loads((tmp_path / file).read_text(encoding="utf-8"))
        for path, value in changes.items():
            *parents, key = path.split("__")
            part = document
            for parent in parents:
                part = part[parent]
            part[key] = value
            if value is None:
                del part[key]
        (tmp_path / file).write_text(json.dumps(document), encoding="utf-8")
        return tmp_path

    return write


def refusal(folder: Path) -> str:
    with pytest.raises(BadModelFolder) as caught:
        ModelConfig.read(folder)
    return str(caught.value)


def test_a_custom_voice_model_has_speakers_dialects_and_no_speaker_encoder(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint("cv_1b7_small"))
    assert (config.kind, config.size, config.codebook_size) == ("custom_voice", "1b7", 2048)
    assert config.speakers == (
        "aiden", "dylan", "eric", "ono_anna", "ryan", "serena", "sohee", "uncle_fu", "vivian",
    )  # fmt: skip
    assert config.speaker_ids["vivian"] == 3065
    assert config.dialects == {"eric": "sichuan_dialect", "dylan": "beijing_dialect"}
    assert config.speaker_encoder is None
    assert config.talker.codec_eos == 2150
    assert config.transformers_version is None


def test_ids_follow_the_file_and_not_the_published_codebook_size(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint("cv_1b7_a"))
    assert (config.codebook_size, config.talker.codec_eos, config.speaker_ids["vivian"]) == (256, 358, 1273)


def test_a_base_model_has_a_speaker_encoder_and_no_speakers(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint("base_0b6_a"))
    assert (config.kind, config.size, config.speakers) == ("base", "0b6", ())
    assert config.speaker_encoder is not None
    assert config.speaker_encoder.dimension == config.talker.decoder.hidden


def test_a_published_speaker_encoder_block_names_two_values_only(edited: Callable[..., Path]) -> None:
    block = {"enc_dim": 1024, "sample_rate": 24000}
    config = ModelConfig.read(edited("base_0b6_a", speaker_encoder_config=block))
    assert config.speaker_encoder == SpeakerEncoderConfig(1024)


def test_dialects_are_no_languages_to_ask_for(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint("cv_1b7_a"))
    assert config.languages == (
        "auto", "chinese", "english", "french", "german", "italian", "japanese", "korean", "portuguese", "russian",
        "spanish",
    )  # fmt: skip
    with pytest.raises(UsageError) as caught:
        config.language("beijing_dialect")
    assert str(caught.value).startswith("No language 'beijing_dialect'.")
    assert str(caught.value).endswith("A dialect comes with its speaker and cannot be asked for.")


def test_names_are_matched_whatever_their_case(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint("cv_1b7_a"))
    assert config.language("ENGLISH") == "english"
    assert config.language(None) == config.language("Auto") == "auto"
    assert config.speaker("Uncle_Fu") == "uncle_fu"


def test_an_unknown_name_is_answered_with_the_nearest_ones(checkpoint: Checkpoints) -> None:
    config = ModelConfig.read(checkpoint("cv_1b7_a"))
    with pytest.raises(UsageError) as caught:
        config.speaker("Vivien")
    assert str(caught.value) == (
        "No speaker 'Vivien'. Did you mean vivian? "
        "Known: aiden, dylan, eric, ono_anna, ryan, serena, sohee, uncle_fu, vivian."
    )
    with pytest.raises(UsageError, match=r"No language 'Klingon'\. Known: auto, chinese"):
        config.language("Klingon")


@pytest.mark.parametrize(
    ("name", "expected"), [("cv_1b7_a", True), ("cv_0b6_a", False), ("vd_0b6_a", True), ("base_1b7_a", False)]
)
def test_which_models_take_an_instruction(checkpoint: Checkpoints, name: str, expected: bool) -> None:
    assert ModelConfig.read(checkpoint(name)).instructs is expected


@pytest.mark.parametrize("size", ["", "6", "b6", "0B6", "4b"])
def test_a_size_is_one_of_two_words_and_no_part_of_one(edited: Callable[..., Path], size: str) -> None:
    assert refusal(edited(tts_model_size=size)) == (
        f'config.json: tts_model_size must be one of 0b6, 1b7, found "{size}"'
    )


def test_a_speaker_without_a_row_in_the_dialect_table_speaks_none(edited: Callable[..., Path]) -> None:
    config = ModelConfig.read(edited(talker_config__spk_is_dialect__dylan=None))
    assert config.dialects == {"eric": "sichuan_dialect"}


def test_newer_files_keep_the_rope_base_among_the_rope_parameters(edited: Callable[..., Path]) -> None:
    rope = {"rope_theta": 50_000.0, "rope_type": "default"}
    folder = edited(talker_config__rope_parameters=rope, talker_config__rope_theta=None)
    assert ModelConfig.read(folder).talker.decoder.rope_theta == 50_000.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen3"}, 'config.json: model_type is "qwen3" instead of "qwen3_tts"; not a Qwen3-TTS model'),
        (
            {"tokenizer_type": "qwen3_tts_tokenizer_25hz"},
            'config.json: tokenizer_type is "qwen3_tts_tokenizer_25hz"; only models with the 12 Hz tokenizer '
            "(qwen3_tts_tokenizer_12hz) can be used",
        ),
        ({"tts_model_size": None}, "config.json: tts_model_size is missing"),
        (
            {"tts_model_type": "singing"},
            'config.json: tts_model_type must be one of custom_voice, voice_design, base, found "singing"',
        ),
        ({"talker_config": None}, "config.json: talker_config is missing"),
        ({"talker_config__spk_id": None}, "config.json: talker_config: spk_id is missing"),
        ({"talker_config__codec_language_id": None}, "config.json: talker_config: codec_language_id is missing"),
        ({"talker_config__head_dim": None}, "config.json: talker_config: head_dim is missing"),
        (
            {"talker_config__hidden_act": "gelu"},
            'config.json: talker_config: hidden_act is "gelu"; only "silu" is supported',
        ),
        (
            {"talker_config__attention_bias": True},
            "config.json: talker_config: attention_bias is true; only false is supported",
        ),
        (
            {"talker_config__rope_scaling__rope_type": "yarn"},
            'config.json: talker_config: rope_scaling: rope_type is "yarn"; only "default" is supported',
        ),
        (
            {"talker_config__num_code_groups": 8},
            "config.json: talker_config: num_code_groups is 8; only 16 is supported",
        ),
        (
            {"talker_config__num_hidden_layers": True},
            "config.json: talker_config: num_hidden_layers must be a whole number from 1 to 1000, found true",
        ),
        (
            {"talker_config__rms_norm_eps": math.nan},
            "config.json: talker_config: rms_norm_eps must be a number from 0.0 to inf, found NaN",
        ),
        ({"talker_config__num_key_value_heads": 3}, "4 attention heads cannot share 3 key/value heads evenly"),
        (
            {"talker_config__spk_is_dialect__eric": "klingon"},
            "config.json: talker_config: eric speaks klingon, which has no id",
        ),
        (
            {"talker_config__spk_id__eric": 99999},
            "config.json: talker_config: spk_id of eric lies outside the vocabulary",
        ),
        (
            {"talker_config__codec_eos_token_id": 5},
            "config.json: talker_config: codec_eos_token_id is one of the codes",
        ),
    ],
)
def test_one_sentence_says_what_is_wrong(edited: Callable[..., Path], changes: dict[str, object], message: str) -> None:
    assert refusal(edited(**changes)) == message


def test_a_base_model_without_its_speaker_encoder_is_refused(edited: Callable[..., Path]) -> None:
    folder = edited("base_1b7_a", speaker_encoder_config=None)
    assert refusal(folder) == "config.json: speaker_encoder_config is missing; a base model needs it"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "config.json is missing; the folder is not a complete model"),
        (b"", "is not JSON"),
        (b"[1, 2]", "holds [1, 2] instead of an object"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"a": ' * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(
    edited: Callable[..., Path], content: bytes | None, message: str
) -> None:
    folder = edited()
    (folder / "config.json").unlink()
    if content is not None:
        (folder / "config.json").write_bytes(content)
    assert message in refusal(folder)


def test_generation_defaults_come_from_their_file(checkpoint: Checkpoints) -> None:
    assert GenerationDefaults.read(checkpoint("cv_1b7_a")) == GenerationDefaults(max_new_tokens=8192)


def test_a_default_that_the_file_does_not_name_is_the_official_one(edited: Callable[..., Path]) -> None:
    folder = edited(file="generation_config.json", max_new_tokens=None, top_k=None, temperature=0.5)
    assert GenerationDefaults.read(folder) == GenerationDefaults(temperature=0.5, max_new_tokens=2048, top_k=50)


def test_the_file_of_generation_defaults_must_exist(edited: Callable[..., Path]) -> None:
    folder = edited()
    (folder / "generation_config.json").unlink()
    assert "generation_config.json is missing" in refusal(folder)
