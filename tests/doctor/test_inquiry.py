"""Inquiries: what is given becomes a case, is saved, and is taken up again; wrong files are refused in one sentence."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machines import machine

from toolkit.doctor.diagnosis import diagnose_inquiry
from toolkit.doctor.examination import facts_file_of, inquire
from toolkit.doctor.inquiry import Inquiry, load_facts, load_saved
from toolkit.errors import BadAudio, BadBundle, UsageError
from troubleshoot.evidence import Matcher
from troubleshoot.facts import NA

NOTHING: dict[str, Any] = {
    "logs": (), "log_text": None, "words": "", "told": {}, "facts": None, "audio": (), "spoken_text": "",
    "service": None, "answers": {},
}  # fmt: skip


def save(tmp_path: Path, data: object, name: str = "saved.json") -> Path:
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_everything_that_is_given_is_in_the_case(small: Matcher, failing_log: Path, wav: Callable[..., Path]) -> None:
    inquiry = Inquiry(
        logs=[str(failing_log)],
        log_texts={"pasted": "peak is 0.0"},
        words="grey",
        told={"gpu": "RTX 5090", "torch.build": "cu121"},
        measured={"torch.build": "cu128", "torch.arch_has_card": False},
        audio=[wav("quiet.wav", 0)],
        answers={"card-year": "new"},
    )
    case = inquiry.case(small)
    assert set(case.logs) == {str(failing_log), "pasted"}
    assert (case.facts["gpu.cc"], case.facts["torch.build"]) == ("12.0", "cu121")  # what a person tells wins
    assert case.facts["torch.arch_has_card"] is False
    assert case.audio["audio.silent"] is True
    found = {seen.kind for seen in small.observe(case)}
    assert found >= {"log", "fact", "audio", "words", "answer"}


def test_it_is_saved_and_loaded(small: Matcher, tmp_path: Path, failing_log: Path) -> None:
    inquiry = Inquiry(
        logs=[str(failing_log)],
        words="升级之后坏了",
        told={"gpu": "RTX 5090"},
        measured={"torch.arch_has_card": False, "driver.cuda": NA("no driver"), "gpu.list": [{"cc": NA("none")}]},
        spoken_text="Hello.",
        answers={"card-year": "new"},
        target={"python": "/home/ann/tts/.venv/bin/python"},
    )
    report = diagnose_inquiry(small, inquiry)
    path = save(tmp_path, report.to_json())
    loaded, data = load_saved(path)
    assert data["findings"][0]["rule"] == "old-wheel"
    assert loaded.measured["driver.cuda"] == NA("no driver")
    for name in ("words", "told", "spoken_text", "answers", "target"):
        assert getattr(loaded, name) == getattr(inquiry, name), name
    again = diagnose_inquiry(small, loaded)
    assert [finding.rule.id for finding in again.diagnosis.findings] == ["old-wheel"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "has schema 2, this version reads up to 1: upgrade the toolkit"),
        ({"schema": "1"}, "has schema 1"),
        ({"kind": "doctor"}, "is not a saved diagnosis; make one with: qwen-audio diagnose"),
        ({"inquiry": []}, "is not a saved diagnosis"),
        ({"inquiry": {}}, "is a damaged diagnosis: KeyError('logs')"),
        ({"inquiry": {"logs": 3}}, "is a damaged diagnosis"),
    ],
)
def test_what_is_no_saved_diagnosis_is_refused(
    small: Matcher, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    data = {**diagnose_inquiry(small, Inquiry(words="grey")).to_json(), **change}
    with pytest.raises(BadBundle, match=r"saved\.json") as caught:
        load_saved(save(tmp_path, data))
    assert message in str(caught.value)


@pytest.mark.parametrize("field", ["logs", "told", "measured", "audio", "answers", "target"])
@pytest.mark.parametrize("value", [7, None, ["x"], "text", {"a": {"b": 1}}])
def test_a_damaged_field_never_escapes_as_another_error(
    small: Matcher, tmp_path: Path, field: str, value: object
) -> None:
    data: dict[str, Any] = diagnose_inquiry(small, Inquiry(words="grey")).to_json()
    data["inquiry"][field] = value
    path = save(tmp_path, data)
    with contextlib.suppress(BadBundle):  # any other error would be a fault of ours
        load_saved(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[1, 2]", "does not hold a JSON object"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "holds no facts; make it with: qwen-audio doctor --json > facts.json"),
        ('{"schema": 2, "facts": {}}', "has schema 2, this version reads up to 1: upgrade the toolkit"),
        ('{"kind": "diagnosis", "schema": 1}', "holds no facts"),
        ('{"kind": "doctor", "schema": 1}', "holds no facts"),
        ('{"schema": 1, "facts": {"gpu.cc": "8.9"}}', "lacks the key 'created'"),
        ('{"gpu": {"name": "RTX 4090"}}', "the fact 'gpu' holds a list or a table"),
        ('{"gpu.cc": 1e999}', "is not a number that a measurement could give"),
        (f'{{"gpu.cc": {"9" * 400}}}', "is not a number that a measurement could give"),
    ],
)
def test_what_holds_no_facts_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadBundle, match=r"facts\.json") as caught:
        load_facts(save(tmp_path, text, "facts.json"))
    assert message in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    with path.open("wb") as file:
        file.truncate(33 * 2**20)
    with pytest.raises(BadBundle, match="is over 32 MB"):
        load_facts(path)


def test_facts_come_from_a_facts_file_a_doctors_json_or_a_plain_table(tmp_path: Path) -> None:
    file = machine("healthy-rtx-4090")
    plain = load_facts(save(tmp_path, file.to_json()))
    doctor = load_facts(save(tmp_path, {"schema": 1, "kind": "doctor", "facts_file": file.to_json()}))
    assert plain.measured == doctor.measured == file.facts
    assert plain.interpreter == "/home/ann/tts/.venv/bin/python"
    table = load_facts(save(tmp_path, {"gpu": "RTX 4090", "torch.version": "2.6.0", "driver.cuda": {"na": "no"}}))
    assert (table.told, table.interpreter) == ({"gpu": "RTX 4090"}, None)
    assert table.measured == {"torch.version": "2.6.0", "driver.cuda": NA("no")}


def test_told_facts_can_be_judged_by_the_doctor(tmp_path: Path) -> None:
    file = facts_file_of(save(tmp_path, {"gpu": "RTX 4090", "torch": "2.6.0+cpu"}))
    assert (file.facts["gpu.vendor"], file.facts["torch.build"], file.probes) == ("nvidia", "cpu", ())


def test_an_empty_inquiry_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to diagnose: give a log file"):
        inquire(**{**NOTHING, "words": "  "})


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"no-such": "x"}, "no question is called no-such"),
        ({"card-year": "soon"}, "has no answer 'soon'; choose one of: new, old"),
    ],
)
def test_an_answer_to_nothing_is_refused(small: Matcher, answers: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Inquiry(words="x", answers=answers).case(small)


def test_what_cannot_be_read_is_said(small: Matcher, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the log .*missing\.log: No such file"):
        Inquiry(logs=[str(tmp_path / "missing.log")]).case(small)
    with pytest.raises(UsageError, match=r"cannot read the log .*: Is a directory"):
        Inquiry(logs=[str(tmp_path)]).case(small)
    (tmp_path / "no.wav").write_text("hello")
    with pytest.raises(BadAudio):
        Inquiry(audio=[tmp_path / "no.wav"]).case(small)


def test_a_facts_file_says_whose_facts_they_are(tmp_path: Path) -> None:
    path = save(tmp_path, machine("healthy-rtx-4090").to_json())
    inquiry = inquire(**{**NOTHING, "facts": path})
    assert inquiry.target == {"facts": str(path), "python": "/home/ann/tts/.venv/bin/python"}
