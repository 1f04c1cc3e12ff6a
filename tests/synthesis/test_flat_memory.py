"""Many results in a row: the resident memory of the process does not grow."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from toolkit.synthesis.speaker import Speech

_RESULTS = 50
_WARM_UP = 10
_ALLOWED_BYTES = 8 * 2**20
"""What the allocator of the system may keep; one result of this test holds about 1 MB, so 40 that stay would show."""


def test_fifty_results_in_a_row_leave_memory_flat(speech: Callable[..., Speech]) -> None:
    model, process = speech(), psutil.Process()
    levels = []
    for seed in range(_RESULTS):
        result = model.speak("Fifty results in a row.", speaker="vivian", seed=seed, max_frames=8)
        assert result.frames
        levels.append(process.memory_info().rss)
    assert max(levels[_WARM_UP:]) - levels[_WARM_UP] < _ALLOWED_BYTES


def test_streams_that_are_left_early_leave_memory_flat(speech: Callable[..., Speech]) -> None:
    model, process = speech(), psutil.Process()
    levels = []
    for seed in range(30):
        stream = model.stream("Left early, again and again.", seed=seed, max_frames=8)
        next(stream)
        stream.close()
        levels.append(process.memory_info().rss)
    assert max(levels[_WARM_UP:]) - levels[_WARM_UP] < _ALLOWED_BYTES
