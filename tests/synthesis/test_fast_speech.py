"""Speech on the fast path: the same greedy sound, a seed for each part, and the memory of one call left to the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import UsageError
from toolkit.synthesis.speaker import Speech, load
from toolkit.synthesis.speaking import Progress

TEXTS = ["Hello there.", "One more, a little longer than that.", "Hello there."]


@pytest.fixture(scope="module")
def fast(demo: Callable[..., Path]) -> Speech:
    return load(demo(), dtype="float32", device="cpu", path="fast")


def test_greedy_speech_is_that_of_the_plain_path(fast: Speech, speech: Callable[..., Speech]) -> None:
    settings = fast.sampling(max_new_tokens=30).greedy()
    found = fast.speak("Hello there.", speaker="Ryan", seed=1, settings=settings)
    wanted = speech().speak("Hello there.", speaker="Ryan", seed=1, settings=settings)
    assert np.array_equal(found.codes, wanted.codes)
    assert np.array_equal(found.samples, wanted.samples)


def test_each_text_of_a_batch_has_a_seed_that_gives_it_again_alone(fast: Speech) -> None:
    results = fast.speak_many(TEXTS, speaker="Ryan", seed=5, batch=3, max_frames=12)
    seeds = [result.parts[0].seed for result in results]
    assert len(set(seeds)) == 3
    assert not np.array_equal(results[0].codes, results[2].codes)
    alone = fast.speak_many(TEXTS, speaker="Ryan", seed=5, batch=1, max_frames=12)
    for together, single in zip(results, alone, strict=True):
        assert np.array_equal(together.codes, single.codes)
        assert together.parts == single.parts


def test_a_stream_says_what_a_call_says_and_can_be_left(fast: Speech) -> None:
    whole = fast.speak("Hello there.", speaker="Ryan", seed=3, max_frames=12)
    left = fast.stream("Hello there.", speaker="Ryan", seed=9, max_frames=12)
    next(left)
    left.close()
    pieces = [samples for samples, _ in fast.stream("Hello there.", speaker="Ryan", seed=3, max_frames=12)]
    assert np.abs(np.concatenate(pieces) - whole.samples).max() <= 1e-4


def test_an_error_in_the_progress_call_leaves_a_voice_that_speaks(fast: Speech) -> None:
    def stop(progress: Progress) -> None:
        if progress.frames >= 2:
            raise ValueError("enough")

    wanted = fast.speak("Hello there.", speaker="Ryan", seed=3, max_frames=8)
    with pytest.raises(ValueError, match="enough"):
        fast.speak("Hello there.", speaker="Ryan", seed=3, max_frames=8, on_progress=stop)
    assert np.array_equal(fast.speak("Hello there.", speaker="Ryan", seed=3, max_frames=8).codes, wanted.codes)


def test_it_says_which_way_frames_run(fast: Speech, speech: Callable[..., Speech], demo: Callable[..., Path]) -> None:
    assert str(fast.model.path) == "fast (asked for)"
    assert str(fast.path) == "eager (a CPU has no CUDA graphs)"
    assert str(speech().path) == "plain (on a CPU a seed gives what it gives in the official package)"
    with pytest.raises(UsageError, match="leave one of autocast=True and path='fast' out"):
        load(demo(), dtype="bfloat16", device="cpu", path="fast", autocast=True)
    with pytest.raises(UsageError, match="path must be"):
        load(demo(), device="cpu", path="quick")  # type: ignore[arg-type]


def test_it_reads_bfloat16_weights_as_they_lie_in_the_file(demo: Callable[..., Path]) -> None:
    voice = load(demo(), dtype="bfloat16", device="cpu", path="fast")
    assert voice.speak("Hello.", speaker="Ryan", seed=1, max_frames=3).frames <= 3
