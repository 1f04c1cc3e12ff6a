"""The official package loads the pocket voice as it is shipped, and says the same with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import toolkit
from toolkit.synthesis.pocket_voice import pocket_folder

REQUESTS = [
    {"text": "The train leaves at nine.", "language": "English", "speaker": "serena", "instruct": "", "whole": True},
    {"text": "I lost my keys.", "language": "Auto", "speaker": "ryan", "instruct": "20% faster", "whole": False},
    {"text": "今天天气很好。", "language": "Chinese", "speaker": "vivian", "instruct": "升高3个半音", "whole": True},
    {"text": "请问车站在哪里？", "language": "Chinese", "speaker": "eric", "instruct": "用耳语说", "whole": False},
]


def test_greedy_codes_and_waves_are_equal(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    asked, answered = tmp_path / "requests.json", tmp_path / "answers.npz"
    asked.write_text(json.dumps(REQUESTS), "utf-8")
    runner = Path(__file__).with_name("pocket_runner.py")
    command = [pytestconfig.getoption("official"), str(runner), str(pocket_folder()), str(asked), str(answered)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    answers = np.load(answered)
    speech = toolkit.load("pocket", device="cpu", dtype="float32")
    for index, request in enumerate(REQUESTS):
        ours = speech.speak(
            request["text"],
            speaker=request["speaker"],
            language=request["language"],
            instruct=request["instruct"] or None,
            non_streaming_text=request["whole"],
            settings=speech.sampling().greedy(),
        )
        assert np.array_equal(ours.codes, answers[f"{index}.codes"]), request
