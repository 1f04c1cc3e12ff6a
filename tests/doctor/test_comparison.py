"""A good machine beside a bad one: rows first, then facts that rules ask for, then the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from machines import FACTS, machine

import toolkit.doctor as room
from toolkit.doctor.comparison import compare, document_of
from toolkit.doctor.text import render_text
from toolkit.errors import BadBundle
from toolkit.probe import FactsFile
from troubleshoot.evidence import Matcher

TEXT = """\
QWEN-AUDIO comparison 0.1.0                       good: good.json, bad: bad.json

Requirements that differ

row                  good  bad             found on the bad machine
-------------------  ----  --------------  -------------------------------------
CUDA                 ok    timed-out       no answer within 60.0 s during
                                           'cuda'; killed
BF16                 ok    not-checked     to be seen once this is right: CUDA
Weights              ok    not-applicable  no model given (--model)
Port of the service  ok    not-applicable  no service folder given (--service)

Other facts

fact                  good                     bad
--------------------  -----------------------  ----------------------------
cudnn.version         9.10.2                   N/A (no answer within 60.0 …
flash_attn.state      missing                  N/A (no answer within 60.0 …
forecast.need_gb      6.6                      6.7
forecast.typical_gb   5.0                      5.0
gpu.architecture      ada                      ampere
gpu.cc                8.9                      8.0
gpu.display           yes                      no
gpu.memory_gb         24.0                     40.0
gpu.name              NVIDIA GeForce RTX 4090  NVIDIA A100-SXM4-40GB
gpu.sm_clock_max_mhz  3105                     1410
torch.cuda_available  yes                      N/A (no answer within 60.0 …
torch.cuda_message    empty                    Timeout (0:00:51)!
torch.cuda_state      ok                       timed-out

Looked at on the good machine only: model, run, service.
"""


def test_the_exact_text(small: Matcher) -> None:
    result = compare(small.catalogue, machine("healthy-rtx-4090"), machine("cuda-init-hangs"))
    assert render_text(document_of(result, "good.json", "bad.json", "0.1.0")) == TEXT
    assert result.exit_code == 4


def test_facts_that_rules_ask_for_stand_apart() -> None:
    result = room.compare_files(FACTS / "healthy-rtx-4090.json", FACTS / "rtx-5090-cu121.json")
    assert {"gpu.cc", "torch.build", "torch.cuda"} <= {name for name, _, _ in result.telling}
    assert "gpu.power_limit_w" in {name for name, _, _ in result.others}
    assert {left.row.id: (left.verdict, right.verdict) for left, right in result.rows}["bf16"] == ("ok", "fail")
    data = json.loads(json.dumps(result.to_json()))
    assert {"name": "gpu.cc", "good": "8.9", "bad": "12.0"} in data["telling"]
    assert data["only_good"] == ["model", "run", "service"]


def test_a_machine_does_not_differ_from_itself() -> None:
    path = FACTS / "healthy-rtx-4090.json"
    result = room.compare_files(path, path)
    assert (result.rows, result.telling, result.others, result.exit_code) == ((), (), (), 0)
    text = render_text(document_of(result, "a", "b", "0.1.0"))
    assert "do not differ in anything that was measured" in text


def test_what_changes_from_minute_to_minute_is_left_out(small: Matcher) -> None:
    file = machine("healthy-rtx-4090")
    later = {
        **file.facts, "gpu.temperature_c": 77, "gpu.free_gb": 3.0, "memory.available_gb": 1.0, "operation.bf16_ms": 9.0,
        "torch.import_s": 30.0, "disk.free_gb": 300.0, "gpu.processes": [],
    }  # fmt: skip
    other = FactsFile(file.created, file.toolkit, file.interpreter, file.probes, later)
    assert compare(small.catalogue, file, other).exit_code == 0


def test_what_holds_no_facts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(BadBundle, match=r"no\.json holds no facts"):
        room.compare_files(FACTS / "no-gpu.json", tmp_path / "no.json")
