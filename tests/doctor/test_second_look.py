"""The second look: only what spoke is measured again, and the outcome is solved, not solved or unclear."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from machines import machine

from toolkit.doctor.diagnosis import diagnose_inquiry
from toolkit.doctor.examination import reprobe_of
from toolkit.doctor.inquiry import Inquiry, load_saved
from toolkit.doctor.second_look import RecheckReport, document_of, recheck
from toolkit.doctor.text import render_text
from toolkit.errors import BadBundle, UsageError
from toolkit.probe import catalogue
from toolkit.probe.facts_file import FactsFile
from troubleshoot.evidence import Matcher

QUIET = "INFO starting on 127.0.0.1:5000\n200 OK, 2.1 s of audio\n"


TEXT = """\
QWEN-AUDIO recheck 0.1.0                                              not solved

  STILL   old-wheel
          The wheel is older than the card: >99% before, 53% now.
          gone    RuntimeError: CUDA error: no kernel image is available for
                  execution on the device (the driver found no code for the
                  card)
          still   torch.arch_has_card = no (measured)
          fix     Install a newer wheel (needs a reinstall)
                  - Use the Python that runs the service.
                  $ /home/ann/tts/.venv/bin/python -m pip install torch --index-url https://download.pytorch.org/whl/cu128
          fix     Use an older card (needs other hardware)
                  - Put it into the first slot.

Not looked at again

