"""What reporters tell in their own words becomes facts by their proper names, and nothing that they did not say."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troubleshoot.errors import FactsError
from troubleshoot.facts import NA, fact_from_json, fact_to_json, told_fact, told_facts


def test_a_value_that_could_not_be_had_is_falsy_and_says_why() -> None:
    value = NA("NVML shared library not found")
    assert not value
    assert str(value) == "N/A (NVML shared library not found)"


@pytest.mark.parametrize(
    "value", [NA("no driver"), "2.8.0", 8, 1.5, True, None, ["a", {"b": 1}], {"na": 1}, {"na": "x", "b": 1}]
)
def test_facts_survive_the_way_through_json(value: object) -> None:
    assert fact_from_json(json.loads(json.dumps(fact_to_json(value)))) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_becomes_not_available(value: float) -> None:
    assert isinstance(fact_from_json(fact_to_json(value)), NA)


@pytest.mark.parametrize(
    ("name", "value", "facts"),
    [
        (
            "gpu",
            "RTX 4090",
            {"gpu.name": "RTX 4090", "gpu.vendor": "nvidia", "gpu.cc": "8.9", "gpu.architecture": "ada"},
        ),
        ("gpu", "none", {"gpu.vendor": "none"}),
        ("gpu", "RX 7900 XTX", {"gpu.name": "RX 7900 XTX", "gpu.vendor": "amd"}),
        ("gpu", "M3 Max", {"gpu.name": "M3 Max", "gpu.vendor": "apple"}),
        ("cc", "7.5", {"gpu.cc": "7.5", "gpu.architecture": "turing"}),
        ("cc", "sm_120", {"gpu.cc": "12.0", "gpu.architecture": "blackwell"}),
        ("cc", "newest", {"told.cc": "newest"}),
        ("vram", "12 GB", {"gpu.memory_gb": 12.0}),
        ("vram", "6144MiB", {"gpu.memory_gb": 6.0}),
        ("vram", "plenty", {"told.vram": "plenty"}),
        ("os", "Windows 11", {"os.name": "Windows 11", "os.family": "windows", "os.wsl": False}),
        ("os", "Ubuntu 24.04 under WSL2 on Windows 11", {"os.family": "linux", "os.wsl": True}),
        ("os", "Docker on Debian 12", {"os.family": "linux", "os.container": True}),
        ("os", "macOS 15", {"os.family": "macos", "gpu.vendor": "apple"}),
        ("torch", "2.6.0+cu124", {"torch.version": "2.6.0", "torch.build": "cu124", "torch.cuda": "12.4"}),
        ("torch", "2.9.1+cpu", {"torch.version": "2.9.1", "torch.build": "cpu"}),
        ("torch", "nightly", {"told.torch": "nightly"}),
        ("driver", "550.54.14", {"driver.version": "550.54.14"}),
        ("driver", "CUDA 12.8", {"driver.cuda": "12.8"}),
        ("driver", "the latest", {"told.driver": "the latest"}),
        ("transformers", "4.57.3", {"transformers.version": "4.57.3"}),
        ("transformers", "5.0.0rc1", {"transformers.version": "5.0.0rc1"}),
        ("transformers", "pins 4.57.3", {"told.transformers": "pins 4.57.3"}),
        ("python", "3.12", {"python.version": "3.12"}),
        ("model", "Qwen3-TTS-12Hz-1.7B-CustomVoice", {"model.size": "1.7B", "model.type": "custom-voice"}),
        ("model", "0.6B Base", {"model.size": "0.6B", "model.type": "base"}),
        ("model", "Base and CustomVoice", {"model.name": "Base and CustomVoice"}),
        ("dtype", "fp16", {"run.dtype": "float16"}),
        ("dtype", "torch.bfloat16", {"run.dtype": "bfloat16"}),
        ("attn", "flash-attn 2", {"run.attention": "flash_attention_2"}),
        ("attn", "sdpa", {"run.attention": "sdpa"}),
        ("device", "cuda:0", {"run.device": "cuda"}),
        ("device", "cpu or cuda", {"told.device": "cpu or cuda"}),
        ("vllm_omni", "0.12.0", {"run.runtime": "vllm-omni", "vllm_omni.version": "0.12.0"}),
        ("rocm", "6.4", {"gpu.vendor": "amd", "torch.build": "rocm"}),
        ("weather", "fine", {"told.weather": "fine"}),
        ("os", "  ", {}),
    ],
)
def test_short_names_are_read(name: str, value: str, facts: dict[str, object]) -> None:
    assert told_fact(name, value).items() >= facts.items()
    if not facts or any(key.startswith("told.") for key in facts):
        assert told_fact(name, value) == facts


def test_several_cards_of_different_kinds_give_no_capability() -> None:
    facts = told_fact("gpu", "RTX 2060, T4 and A100")
    assert "gpu.cc" not in facts
    assert told_fact("gpu", "2x RTX 3090 / RTX 3060")["gpu.cc"] == "8.6"


def test_a_capability_that_is_told_wins_over_the_cards_name() -> None:
    assert told_facts({"cc": "9.9", "gpu": "RTX 4090"})["gpu.cc"] == "9.9"
    assert told_facts({"gpu": "RTX 3060 12GB", "vram": "8 GB"})["gpu.memory_gb"] == 8.0


@pytest.mark.parametrize(
    ("name", "value", "fact"),
    [
        ("gpu.cc", "8.0", "8.0"),
        ("torch.version", "2.10", "2.10"),
        ("gpu.memory_gb", "12", 12),
        ("audio.peak", "0.5", 0.5),
        ("torch.cuda_available", "no", False),
        ("os.wsl", "TRUE", True),
        ("gpu.name", " RTX 4090 ", "RTX 4090"),
        ("gpu.count", 2, 2),
        ("gpu.throttled", False, False),
    ],
)
def test_proper_names_pass_through_with_their_type(name: str, value: object, fact: object) -> None:
    result = told_fact(name, value)[name]
    assert result == fact
    assert type(result) is type(fact)


@pytest.mark.parametrize("name", ["", "1gpu", "gpu name", "g" * 65, "gpu\n", "gpu/cc", "../x", "gpu.cc\n", 7, None])
def test_names_that_cannot_be_facts_are_refused(name: object) -> None:
    with pytest.raises(FactsError, match="not usable"):
        told_fact(name, "x")  # type: ignore[arg-type]


def test_a_whole_log_is_no_fact() -> None:
    with pytest.raises(FactsError, match="at most 2000"):
        told_fact("os", "x" * 2_001)


names = st.one_of(
    st.sampled_from(
        ["os", "gpu", "cc", "vram", "torch", "driver", "model", "dtype", "attn", "device", "python", "gpu.cc", "x"]
    ),
    st.from_regex(r"[A-Za-z][\w.-]{0,20}", fullmatch=True),
)
values = st.one_of(
    st.text(max_size=60), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers(), max_size=3)
)


@given(st.dictionaries(names, values, max_size=5))
def test_whatever_is_told_becomes_facts_with_proper_names(told: dict[str, object]) -> None:
    try:
        facts = told_facts(told)
    except FactsError:
        return
    assert all("." in name for name in facts)
    assert set(facts) == set(told_facts(dict(reversed(told.items()))))
