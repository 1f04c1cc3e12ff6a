"""What a watch saw, to read: a verdict, how to read it, and the samples."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from toolkit.doctor.text import render_text
from toolkit.doctor.watching import document_of, exit_code, to_json
from toolkit.probe.gpu_sample import Sample
from toolkit.probe.watch import summarise
from troubleshoot.facts import NA

TEXT = """\
QWEN-AUDIO watch 0.1.0                                          4 samples in 3 s

  warn    Utilisation          uneven: mean 37.0 %, longest spell below 30 %: 2
                               s
  warn    Throttling           power-cap
  ok      Memory peak          6.00 GiB

How to read it

- steady 60 to 95 % while it speaks: healthy
- long below 30 % while it speaks: the card waits, for the CPU, the disk or the
  network; see `qwen-audio rules show python-launch-bound-decode`
- 0 % while it speaks: another device works; see `qwen-audio rules show
  cpu-only-torch-wheel`

Samples

  s  util %  memory GiB  SM MHz    W  °C
---  ------  ----------  ------  ---  --
0.0       3        6.00    2520  210  61
1.0      72        6.00    2520  210  61
2.0      18        6.00    2520  210  61
3.0      21         N/A    2520  210  61
"""
Make = Callable[..., Sample]


def test_the_exact_text(card_sample: Make) -> None:
    samples = [
        card_sample(0.0, 3.0),
        card_sample(1.0, 72.0),
        card_sample(2.0, 18.0, throttle_reasons=("power-cap",)),
        card_sample(3.0, 21.0, memory_used_bytes=NA("lost")),
    ]
    assert render_text(document_of(summarise(samples), samples, "0.1.0")) == TEXT


@pytest.mark.parametrize(
    ("utilization", "reasons", "code", "shown"),
    [
        (80.0, (), 0, "  ok      Utilisation          steady: at 60 % or more"),
        (20.0, (), 4, "  warn    Utilisation          low: below 30 %"),
        (45.0, (), 4, "  warn    Utilisation          uneven: "),
        (1.0, (), 0, "  unknown Utilisation          idle: the card did nothing"),
        (80.0, ("thermal",), 4, "  warn    Throttling           thermal"),
        (80.0, ("idle",), 0, "  ok      Throttling           none"),
        (NA("no"), NA("no"), 0, "  unknown Throttling           no sample has it"),
    ],
)
def test_the_verdict_and_the_exit_code(
    card_sample: Make, utilization: float | NA, reasons: tuple[str, ...] | NA, code: int, shown: str
) -> None:
    samples = [card_sample(float(second), utilization, throttle_reasons=reasons) for second in range(30)]
    summary = summarise(samples)
    assert exit_code(summary) == code
    assert shown in render_text(document_of(summary, samples, "0.1.0"))


def test_of_many_samples_an_even_choice_is_shown(card_sample: Make) -> None:
    samples = [card_sample(float(second), 80.0) for second in range(1_000)]
    text = render_text(document_of(summarise(samples), samples, "0.1.0"))
    shown = [line for line in text.split("\n") if line.endswith("  61")]
    assert 100 <= len(shown) <= 120


def test_a_watch_without_a_sample_says_so() -> None:
    text = render_text(document_of(summarise([]), [], "0.1.0"))
    assert "  unknown Memory peak          no sample has it" in text
    assert "Samples" not in text


def test_the_json_form_can_be_diagnosed(card_sample: Make) -> None:
    samples = [card_sample(float(second), 20.0, power_w=NA("not supported")) for second in range(30)]
    data = json.loads(json.dumps(to_json(summarise(samples), samples), allow_nan=False))
    assert (data["schema"], data["kind"], data["exit_code"]) == (1, "watch", 4)
    assert data["samples"][0]["power_w"] == {"na": "not supported"}
    assert data["summary"]["verdict"]["value"] == "low"
    assert data["facts"]["gpu.low_utilization"] is True
