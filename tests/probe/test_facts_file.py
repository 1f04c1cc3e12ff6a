"""A facts file is read back exactly as it was written, or refused with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import BadBundle
from toolkit.probe.facts_file import SCHEMA, FactsFile, ProbeEntry
from troubleshoot.facts import NA

CREATED = "2026-11-24T06:00:00Z"


def example(**change: Any) -> FactsFile:
    settings: dict[str, Any] = {
        "created": CREATED,
        "toolkit": "0.1.0",
        "interpreter": "/env/bin/python",
        "probes": (
            ProbeEntry("machine", "ok", 0.2, provides=("os.", "shm.free_gb")),
            ProbeEntry("torch", "crashed", 1.5, "SIGSEGV", "ended by SIGSEGV", ("Fatal Python error", "frame")),
        ),
        "facts": {
            "gpu.cc": "8.9", "gpu.memory_gb": 23.99, "gpu.count": 1, "os.wsl": False,
            "torch.version": NA("import torch failed"), "gpu.list": [{"name": "A", "free_gb": NA("Not Supported")}],
        },
    }  # fmt: skip
    return FactsFile(**{**settings, **change})


def document(**change: Any) -> str:
    return json.dumps({**json.loads(example().to_text()), **change})


def test_the_text_is_exact() -> None:
    file = example(probes=(ProbeEntry("machine", "ok", 0.2),), facts={"os.wsl": False, "gpu.cc": NA("no card")})
    assert file.to_text() == (
        '{\n  "schema": 1,\n  "created": "2026-11-24T06:00:00Z",\n  "toolkit": "0.1.0",\n'
        '  "interpreter": "/env/bin/python",\n  "probes": [\n    {\n      "name": "machine",\n      "state": "ok",\n'
        '      "elapsed_s": 0.2\n    }\n  ],\n  "facts": {\n    "gpu.cc": {\n      "na": "no card"\n    },\n'
        '    "os.wsl": false\n  }\n}\n'
    )


def test_what_was_written_is_read_back() -> None:
    assert FactsFile.from_json(example().to_text()) == example()
    assert FactsFile.from_json(example().to_text().encode()) == example()
    assert FactsFile.from_json(example().to_json()) == example()


_leaf = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20),
    st.builds(NA, st.text(max_size=10)),
)  # fmt: skip
_value = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.from_regex(r"\A[a-z]{1,5}\.[a-z_0-9]{1,8}\Z"), _value, max_size=5))
def test_any_facts_survive_the_file(facts: dict[str, object]) -> None:
    assert FactsFile.from_json(example(facts=facts).to_text()).facts == facts


def test_numbers_that_json_lacks_become_reasons() -> None:
    read = FactsFile.from_json(example(facts={"a.b": float("nan"), "a.c": [float("inf")]}).to_text())
    assert read.facts == {"a.b": NA("the value is nan"), "a.c": [NA("the value is inf")]}


def test_the_facts_cannot_be_changed_afterwards() -> None:
    facts: Any = example().facts
    with pytest.raises(TypeError):
        facts["gpu.cc"] = "9.0"


def test_a_file_from_the_future_is_refused_before_its_keys_are_judged() -> None:
    with pytest.raises(BadBundle) as raised:
        FactsFile.from_json(document(schema=SCHEMA + 1, toolkit="9.9.0", new_key={}))
    assert "schema 2 is newer than 1" in str(raised.value)
    assert "written by toolkit 9.9.0" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[]", "not a table"),
        ("{}", "not a table with the key 'schema'"),
        ("[" * 100_000, "not JSON"),
        ('{"schema": 1, "schema": 1}', "occurs twice"),
        ('{"schema": NaN}', "NaN is not a number"),
        (document(schema=True), "schema True"),
        (document(schema=0), "schema 0"),
        (document(extra=1), "unknown key 'extra'"),
        (json.dumps({"schema": 1}), "lacks the key 'created'"),
        (document(created="yesterday"), "not a time in ISO 8601"),
        (document(created="2026-11-24T06:00:00"), "names no time zone"),
        (document(facts=[]), "facts is list, not dict"),
        (document(facts={"Not A Name": 1}), "is not a name of a fact"),
        (document(probes={}), "probes is dict"),
        (document(probes=[1]), "a probe is int"),
        (document(probes=[{"name": "x", "state": "ok"}]), "lacks the key 'elapsed_s'"),
        (document(probes=[{"name": "x", "state": "fine", "elapsed_s": 1}]), "state 'fine'"),
        (document(probes=[{"name": "x", "state": "ok", "elapsed_s": True}]), "elapsed_s of probe x"),
        (document(probes=[{"name": "x", "state": "ok", "elapsed_s": 1, "last_lines": [1]}]), "must be texts"),
        (document(probes=[{"name": "x", "state": "ok", "elapsed_s": 1, "why": ""}]), "unknown key 'why'"),
    ],
)
def test_damage_is_named(text: str, told: str) -> None:
    with pytest.raises(BadBundle) as raised:
        FactsFile.from_json(text)
    assert told in str(raised.value)
    assert raised.value.exit_code == 2


def test_an_oversized_file_is_not_parsed() -> None:
    with pytest.raises(BadBundle, match="at most"):
        FactsFile.from_json(b" " * (17 * 2**20))
