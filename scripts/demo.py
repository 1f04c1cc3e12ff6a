"""What ``make demo`` shows: this machine's report; a real failure, its cause, the cure, the second look; a voice."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICE = ROOT / "docs" / "examples" / "broken_service"
COMMAND = [sys.executable, "-m", "toolkit.cli"]
# Exit codes that tell of the machine or the log, not of a fault of ours (docs/json.md).
FINDINGS = (0, 3, 4)


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
        _say("6  A model speaks", "qwen-audio demo-model model && qwen-audio speak TEXT --model model -o noise.wav")
        print("The model is tiny and untrained: its weights are random numbers, so what it says is noise.")
        print("It takes the same way as a published model: checkpoint, prompt, decode loop, codec, file.\n", flush=True)
        model, sound = Path(folder) / "model", Path(folder) / "noise.wav"
        _run(["demo-model", str(model)], (0,))
        _run(["speak", "Hello, this is a test.", "--model", str(model), "--speaker", "Vivian",
              "--language", "English", "--device", "cpu", "--seed", "0", "-o", str(sound)], (0,))  # fmt: skip
    if failed == 0 or cured != 0:
        print(
            f"The example service ended with {failed} broken and {cured} cured; 1 and 0 were expected.", file=sys.stderr
        )
        return 1
    return 0


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
