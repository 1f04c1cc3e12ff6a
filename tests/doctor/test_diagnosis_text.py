"""A diagnosis to read: word for word, from a small catalogue whose texts stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import toolkit.doctor as room
from toolkit.doctor.diagnosis import diagnose_inquiry, document_of
from toolkit.doctor.inquiry import Inquiry
from toolkit.doctor.page import render_html
from toolkit.doctor.text import render_text
from toolkit.doctor.wording import percent
from troubleshoot.evidence import Matcher
from troubleshoot.facts import NA

KNOWN = """\
QWEN-AUDIO diagnosis 0.1.0                  service.log: 4 lines, words, 3 facts

  >99%    old-wheel
          The wheel is older than the card
          cause   The wheel was built before this card existed and holds no
                  machine code for it.
          for     +6.0  service.log line 4: RuntimeError: CUDA error: no kernel
                  image is available for execution on the device (the driver
                  found no code for the card)
          for     +4.0  torch.arch_has_card = no (measured)
          for     +1.5  swapped (something was changed)
          fix     Install a newer wheel (needs a reinstall)
                  - Use the Python that runs the service.
                  $ /home/ann/tts/.venv/bin/python -m pip install torch --index-url https://download.pytorch.org/whl/cu128
          fix     Use an older card (needs other hardware)
                  - Put it into the first slot.
          verify  A product works.
                  $ /home/ann/tts/.venv/bin/python -c "import torch; print(torch.ones(2, device='cuda') * 2)"
          wrong   "Install the CUDA toolkit." The wheel brings its own.
          unlike  silent-output: There nothing fails and the file is empty.
"""
NOT_KNOWN = """\
QWEN-AUDIO diagnosis 0.1.0                                                 words

Not known: nothing found here is sure enough to name a cause.

Nearest guesses: silent-output (13%), old-wheel (8%).

Collect next

- the whole log of one failing run, from its first line: qwen-audio diagnose LOG
- facts of the interpreter that runs the service: qwen-audio doctor --python
  PATH --json > facts.json
- these facts, which would tell the likeliest causes apart: torch.arch_has_card,
  torch.build
- a recording of the fault, when it can be heard: qwen-audio diagnose --audio
  OUT.wav

To tell silent-output from old-wheel (about 10 s)

When was the card bought?
显卡是什么时候买的？

- --answer card-year=new   this year
- --answer card-year=old   years ago
"""


def test_a_known_cause_word_for_word(small: Matcher, failing_log: Path) -> None:
    measured = {
        "torch.arch_has_card": False, "python.executable": "/home/ann/tts/.venv/bin/python", "os.family": "linux",
    }  # fmt: skip
    inquiry = Inquiry(logs=[str(failing_log)], words="it was swapped", measured=measured)
    assert render_text(document_of(diagnose_inquiry(small, inquiry), "0.1.0")) == KNOWN


def test_an_unknown_cause_word_for_word(small: Matcher) -> None:
    report = diagnose_inquiry(small, Inquiry(words="all grey since it was swapped"))
    assert render_text(document_of(report, "0.1.0")) == NOT_KNOWN
    assert report.exit_code == 0


def test_of_several_causes_the_first_is_told_at_length(small: Matcher, failing_log: Path) -> None:
    failing_log.write_text(failing_log.read_text() + "peak is 0.0\n")
    inquiry = Inquiry(logs=[str(failing_log)], words="没有声音")
    text = render_text(document_of(diagnose_inquiry(small, inquiry), "0.1.0"))
    assert text.count("  verify  ") == 1
    assert "note    a consequence of old-wheel; cure that first" in text


def test_what_a_log_contains_does_not_act_on_terminal_or_page(small: Matcher) -> None:
    hostile = "no kernel image is available <script>alert(1)</script>\x1b]0;x\x07\u202e\x9b2J"
    report = diagnose_inquiry(small, Inquiry(log_texts={"\x1b[31mname": hostile}, words=f"swapped {hostile}"))
    text, html = render_text(document_of(report, "0.1.0")), render_html(document_of(report, "0.1.0"))
    assert not any(char in text + html for char in "\x1b\x07\u202e\x9b")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_json_form_has_what_the_documentation_names(small: Matcher, failing_log: Path) -> None:
    inquiry = Inquiry(logs=[str(failing_log)], measured={"gpu.list": [{"cc": NA("none")}], "gpu.power_w": float("nan")})
    data = json.loads(json.dumps(diagnose_inquiry(small, inquiry).to_json(), allow_nan=False))
    assert set(data) == {
        "schema", "kind", "known", "findings", "second_fault", "question", "collect", "facts", "logs", "inquiry",
    }  # fmt: skip
    first = data["findings"][0]
    assert (first["rule"], first["family"], first["known"]) == ("old-wheel", "driver-cuda", True)
    assert {"probability", "log_odds", "evidence_for", "evidence_against", "fixes", "verify"} <= set(first)
    line = first["evidence_for"][0]
    assert (line["kind"], line["line"], line["weight"], line["group"]) == ("log", 4, 6.0, "message")
    assert data["facts"]["gpu.list"] == [{"cc": {"na": "none"}}]
    assert data["logs"] == [
        {"name": str(failing_log), "lines": 4, "bytes": failing_log.stat().st_size, "first_exception_line": 4}
    ]


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(1.0, ">99%"), (0.995, ">99%"), (0.994, "99%"), (0.5, "50%"), (0.004, "<1%"), (0.0, "<1%")],
)
def test_no_probability_claims_certainty(probability: float, shown: str) -> None:
    assert percent(probability) == shown


def test_the_room_diagnoses_words_in_both_languages() -> None:
    for words in ("it sounds robotic and never stops", "生成语音有杂音/断续"):
        assert room.diagnose(words=words).diagnosis.findings, words
