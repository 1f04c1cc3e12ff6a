"""Logs and sentences state facts by the way; the first statement of a log counts, and comparisons state nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troubleshoot.extract import facts_from_log, facts_from_words
from troubleshoot.scanner import PatternSet, scan_text


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        (
            "NVIDIA GeForce RTX 5070 with CUDA capability sm_120 is not compatible with the current PyTorch install.",
            {
                "gpu.cc": "12.0",
                "gpu.architecture": "blackwell",
                "gpu.vendor": "nvidia",
                "gpu.name": "NVIDIA GeForce RTX 5070",
            },
        ),
        (
            "The current PyTorch install supports CUDA capabilities sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90.",
            {"torch.arch_min": "5.0", "torch.arch_max": "9.0"},
        ),
        (
            "The current install supports CUDA capabilities sm_75 sm_90 sm_100 sm_120 compute_120.",
            {"torch.arch_min": "7.5", "torch.arch_max": "12.0"},
        ),
        ("The NVIDIA driver on your system is too old (found version 11040).", {"driver.cuda": "11.4"}),
        (
            "total capacity of 7.78 GiB of which 119.00 MiB is free. Process 831 has 5.50 GiB memory in use.",
            {"gpu.memory_gb": 7.78, "gpu.free_gb": 0.116, "gpu.other_gb": 5.5},
        ),
        ("torch 2.8.0+cu128 on linux", {"torch.version": "2.8.0", "torch.build": "cu128", "torch.cuda": "12.8"}),
        ("PyTorch version: 2.9.1+cpu", {"torch.version": "2.9.1", "torch.build": "cpu"}),
        ("transformers==4.57.3, numpy 2.2.6", {"transformers.version": "4.57.3", "numpy.version": "2.2.6"}),
        ("qwen-tts 0.1.1 needs huggingface-hub 0.36", {"qwen_tts.version": "0.1.1", "huggingface_hub.version": "0.36"}),
        (r"  File C:\AI\venv\Lib\site-packages\torch\__init__.py", {"os.family": "windows"}),
        ('  File "/home/a/.venv/lib/python3.12/site-packages/torch/__init__.py"', {"os.family": "linux"}),
        ('  File "/Users/a/.venv/lib/python3.12/site-packages/torch/__init__.py"', {"os.family": "macos"}),
        ("MIOpen(HIP): Warning on gfx1030", {"gpu.vendor": "amd"}),
        ("Model device: cpu", {"run.device": "cpu"}),
        ("running on Tesla T4", {"gpu.name": "Tesla T4", "gpu.cc": "7.5"}),
        ("nothing of interest", {}),
    ],
)
def test_a_log_line_states_facts(line: str, facts: dict[str, object]) -> None:
    stated = facts_from_log([line])
    assert stated.items() >= facts.items()
    assert facts or not stated


def test_the_first_statement_of_a_log_counts() -> None:
    assert facts_from_log(["torch 2.8.0", "needs torch 2.9.0"])["torch.version"] == "2.8.0"


def test_memory_of_several_processes_adds_up() -> None:
    lines = [
        "Process 1 has 2.00 GiB memory in use. Process 2 has 512.00 MiB memory in use.",
        "Process 3 has 1.00 GiB memory in use.",
    ]
    assert facts_from_log(lines)["gpu.other_gb"] == 3.5


def test_the_scanner_hands_on_every_line_that_states_a_fact() -> None:
    lines = [
        "torch 2.8.0+cu128", "RTX 3060 with CUDA capability sm_86", "found version 11040", "Model device: cuda",
        "total capacity of 7.78 GiB of which 1.00 GiB is free", "transformers 4.57.3",
    ]  # fmt: skip
    noise = "".join(f"/srv/lib/python3.12/site-packages/noise_{number}.py\n" for number in range(500))
    scan = scan_text(noise + "\n".join(lines), PatternSet(()))
    assert facts_from_log(scan.interesting).items() >= facts_from_log(lines).items()


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (
            "my RTX 2060 is slow",
            {"gpu.name": "RTX 2060", "gpu.cc": "7.5", "gpu.architecture": "turing", "gpu.vendor": "nvidia"},
        ),
        ("the 1.7B CustomVoice model", {"model.size": "1.7B", "model.type": "custom-voice"}),
        ("0.6b-base on Windows", {"model.size": "0.6B", "os.family": "windows"}),
        ("I run it in fp16", {"run.dtype": "float16"}),
        ("bf16 gives silence", {"run.dtype": "bfloat16"}),
        ("torch 2.9.1+cpu under WSL2", {"torch.build": "cpu", "os.family": "linux", "os.wsl": True}),
        ("in a docker container on Ubuntu", {"os.family": "linux", "os.container": True}),
        ("on my MacBook", {"os.family": "macos"}),
        ("the ComfyUI node stops", {"run.runtime": "ComfyUI"}),
        ("vllm-omni refuses", {"run.runtime": "vllm-omni"}),
        ("it is slow", {}),
    ],
)
def test_a_sentence_states_facts(words: str, facts: dict[str, object]) -> None:
    stated = facts_from_words(words)
    assert stated.items() >= facts.items()
    assert facts or not stated


@pytest.mark.parametrize(
    "words", ["fp16 or bf16, both silent", "float32 fixes it", "works in fp32", "no bf16 on this card"]
)
def test_a_dtype_that_is_compared_with_or_wished_for_is_not_the_one_that_runs(words: str) -> None:
    assert "run.dtype" not in facts_from_words(words)


@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_lines_and_words_give_facts_with_proper_names(lines: list[str]) -> None:
    for facts in (facts_from_log(lines), facts_from_words(" ".join(lines))):
        assert all("." in name for name in facts)
        assert None not in facts.values()
