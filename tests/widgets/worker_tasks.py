"""Tasks for the tests of workers, in a module that a worker can import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np

from toolkit.errors import BadAudio
from toolkit.widgets.jobs import Work


def add(work: Work, first: float, second: float) -> float:
    work.progress(0.5, "adding")
    return first + second


def echo(work: Work, value: Any) -> Any:
    return value


def count(work: Work, steps: int, pause_s: float = 0.01) -> int:
    for step in range(steps):
        work.progress(step / steps, "step {step}", step=step)
        time.sleep(pause_s)
    return steps


def speak(work: Work, pieces: int, size: int = 2400, pause_s: float = 0.0) -> dict[str, int]:
    for number in range(pieces):
        work.partial("audio", np.full(size, number / pieces, np.float32))
        work.pause(pause_s)
    return {"samples": pieces * size}


def calls_kept(work: Work) -> list[int]:
    calls = work.keep("calls", list)
    calls.append(os.getpid())
    return list(calls)


def never_asks(work: Work) -> None:
    work.progress(0.1)
    time.sleep(60)


def waits_for_a_wish(work: Work) -> str:
    while not work.wish("word"):
        work.pause(0.02)
    return str(work.wish("word"))


def bad_audio(work: Work) -> None:
    raise BadAudio("<script>alert(1)</script> is no recording; give a WAV file")


def numpy_no_bf16(work: Work) -> None:
    raise TypeError("Got unsupported ScalarType BFloat16")


def odd(work: Work) -> None:
    raise KeyError("<img onerror=alert(1)>")


def cannot_be_sent(work: Work) -> object:
    return object()


def leaves(work: Work) -> None:
    sys.exit("enough")


def kills_itself(work: Work, number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)


def starts_a_child(work: Work) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    work.partial("pids", [os.getpid(), child.pid])
    time.sleep(60)


def segfault(work: Work) -> None:
    print("CUDA error: no kernel image is available for execution on the device", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(10)


def loaded(work: Work) -> list[str]:
    return sorted(sys.modules)