- swapped (something was changed): only a person can say
"""


class Fake:
    """Measures again: notes the names that it was asked for and gives the values that it was made with."""

    def __init__(self, **facts: object) -> None:
        self.facts = {name.replace("__", "."): value for name, value in facts.items()}
        self.asked: list[list[str]] = []

    def __call__(self, names: Sequence[str]) -> Mapping[str, object]:
        self.asked.append(list(names))
        return self.facts


@pytest.fixture
def look(small: Matcher, tmp_path: Path) -> Callable[..., RecheckReport]:
    """Diagnoses an inquiry, saves it, loads it again and takes the second look."""

    def run(inquiry: Inquiry, reprobe: Fake, **more: Any) -> RecheckReport:
        path = tmp_path / "saved.json"
        path.write_text(json.dumps(diagnose_inquiry(small, inquiry).to_json()), encoding="utf-8")
        loaded, data = load_saved(path)
        given = {"rule_id": None, "logs": (), "audio": (), "told": {}, **more}
        return recheck(small, loaded, data, reprobe=reprobe, **given)

    return run


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_log_without_the_message_is_solved(
    look: Callable[..., RecheckReport], failing_log: Path, tmp_path: Path
) -> None:
    fake = Fake()
    result = look(Inquiry(logs=[str(failing_log)]), fake, logs=[write(tmp_path / "after.log", QUIET)])
    assert (result.outcome, result.exit_code) == ("solved", 0)
    assert fake.asked == []  # nothing was measured, so nothing is measured again
    assert result.probability_before > 0.5 > result.probability_now


def test_a_log_with_the_message_is_not_solved(look: Callable[..., RecheckReport], failing_log: Path) -> None:
    result = look(Inquiry(logs=[str(failing_log)]), Fake(), logs=[failing_log])
    assert (result.outcome, result.exit_code) == ("not-solved", 3)
    text = render_text(document_of(result, "0.1.0"))
    assert "  STILL   old-wheel" in text
    assert "Install a newer wheel (needs a reinstall)" in text


def test_without_a_new_log_it_is_unclear(look: Callable[..., RecheckReport], failing_log: Path) -> None:
    result = look(Inquiry(logs=[str(failing_log)]), Fake())
    assert (result.outcome, result.exit_code) == ("unclear", 4)
    assert "run the failing action again and give its log" in result.untested[0]


def test_only_the_facts_that_the_rule_asks_for_are_measured_again(look: Callable[..., RecheckReport]) -> None:
    measured = dict(machine("rtx-5090-cu121").facts)
    fake = Fake(torch__arch_has_card=True, torch__build="cu128")
    result = look(Inquiry(measured=measured, words="it was swapped"), fake)
    assert fake.asked == [["torch.arch_has_card", "torch.build"]]
    assert result.outcome == "solved"
    assert result.gone == ("torch.arch_has_card = no (measured)",)


def test_a_fact_that_is_as_it_was_is_not_solved(look: Callable[..., RecheckReport]) -> None:
    measured = {"torch.arch_has_card": False}
    result = look(Inquiry(measured=measured, words="swapped"), Fake(torch__arch_has_card=False))
    assert (result.outcome, result.still) == ("not-solved", ("torch.arch_has_card = no (measured)",))


def test_a_told_fact_has_to_be_told_again(look: Callable[..., RecheckReport]) -> None:
    inquiry = Inquiry(told={"torch.arch_has_card": False, "gpu": "RTX 5090"}, words="swapped")
    silent = look(inquiry, Fake())
    assert silent.outcome == "unclear"
    assert "tell it again with --fact NAME=VALUE" in " ".join(silent.untested)
    assert look(inquiry, Fake(), told={"torch.arch_has_card": True}).outcome == "solved"


def test_a_slight_sign_that_is_gone_does_not_outweigh_a_message_that_was_not_looked_for(
    look: Callable[..., RecheckReport], failing_log: Path
) -> None:
    inquiry = Inquiry(logs=[str(failing_log)], words="swapped", answers={"card-year": "new"})
    result = look(inquiry, Fake())
    assert result.outcome == "unclear"
    assert any(line.endswith("only a person can say") for line in result.untested)


def test_a_recording_is_measured_again(look: Callable[..., RecheckReport], wav: Callable[..., Path]) -> None:
    inquiry = Inquiry(audio=[wav("before.wav", 0)])
    assert look(inquiry, Fake()).outcome == "unclear"
    assert look(inquiry, Fake(), audio=[wav("after.wav", 8_000)]).outcome == "solved"
    assert look(inquiry, Fake(), audio=[wav("same.wav", 0)]).outcome == "not-solved"


def test_another_finding_can_be_chosen(look: Callable[..., RecheckReport], failing_log: Path, tmp_path: Path) -> None:
    log = write(tmp_path / "both.log", failing_log.read_text() + "peak is 0.0\n")
    result = look(Inquiry(logs=[str(log)], words="grey"), Fake(), rule_id="silent-output", logs=[failing_log])
    assert (result.rule.id, result.outcome) == ("silent-output", "solved")
    with pytest.raises(UsageError, match="has no finding nonsense; it has: "):
        look(Inquiry(logs=[str(log)]), Fake(), rule_id="nonsense")


def test_a_diagnosis_that_found_nothing_has_nothing_to_look_at(look: Callable[..., RecheckReport]) -> None:
    with pytest.raises(UsageError, match="found nothing, so there is nothing to check again"):
        look(Inquiry(words="weather"), Fake())


@pytest.mark.parametrize(
    ("finding", "error", "message"),
    [
        ({"rule": "gone-rule", "evidence_for": [{}]}, UsageError, "which this catalogue does not have"),
        ({"rule": "old-wheel", "evidence_for": []}, BadBundle, "has no evidence for old-wheel"),
        ({"rule": "old-wheel", "evidence_for": "text"}, BadBundle, "has no evidence for old-wheel"),
    ],
)
def test_a_strange_finding_is_refused(small: Matcher, finding: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        recheck(small, Inquiry(), {"findings": [finding]}, rule_id=None, logs=(), audio=(), told={}, reprobe=Fake())


def test_only_the_probes_of_these_facts_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[object, list[str]]] = []

    def collect(target: Any, *, only: Sequence[str] | None, on_slow: object) -> FactsFile:
        ran.append((target.service, list(only or ())))
        return FactsFile("2026-11-24T09:30:00Z", "0.1.0", "python", (), {"torch.build": "cu128", "gpu.cc": "8.9"})

    monkeypatch.setattr("toolkit.doctor.examination.collect", collect)
    reprobe = reprobe_of({}, None)
    assert reprobe(["torch.build", "torch.arch_has_card"]) == {"torch.build": "cu128", "gpu.cc": "8.9"}
    assert reprobe(["gpu.cc", "service.port"]) == {"torch.build": "cu128", "gpu.cc": "8.9"}
    assert reprobe(["told.app"]) == {}
    assert ran == [(None, ["torch"]), (None, ["gpu", "service"])]
    asked = {name for _, names in ran for name in names}
    assert asked <= {probe.name for probe in catalogue.PROBES}


@pytest.mark.parametrize("target", [{"facts": "there.json"}, {"facts": "x", "python": "/nowhere/bin/python"}])
def test_facts_from_another_machine_are_not_measured_on_this_one(
    monkeypatch: pytest.MonkeyPatch, target: dict[str, str]
) -> None:
    monkeypatch.setattr("toolkit.doctor.examination.collect", lambda *given, **more: pytest.fail("was measured"))
    assert reprobe_of(target, None)(["torch.build"]) == {}


def test_the_exact_text(look: Callable[..., RecheckReport], failing_log: Path, tmp_path: Path) -> None:
    inquiry = Inquiry(
        logs=[str(failing_log)],
        measured={"torch.arch_has_card": False, "python.executable": "/home/ann/tts/.venv/bin/python"},
        words="it was swapped",
    )
    result = look(inquiry, Fake(torch__arch_has_card=False), logs=[write(tmp_path / "after.log", QUIET)])
    assert render_text(document_of(result, "0.1.0")) == TEXT


def test_the_json_form(look: Callable[..., RecheckReport], failing_log: Path) -> None:
    data = json.loads(json.dumps(look(Inquiry(logs=[str(failing_log)]), Fake(), logs=[failing_log]).to_json()))
    assert list(data) == [
        "schema", "kind", "rule", "outcome", "gone", "still", "untested", "probability_before", "probability_now",
    ]  # fmt: skip
    assert (data["schema"], data["kind"], data["rule"], data["outcome"]) == (1, "recheck", "old-wheel", "not-solved")
