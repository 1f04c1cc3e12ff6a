"""What a later prompt finds ready: the same vectors whatever was said before, in few calls and bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loaded_model import Loaded
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.synthesis import prompt as prompt_module
from toolkit.synthesis.decoding import generate
from toolkit.synthesis.fast.backend import FastBackend
from toolkit.synthesis.prompt import ClonedVoice, Prompt, PromptBuilder, join_prompts
from toolkit.synthesis.sampling import DecodeSettings
from toolkit.synthesis.transfer import host_integers, moved

Load = Callable[..., Loaded]
Make = Callable[[PromptBuilder, str], Prompt]

WAYS: dict[str, Make] = {
    "built-in voice": lambda build, text: build.custom_voice(text, "ryan", language="English"),
    "with instruction": lambda build, text: build.custom_voice(text, "ryan", instruct="Softly, please."),
    "text step by step": lambda build, text: build.custom_voice(text, None, non_streaming=False),
}


class Calls(TorchDispatchMode):
    """Counts operations that are more than a view."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and name != "detach_":
            self.made[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("way", WAYS)
def test_a_prompt_has_the_same_bits_whatever_was_said_before(load: Load, way: str) -> None:
    model, make = load("cv_1b7_a"), WAYS[way]
    fresh = make(PromptBuilder(model.talker, model.tokenizer), "Hello there.")
    used = PromptBuilder(model.talker, model.tokenizer)
    for text in ("Something else, and longer than that.", "No.", "Hello there."):
        for other in WAYS.values():
            other(used, text)
    again = make(used, "Hello there.")
    assert torch.equal(again.rows, fresh.rows)
    assert torch.equal(again.trail, fresh.trail)


@pytest.mark.parametrize("way", WAYS)
def test_the_second_prompt_of_a_voice_projects_only_its_text(load: Load, way: str) -> None:
    model, make = load("cv_1b7_a"), WAYS[way]
    build = PromptBuilder(model.talker, model.tokenizer)
    make(build, "Hello there.")
    with torch.inference_mode(), Calls() as calls:
        make(build, "Something else.")
    assert calls.made["embedding"] == 1
    assert calls.made["linear"] == 2
    assert sum(calls.made.values()) <= 8


def test_two_voices_and_two_instructions_do_not_share_vectors(load: Load) -> None:
    model = load("cv_1b7_a")
    build = model.prompts.custom_voice
    whole = [
        build("Hello.", speaker, language=language, instruct=instruct).rows
        for speaker in ("ryan", "vivian", None)
        for language in ("English", "French")
        for instruct in ("Softly.", "Loudly.")
    ]
    assert all(not torch.equal(one, two) for index, one in enumerate(whole) for two in whole[:index])


def test_a_cloned_voice_is_read_anew_each_time(load: Load) -> None:
    """Its vector has no name by which it could be known."""
    model = load("base_1b7_a")
    hidden = model.config.talker.decoder.hidden
    first, second = ClonedVoice(torch.zeros(hidden)), ClonedVoice(torch.ones(hidden))
    rows = [model.prompts.voice_clone("Hello.", voice).rows for voice in (first, second)]
    assert torch.equal(rows[1][6] - rows[0][6], rows[1][6] - model.prompts.voice_clone("Hello.", first).rows[6])
    assert not torch.equal(rows[0][6], rows[1][6])
    assert torch.equal(rows[0][:6], rows[1][:6])


def test_kept_vectors_stay_within_their_bytes_and_the_last_used_stay() -> None:
    made: list[str] = []

    def get(kept: Any, name: str) -> None:
        kept.get(name, lambda: made.append(name) or torch.zeros(10))

    kept = prompt_module._Kept(80)
    for name in "abacabbb":
        get(kept, name)
    assert made == ["a", "b", "c", "b"], "c pushed b out, since a was used later"
    assert kept.get("large", lambda: torch.zeros(100)).shape == (100,)
    get(kept, "b")
    assert made[4:] == ["b"], "what is larger than the bound is not kept, nor is anything beside it"


def test_the_fast_path_reads_prompts_where_they_lie(load: Load) -> None:
    model = load("cv_1b7_a")
    batch = join_prompts([model.prompts.custom_voice(text, "ryan") for text in ("Hello.", "Hello there, you.")])
    backend = FastBackend(model.talker)
    with torch.inference_mode():
        backend.prefill(batch, DecodeSettings(max_new_tokens=3), 1)
    assert not {"rows", "padding", "trail"} & vars(batch).keys()
    assert batch.rows.shape[:2] == (2, max(batch.lengths))


def test_texts_are_projected_alike_with_the_table_elsewhere_and_in_the_files_dtype(load: Load) -> None:
    """As on a small card: rows of the table travel in bfloat16 and become the talker's dtype where they arrive."""
    model = load("cv_1b7_a")
    encoder, ids = model.talker.text, torch.tensor([5, 9, 700])
    wanted = encoder(ids)
    table = encoder.table
    encoder.table = torch.nn.Parameter(table.to(torch.bfloat16), requires_grad=False)
    try:
        assert torch.equal(encoder.table.float(), table), "the published tables are bfloat16"
        assert torch.equal(encoder(ids), wanted)
    finally:
        encoder.table = table


def test_a_move_keeps_the_dtype_and_what_is_there_stays() -> None:
    here = host_integers([[1, 2], [3, 2**63 - 1]], torch.device("cpu"))
    assert here.tolist() == [[1, 2], [3, 2**63 - 1]]
    assert moved(here, torch.device("cpu")) is here
    there = moved(here, torch.device("meta"))
    assert (there.device.type, there.dtype) == ("meta", torch.int64)


def test_a_voice_from_a_recording_speaks_on_the_fast_path_as_on_the_plain_one(load: Load) -> None:
    model = load("base_1b7_a")
    generator = torch.Generator().manual_seed(1)
    speaker = torch.randn(model.config.talker.decoder.hidden, generator=generator)
    voice = ClonedVoice(speaker, torch.randint(0, 256, (20, 16), generator=generator), "再见！")
    settings = DecodeSettings(max_new_tokens=6).greedy()
    prompts = [model.prompts.voice_clone("你好，很高兴认识你。", voice, non_streaming=way) for way in (True, False)]
    found = generate(model.talker, prompts, settings, backend=FastBackend(model.talker)).collect()
    for prompt, codes in zip(prompts, found, strict=True):
        assert torch.equal(codes, generate(model.talker, [prompt], settings).collect()[0])
