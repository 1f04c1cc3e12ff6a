"""Plans: nonsense is refused in one sentence, defaults follow the device, equal settings have one hash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.bench.plan import LONG_TEXT, PEERS, TEXT, BenchPlan, canonical_json, config_hash, names_of, numbers_of
from toolkit.errors import UsageError
from toolkit.synthesis.pocket_voice import POCKET_TEXT_LENGTH
from toolkit.synthesis.splitting import split_text

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": "m", "size": "1b7"}, "give --model (a checkpoint) or --size"),
        ({"size": "3b"}, "--size must be one of 1b7, 0b6, tiny, pocket, not '3b'"),
        ({"precisions": ("int4",)}, "--precision must be of auto, bf16, fp16, fp32, not 'int4'"),
        ({"precisions": ("bf16", "bfloat16")}, "--precision names something twice"),
        ({"frames": 0}, "--frames must be whole numbers from 1 to 8191, not 0"),
        ({"frames": 8192}, "--frames must be"),
        ({"batches": (1, 257)}, "--batch must be whole numbers from 1 to 256, not 257"),
        ({"batches": (8, 8)}, "--batch names something twice: 8, 8"),
        ({"chunks": (0,)}, "--chunk must be"),
        ({"repeats": 0}, "--repeat must be"),
        ({"repeats": True}, "--repeat must be"),
        ({"against": ("vllm",)}, "--against knows faster-qwen3-tts and qwen-tts, not 'vllm'"),
        ({"peer_python": ("python",)}, "it goes with --against"),
        (
            {"against": ("qwen-tts",), "peer_python": ("qwen_tts=p",)},
            "'qwen_tts' is none of those that --against names",
        ),
        (
            {"against": ("qwen-tts",), "peer_python": ("p", "q")},
            "two interpreters for all peers without one of their own",
        ),
        ({"against": ("qwen-tts",), "peer_python": ("qwen-tts=p", "QWEN-TTS=q")}, "two interpreters for qwen-tts"),
        ({"against": ("qwen-tts",), "peer_python": ("qwen-tts=",)}, "takes PATH or NAME=PATH, not 'qwen-tts='"),
        ({"text": "  "}, "--text is empty"),
        ({"codec": "fp16"}, "--codec-dtype must be one of auto, bf16, tf32, fp32, not 'fp16'"),
    ],
)
def test_nonsense_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        BenchPlan(**options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "1,", "1,,2", "1,x", "-1", "1.5", "٣", "1" * 9])
def test_lists_of_numbers_are_strict(text: str) -> None:
    with pytest.raises(UsageError, match="--batch"):
        numbers_of(text, "--batch")


def test_lists_are_read() -> None:
    assert numbers_of("1, 8,32", "--batch") == (1, 8, 32)
    assert names_of("BF16, fp32", "--precision") == ("bf16", "fp32")


def test_a_peer_has_its_own_interpreter_or_that_of_all() -> None:
    plan = BenchPlan(against=PEERS, peer_python=("qwen-tts=/o/python", "/a=b/python"))
    assert (plan.peer_interpreter("qwen-tts"), plan.peer_interpreter("faster-qwen3-tts")) == (
        "/o/python",
        "/a=b/python",
    )
    assert BenchPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert BenchPlan(against=PEERS).peer_interpreter("qwen-tts") is None


def test_the_device_settles_what_is_left_open() -> None:
    card, cpu = BenchPlan().settled("cuda"), BenchPlan().settled("cpu")
    assert (card.size, card.frames, card.batches, card.random_weights) == ("1b7", 333, (1, 8, 32), True)
    assert (cpu.size, cpu.frames, cpu.batches, cpu.random_weights) == ("pocket", 50, (1, 4), False)
    assert BenchPlan(model="x").settled("cuda").size is None
    assert BenchPlan(frames=7, batches=(3,), quick=True).settled("cpu").frames == 7
    quick = BenchPlan(quick=True).settled("cuda")
    assert (quick.repeats, quick.batches, quick.cold) == (2, (1,), False)


def test_a_plan_passes_through_json_to_a_child() -> None:
    plan = BenchPlan(size="tiny", precisions=("bf16", "fp32"), batches=(1, 2)).settled("cpu")
    assert BenchPlan.from_json(plan.to_json()) == plan


def test_the_standard_texts_are_what_they_are_said_to_be() -> None:
    assert len(LONG_TEXT) == 120
    assert len(split_text(TEXT, POCKET_TEXT_LENGTH)) == 1
    assert len(split_text(LONG_TEXT, 40)) == 4


def test_the_hash_is_that_of_the_canonical_json() -> None:
    values = {"b": [1, 2.5, None], "a": {"ü": True}}
    assert canonical_json(values) == '{"a":{"ü":true},"b":[1,2.5,null]}'
    # printf '{"a":{"ü":true},"b":[1,2.5,null]}' | sha256sum
    assert config_hash(values) == "2dab1d6ef6ca48b2bb7246443cacd36a26e84d76424665f92405db3101d1c3ce"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=5), st.randoms())
def test_the_order_of_keys_does_not_change_the_hash(values: dict[str, Any], random: Any) -> None:
    keys = list(values)
    random.shuffle(keys)
    assert config_hash({key: values[key] for key in keys}) == config_hash(values)


def test_a_number_that_is_none_has_no_hash() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        config_hash({"a": float("nan")})


def test_a_plan_is_checked_without_torch() -> None:
    program = "import sys, toolkit.bench.plan, toolkit.bench.cold; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
