"""The diagnosis as a page: give, find, answer, cure with diff and backup, check again, bundle; errors in boxes."""

from __future__ import annotations

import html
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from ipywidgets import HTML, DOMWidget
from ipywidgets.widgets.widget import _instances

from toolkit.errors import QwenAudioError, UsageError
from toolkit.widgets.diagnosis import SymptomDiagnosis
from toolkit.widgets.diagnosis.config_change import change_for
from toolkit.widgets.diagnosis.drop_zone import DropZone
from toolkit.widgets.diagnosis.given import Given, kind_of, told_of
from toolkit.widgets.jobs import Job, Worker
from toolkit.widgets.languages import Texts

OOM = """Traceback (most recent call last):
  File "vocoder.py", line 210, in decode
    x = self.conv_post(x)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 14.65 GiB. GPU 0 has a total capacity of 15.99 GiB
"""
WORDS = "short sentences work, a whole chapter at once runs out of memory"
CONFIG = """# mine
server:
  host: '127.0.0.1'  # where
max_text_length: 5000  # characters
audio_chunk_size: 600
""".replace("\n", "\r\n")


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    """One for all, so that the rules are loaded once."""
    made = Worker("tests")
    yield made
    made.close()


@pytest.fixture
def page(worker: Worker, texts: Texts) -> Iterator[SymptomDiagnosis]:
    made = SymptomDiagnosis(worker, texts)
    yield made
    made.close()


@pytest.fixture
def service(tmp_path: Path) -> Path:
    folder = tmp_path / "service"
    folder.mkdir()
    (folder / "config.yaml").write_bytes(CONFIG.encode())
    (folder / "config.yaml").chmod(0o640)
    return folder


def done(job: Job | None) -> Any:
    assert job is not None
    return job.wait(60).result


def shown(widget: DOMWidget) -> str:
    own = html.unescape(widget.value) if isinstance(widget, HTML) else ""
    return "\n".join([own, *(shown(child) for child in getattr(widget, "children", ()))])


def first(page: SymptomDiagnosis) -> str:
    assert page.page is not None
    rule: str = page.page["saved"]["findings"][0]["rule"]
    return rule


def clipped(path: Path) -> Path:
    """Two seconds of a loud voice-like tone, cut off hard at full scale, with a hole in it."""
    times = np.arange(48_000) / 24_000
    sound = sum(np.sin(2 * np.pi * 150 * part * times) / part for part in range(1, 9)) * (1 + np.sin(9 * times))
    sound[20_000:23_000] = 0
    soundfile.write(path, np.clip(1.2 * sound, -1, 1), 24_000, subtype="PCM_16")
    return path


def test_from_a_log_to_solved_with_a_change_of_the_service(page: SymptomDiagnosis, service: Path) -> None:
    page.inputs.words.value, page.inputs.log_field.value, page.inputs.path.value = WORDS, OOM, str(service)
    done(page.find())
    assert first(page) == "long-text-memory"
    text = shown(page.findings)
    assert "What speaks for it" in text
    assert "14.65 GiB" in text
    assert page.page is not None
    seen = page.page["saved"]["findings"][0]["evidence_for"]
    assert "service.max_text_length = 5000" in [one["quote"] for one in seen]

    # The diff changes two values and nothing else; it is written only after a second press.
    fix = page.fix
    assert "-max_text_length: 5000  # characters" in fix.diff.text
    assert "+max_text_length: 300  # characters" in fix.diff.text
    assert fix.confirm_button.layout.display == "none"
    fix.apply_button.click()
    assert (service / "config.yaml").read_bytes() == CONFIG.encode()
    assert str(service / "config.yaml") in fix.warning.text
    fix.confirm_button.click()
    changed = CONFIG.replace("5000", "300").replace("600", "300")
    assert (service / "config.yaml").read_bytes() == changed.encode()
    assert (service / "config.yaml.bak").read_bytes() == CONFIG.encode()
    assert (service / "config.yaml").stat().st_mode & 0o777 == 0o640
    assert "config.yaml.bak" in fix.status.text

    # Without a new log it is unclear; with one in which the error stands it is not solved; without the error it is.
    again = page.again
    done(again.view.run())
    assert again.outcome == "unclear"
    assert "qwen-audio" not in again.details.text
    again.log_field.value = OOM
    done(again.view.run())
    assert again.outcome == "not-solved"
    again.log_field.value = "INFO spoke 1200 characters in 4 parts\nINFO done\n"
    done(again.view.run())
    assert again.outcome == "solved"
    assert again.outcomes["solved"].text.startswith("Solved: long-text-memory was >99% likely")

    fix.undo_button.click()
    assert (service / "config.yaml").read_bytes() == CONFIG.encode()
    assert again.outcome == ""


