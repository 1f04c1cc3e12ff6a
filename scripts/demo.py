"""What ``make demo`` shows: this machine's report; a real failure, its cause, the cure, the second look; a voice."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.acoustics.delivery import Delivery

ROOT = Path(__file__).resolve().parent.parent
SERVICE = ROOT / "docs" / "examples" / "broken_service"
COMMAND = [sys.executable, "-m", "toolkit.cli"]
# Exit codes that tell of the machine or the log, not of a fault of ours (docs/json.md).
FINDINGS = (0, 3, 4)
PLACE = Path("build", "demo")


@dataclass(frozen=True)
class Line:
    """What one speaker says, plainly and as told. ``title`` goes into a picture, whose font has no Chinese."""

    language: str
    speaker: str
    text: str
    instruct: str
    title: str
    seed: int


LINES = (
    Line("English", "ryan", "The train to the coast leaves at nine, and the coffee is still hot.", "30% slower",
         "30% slower", 1),
    Line("Chinese", "serena", "今天天气很好，我们一起去公园散步吧。", "音调升高5个半音", "five semitones up", 2),
)  # fmt: skip


def main() -> int:
    """Run the six steps; the exit code is 0 when each of them did what it should."""
    with tempfile.TemporaryDirectory(prefix="qwen-audio-demo-") as folder:
        log, saved, second = (Path(folder) / name for name in ("service.log", "diagnosis.json", "after.log"))
        _say("1  The doctor looks at this machine", "qwen-audio doctor")
        _run(["doctor"], FINDINGS)
        _say("2  A service fails", "python app.py > service.log")
        failed = _serve(log)
        print(log.read_text(encoding="utf-8").rstrip())
        _say("3  The log leads to the cause", "qwen-audio diagnose service.log --save diagnosis.json")
        _run(["diagnose", str(log), "--save", str(saved)], (3,))
        _say("4  The cure is applied and the service runs again", "python app.py --fixed > after.log")
        cured = _serve(second, "--fixed")
        print(second.read_text(encoding="utf-8").rstrip())
        _say("5  The second look", "qwen-audio recheck diagnosis.json after.log")
        _run(["recheck", str(saved), str(second)], (0,))
    _say("6  The pocket voice speaks, plainly and as told", 'qwen-audio speak TEXT --instruct "30% slower"')
    _speak()
    if failed == 0 or cured != 0:
        print(
            f"The example service ended with {failed} broken and {cured} cured; 1 and 0 were expected.", file=sys.stderr
        )
        return 1
    return 0


def _speak() -> None:
    """Speak each line twice on the CPU; print the measures, write the sounds and a picture of them."""
    import torch

    import toolkit
    from toolkit.acoustics.delivery import measure_delivery
    from toolkit.acoustics.pictures import Clip, draw_clips
    from toolkit.synthesis.pocket_voice import POCKET_NOTE

    torch.set_num_threads(1)  # its products are over sooner than a second thread is awake
    print(f"{POCKET_NOTE.split('. ')[0]}.\n", flush=True)
    place = Path.cwd() / PLACE
    place.mkdir(parents=True, exist_ok=True)
    speech = toolkit.load("pocket", device="cpu")
    clips: list[Clip] = []
    rows: list[tuple[Line, str, Delivery, float]] = []
    for line in LINES:
        for instruct, title in ((None, "plain"), (line.instruct, line.title)):
            result = speech.speak(
                line.text, speaker=line.speaker, language=line.language, instruct=instruct, seed=line.seed
            )
            name = f"{line.language}-{title}.wav".lower().replace(" ", "-").replace("%", "-percent")
            result.save(place / name, overwrite=True)
            measures = measure_delivery(result.samples, result.sample_rate)
            rows.append((line, instruct or "-", measures, result.x_real_time))
            clips.append(Clip(f"{line.language}, {title}", result.samples, result.sample_rate, measures.pitch))
    _print_measures(rows)
    print(f"\npicture: {draw_clips(place / 'pocket.png', clips)}\nsounds:  {place}{os.sep}*.wav")


def _print_measures(rows: list[tuple[Line, str, Delivery, float]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("speaker", "instruction"):
        table.add_column(column, no_wrap=True)
    for column in ("length s", "syll./s", "pitch Hz", "dBFS", "speed"):
        table.add_column(column, justify="right", no_wrap=True)
    for line, instruct, found, speed in rows:
        table.add_row(
            line.speaker, instruct, f"{found.duration_s:.2f}", f"{found.syllables_per_s:.1f}",
            f"{found.median_f0_hz:.0f}", f"{found.level_dbfs:.1f}", f"{speed:.1f} x",
        )  # fmt: skip
    for line in LINES:
        print(f"{line.speaker}: {line.text}")
    Console(width=max(80, Console().width)).print(table)


def _say(title: str, command: str) -> None:
    print(f"\n{'=' * 80}\n{title}\n$ {command}\n", flush=True)


def _run(arguments: list[str], allowed: tuple[int, ...]) -> None:
    code = subprocess.run([*COMMAND, *arguments], check=False, cwd=ROOT).returncode
    if code not in allowed:
        sys.exit(f"qwen-audio {arguments[0]} ended with {code}")


def _serve(log: Path, *options: str) -> int:
    with log.open("wb") as stream:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        return subprocess.run(
            [sys.executable, "app.py", *options],
            cwd=SERVICE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
            env=environment,
        ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
