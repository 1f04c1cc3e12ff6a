"""Made-up cards, so that the page can be tried where there is none: readers that give a course of values."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from toolkit.errors import UsageError
from toolkit.probe.gpu_sample import Sample

__all__ = ["EXAMPLES", "ExampleReader"]

_GIB = 2**30
_IDLE_S = 2.0


@dataclass(frozen=True)
class _State:
    """What the sensors swing around."""

    utilization_percent: float
    memory_gib: float
    sm_clock_mhz: float
    power_w: float
    temperature_c: float
    pstate: str
    throttle_reasons: tuple[str, ...] = ()


# By hand, after what the rules say of each case.
_IDLE = _State(0, 1.1, 210, 18, 41, "P8", ("idle",))
_SPEAKING = {
    "healthy": _State(82, 5.4, 2_520, 210, 64, "P2"),
    "starved": _State(17, 5.4, 2_610, 84, 51, "P2"),
    "hot": _State(88, 5.4, 1_290, 165, 89, "P2", ("thermal",)),
}
EXAMPLES = tuple(_SPEAKING)
"""Names of the cards."""


class ExampleReader:
    """A card of 16 GiB and 285 W that idles for two seconds and then speaks. ``clock`` gives seconds.

    Raises UsageError for a name that is not in :data:`EXAMPLES`.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        if name not in _SPEAKING:
            raise UsageError(f"there is no example {name!r}; there are {', '.join(EXAMPLES)}")
        self._speaking = _SPEAKING[name]
        self._clock = clock
        self._began = clock()

    def read(self) -> Sample:
        """The values at this moment of the course."""
        now = self._clock()
        time_s = now - self._began
        state = self._speaking if time_s >= _IDLE_S else _IDLE
        swing = math.sin(1.7 * time_s) if state is self._speaking else 0.0
        used = state.utilization_percent + round(6 * swing)
        return Sample(
            time_s=now,
            utc=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            gpu_index=0,
            utilization_percent=used,
            memory_busy_percent=round(0.45 * used),
            memory_used_bytes=int((state.memory_gib + 0.2 * swing) * _GIB),
            memory_total_bytes=16 * _GIB,
            sm_clock_mhz=round(state.sm_clock_mhz + 30 * math.cos(1.1 * time_s)),
            memory_clock_mhz=10_251,
            power_w=round(state.power_w + 5 * swing, 1),
            power_limit_w=285.0,
            temperature_c=round(state.temperature_c + math.sin(0.4 * time_s)),
            pstate=state.pstate,
            throttle_reasons=state.throttle_reasons,
        )

    def close(self) -> None:
        """There is no driver to let go of."""