def test_answers_go_back_into_the_diagnosis(page: SymptomDiagnosis, texts: Texts) -> None:
    page.inputs.words.value = "生成语音有杂音"
    done(page.find())
    asked = page.question.question
    assert asked is not None
    assert [button.description for button in page.question.buttons] == [one["text"] for one in asked["answers"]]
    assert asked["ask"] in shown(page.question)
    texts.language = "zh"
    assert asked["ask_zh"] in shown(page.question)
    page.question.buttons[0].click()
    job = page.view.job
    done(job)
    assert job is not None
    assert job.arguments["given"]["answers"] == {asked["id"]: asked["answers"][0]["value"]}
    assert page.question.question is None or page.question.question["id"] != asked["id"]
    # Answers belong to their case.
    page.inputs.words.value = "显存不足"
    assert page.find() is not None
    assert done(page.view.job)["report"]["saved"]["inquiry"]["answers"] == {}


def test_a_recording_shows_its_faults_in_a_picture(page: SymptomDiagnosis, tmp_path: Path) -> None:
    page.inputs.take(clipped(tmp_path / "bad.wav"))
    assert page.inputs.files.text == "• bad.wav (recording)"
    done(page.find())
    (sound,) = page.sounds.sounds
    names = {fault["name"] for fault in sound["faults"]}
    assert "clipping" in names
    assert sound["picture"].startswith(b"\x89PNG")
    assert page.sounds.players[0].samples.size == 48_000
    assert "clipping at" in "\n".join(getattr(one, "description", "") for one in page.sounds.children[0].children)


def test_hostile_text_stays_text(page: SymptomDiagnosis) -> None:
    hostile = "<script>alert(1)</script> <img src=x onerror=alert(1)>"
    page.inputs.log_field.value = f"{hostile} {OOM}"
    page.inputs.words.value = f"out of memory {hostile}"
    done(page.find())
    for widget in list(_instances.values()):
        if isinstance(widget, HTML):
            assert "<script" not in widget.value
            assert "<img" not in widget.value


def test_wrong_input_shows_in_a_box(page: SymptomDiagnosis, tmp_path: Path) -> None:
    done_nothing = page.find()
    assert done_nothing is not None
    assert done_nothing.wait(30).state == "failed"
    assert page.view.error_box.message.text.startswith("nothing to diagnose")
    page.inputs.path.value = str(tmp_path / "nowhere")
    assert page.find() is None
    assert page.view.error_box.message.text.endswith("there is no such file or folder")
    page.inputs.path.value, page.inputs.told.value = "", "RTX 4070"
    assert page.find() is None
    assert "write NAME=VALUE" in page.view.error_box.message.text
    page.inputs.told.value = ""
    (tmp_path / "song.wav").write_bytes(b"RIFF----WAVE")
    page.inputs.take(tmp_path / "song.wav")
    job = page.find()
    assert job is not None
    assert job.wait(30).state == "failed"
    assert page.view.error_box.rule.text == "Rule: bad-audio"


def test_a_bundle_is_previewed_then_written_redacted(page: SymptomDiagnosis, tmp_path: Path) -> None:
    page.inputs.log_field.value = f"token=hf_{'abcdEFGH' * 4}xy\n{OOM}"
    page.bundle.doctor.value = False
    page.bundle.file.value = str(tmp_path / "mine.zip")
    done(page.bundle.view.run())
    assert not (tmp_path / "mine.zip").exists()
    assert "logs/01-log" in page.bundle.contents.text
    done(page.bundle.write())
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert "hf_abcd" not in archive.read("logs/01-log").decode()
    assert str(tmp_path / "mine.zip") in page.bundle.written.text
    # A name that is taken is refused.
    job = page.bundle.write()
    assert job is not None
    assert job.wait(30).state == "failed"
    assert "exists" in page.bundle.view.error_box.message.text
    # And it can be diagnosed.
    page.inputs.clear()
    page.inputs.path.value = str(tmp_path / "mine.zip")
    done(page.find())
    assert first(page) == "long-text-memory"


