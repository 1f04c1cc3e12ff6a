"""What the setup keeps: steps unlock one another, an other answer locks those after it, and a damaged file is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from toolkit.errors import BadOutput, FactsError, UsageError
from toolkit.widgets.languages import Texts
from toolkit.widgets.setup.card import Card
from toolkit.widgets.setup.record import STEPS, SetupRecord, state_file
from toolkit.widgets.setup.session import Session


def filled(count: int) -> SetupRecord:
    record = SetupRecord()
    for step in STEPS[:count]:
        record = record.with_answer(step, {"value": step})
    return record


def test_each_step_is_unlocked_by_the_one_before() -> None:
    for count in range(len(STEPS) + 1):
        record = filled(count)
        assert [record.is_done(step) for step in STEPS] == [place < count for place in range(len(STEPS))]
        assert [record.is_open(step) for step in STEPS] == [place <= count for place in range(len(STEPS))]
        assert record.next_step == STEPS[min(count, len(STEPS) - 1)]


def test_another_answer_locks_the_steps_after_it_and_the_same_one_does_not() -> None:
    record = filled(7)
    assert list(record.with_answer("model", {"value": "model"}).answers) == list(STEPS)
    assert list(record.with_answer("model", {"value": "model", "report": {"at": 2}}).answers) == list(STEPS)
    assert list(record.with_answer("model", {"value": "other"}).answers) == ["machine", "place", "model"]


def test_it_is_left_and_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "voice"
    assert SetupRecord.read(folder) == SetupRecord()
    path = filled(3).write(folder)
    assert path == state_file(folder)
    assert SetupRecord.read(folder).answers == filled(3).answers
    assert [one.name for one in folder.iterdir()] == ["setup-state.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": 2, "answers": {}}', '{"schema": 1, "answers": {"model": 3}}',
     '{"schema": 1, "answers": {"moon": {}}}', "\x00\xff", "[" * 100_000],
)  # fmt: skip
def test_a_damaged_state_is_told_and_kept(tmp_path: Path, text: str) -> None:
    state_file(tmp_path).write_text(text, encoding="latin-1")
    session = Session(Texts("en"), tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        session.open_folder(tmp_path)
    assert session.folder == tmp_path / "elsewhere"
    assert state_file(tmp_path).read_text(encoding="latin-1") == text


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadOutput, match="is a file"):
        Session(Texts("en"), tmp_path).open_folder(tmp_path / "file")
    with pytest.raises(BadOutput, match="cannot be made"):
        filled(1).write(tmp_path / "file" / "below")


def test_a_card_is_read_from_facts_and_back_from_the_state() -> None:
    facts = {"gpu.name": "NVIDIA GeForce RTX 4060", "gpu.memory_gb": 8.0, "gpu.cc": "8.9", "gpu.index": 1}
    card = Card.of_facts({**facts, "torch.cuda_available": True})
    assert card == Card("NVIDIA GeForce RTX 4060", "cuda", 8 * 2**30, (8, 9), 1)
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card
    # A card that PyTorch cannot use speaks no more than none.
    for wrong in ({**facts, "torch.cuda_available": False}, {**facts, "gpu.cc": None, "torch.cuda_available": True}):
        assert Card.of_facts(wrong).device == "cpu"
    assert Card.of_facts({}).memory_bytes > 2**28
    with pytest.raises(FactsError, match="check the machine again"):
        Card.from_json({"name": "x"})
