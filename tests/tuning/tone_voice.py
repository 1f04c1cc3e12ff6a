"""A voice for tests of the tuner: a buzz whose pace, pitch, level and voicing its instruction commands, at no cost."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from toolkit.tuning.book import Machine, Plan, Variant
from toolkit.tuning.effects import parse_effects
from toolkit.tuning.takes import Stopped, Take
from toolkit.tuning.trials import run_plan

__all__ = ["RATE_HZ", "TEXT", "ToneVoice", "plan_of"]

RATE_HZ = 16_000
TEXT = "One two three. Four five six."


class ToneVoice:
    """Two stretches of syllables with a pause between them; each seed differs by a little."""

    machine = Machine(device="cpu", card="tone", torch="none", toolkit="test")

    def __init__(self, plan: Plan, precision: str, wait_s: float = 0.0) -> None:
        self.plan, self.precision, self.wait_s = plan, precision, wait_s
        self.calls: list[tuple[str, int, int]] = []

    def speak(
        self, instruction: str, first_run: int, runs: int, should_stop: Callable[[], bool] | None = None
    ) -> list[Take]:
        self.calls.append((instruction, first_run, runs))
        time.sleep(self.wait_s)
        if should_stop is not None and should_stop():
            raise Stopped
        return [self.take(instruction, run) for run in range(first_run, first_run + runs)]

    def take(self, instruction: str, run: int) -> Take:
        seed = self.plan.first_seed + run
        if self.precision == "float16" and run % 4 == 2:
            return Take(seed, "failed", "float16 overflowed at frame 3")
        return Take(seed, "eos", "", tone(instruction, seed), RATE_HZ, lambda path: path.write_bytes(b"RIFF"))


def tone(instruction: str, seed: int) -> np.ndarray:
    """Float32 samples of what an instruction commands."""
    draw = np.random.default_rng(seed)
    asked = parse_effects(instruction) if instruction else parse_effects("speak")
    rate = (asked.rate or 1.0) * (1 + 0.01 * draw.standard_normal())
    pitch_hz = 150 * 2 ** ((asked.pitch_st or 0.0) / 12) * (1 + 0.01 * draw.standard_normal())
    gain = 10 ** (((asked.level_db or 0.0) + 0.2 * draw.standard_normal()) / 20)
    clause = np.arange(round(0.6 * RATE_HZ / rate)) / RATE_HZ
    if asked.whisper:
        sound = 0.05 * draw.standard_normal(clause.size)
    else:
        sound = 0.1 * sum(np.sin(2 * np.pi * pitch_hz * part * clause) / part for part in range(1, 12))
    sound = sound * (0.2 + np.sin(np.pi * 5 * rate * clause) ** 2)
    pause = np.zeros(round((0.3 if asked.pause_s is None else asked.pause_s) * RATE_HZ))
    return np.concatenate([sound, pause, sound]).astype(np.float32) * np.float32(gain)


def plan_of(*instructions: str, seeds: int = 8, batch: int = 3, **fields: object) -> Plan:
    """A plan that compares instructions with none."""
    variants = [Variant(number=0, origin="none", instruction="")]
    variants += [Variant(number=n, origin="given", instruction=text) for n, text in enumerate(instructions, 1)]
    first = instructions[0] if instructions else ""
    given = {"text": TEXT, "instruction": first, "variants": tuple(variants), "seeds": seeds, "batch": batch, **fields}
    return Plan(**given)  # type: ignore[arg-type]


if __name__ == "__main__":  # a run to be killed from outside
    plan = plan_of("20% faster", "6 dB softer", seeds=10, batch=2)
    run_plan(plan, Path(sys.argv[1]), open_voice=lambda plan, precision: ToneVoice(plan, precision, 0.03))