def test_the_last_diagnosis_comes_back_after_a_restart(page: SymptomDiagnosis, texts: Texts, service: Path) -> None:
    page.inputs.log_field.value, page.inputs.path.value = OOM, str(service)
    done(page.find())
    other = Worker("tests")
    second = SymptomDiagnosis(other, texts)
    second.join()
    assert first(second) == first(page)
    assert (second.inputs.log_field.value, second.inputs.path.value) == (OOM, str(service))
    assert second.fix.change is not None
    second.close()
    assert texts.language == "en"


def test_a_page_that_is_closed_leaves_nothing_behind(worker: Worker, texts: Texts) -> None:
    def once() -> None:
        made = SymptomDiagnosis(worker, texts)
        made.inputs.log_field.value = OOM
        done(made.find())
        texts.language = "zh"
        texts.language = "en"
        made.close()

    once()
    held = len(_instances)
    once()
    assert len(_instances) == held
    assert texts._listeners == []


def test_files_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    contents = {
        "log": b'{"level": "info"}\n{"level": "error"}\n',
        "facts": b'{"gpu": "RTX 4070"}',
        "bundle": b"PK\x03\x04....",
        "audio": b"fLaC....",
    }
    for kind, data in contents.items():
        (tmp_path / "file").write_bytes(data)
        assert kind_of(tmp_path / "file") == kind
    assert kind_of(tmp_path) == "service"
    with pytest.raises(UsageError, match="there is file already; give one of a kind"):
        Given(facts=str(tmp_path / "file")).with_path(_write(tmp_path / "other", json.dumps({"gpu": "x"})))


def test_what_is_known_is_read_from_a_line() -> None:
    assert told_of("gpu=RTX 4070, 12GB; torch = 2.6.0+cu124, os=Windows 11") == {
        "gpu": "RTX 4070, 12GB",
        "torch": "2.6.0+cu124",
        "os": "Windows 11",
    }
    assert told_of("  ") == {}


def test_a_change_is_refused_when_the_file_has_changed(service: Path) -> None:
    change = change_for("long-text-degradation", service)
    assert change is not None
    assert change.keys == ("max_text_length",)
    (service / "config.yaml").write_text("max_text_length: 20\n")
    with pytest.raises(UsageError, match="has changed meanwhile"):
        change.apply()
    assert not (service / "config.yaml.bak").exists()
    assert change_for("long-text-degradation", service) is None


def test_a_change_that_opens_the_port_says_so(service: Path) -> None:
    change = change_for("host-flag-missing", service)
    assert change is not None
    assert change.opens
    assert '+  host: "0.0.0.0"  # where' in change.diff
    assert change.apply().name == "config.yaml.bak"
    (service / "config.yaml").write_bytes(CONFIG.encode())
    assert change.apply().name == "config.yaml.bak2"


@pytest.mark.parametrize("text", ["a: &x 5000\nmax_text_length: *x\n", "max_text_length: [", "- 1", ""])
def test_a_file_that_is_no_plain_settings_is_left_alone(service: Path, text: str) -> None:
    (service / "config.yaml").write_text(text)
    assert change_for("long-text-memory", service) is None


def test_files_come_in_pieces_under_safe_names(texts: Texts, tmp_path: Path) -> None:
    got: list[Path] = []
    errors: list[QwenAudioError] = []
    zone = DropZone("diagnosis.drop", got.append, errors.append, texts)
    for at, last, data in ((0, False, b"abc"), (3, True, b"def")):
        zone.hear(
            {"kind": "piece", "id": "1", "name": "../../etc/a<b>.log", "at": at, "last": last}, [memoryview(data)]
        )
    zone.hear({"kind": "piece", "id": "2", "name": "a<b>.log", "at": 0, "last": True}, [memoryview(b"")])
    # A piece that does not follow on, and what is no message of ours, change nothing.
    zone.hear({"kind": "piece", "id": "9", "name": "x", "at": 3, "last": True}, [memoryview(b"z")])
    zone.hear("nothing", [])
    assert [(path.name, path.read_bytes()) for path in got] == [("a_b_.log", b"abcdef"), ("2-a_b_.log", b"")]
    assert got[0].parent == got[1].parent
    zone.hear({"kind": "large", "name": "big.log", "bytes": 1e9}, [])
    assert str(errors[0]) == "big.log is over 256 MB; give its path instead"
    zone.close()
    assert not got[0].exists()


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
