"""Our talker against the official one: every committed case, and BF16 against float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_set import (
    HIDDEN_TOLERANCE,
    GoldenCase,
    GoldenSet,
    RecordingBackend,
    compare_case,
    make_prompts,
    settings_of,
    worst,
)
from loaded_model import GOLDENS, Loaded

from toolkit.synthesis.decoding import generate

Load = Callable[..., Loaded]

CASES = [
    (case["checkpoint"], case["id"])
    for case in json.loads((GOLDENS / "cases.json").read_text(encoding="utf-8"))["cases"]
]
CHECKPOINTS = sorted({name for name, _ in CASES})
EXACT = ("input_ids", "instruct_ids", "ref_ids", "prefill_tokens", "codes", "codes_rp1", "frames", "ended")


@pytest.mark.parametrize(("checkpoint_name", "case_id"), CASES, ids=lambda value: str(value))
def test_codes_are_the_official_ones_and_logits_are_within_tolerance(
    goldens: GoldenSet, load: Load, checkpoint_name: str, case_id: str
) -> None:
    model = load(checkpoint_name)
    case = goldens.case(checkpoint_name, case_id)
    found = worst(compare_case(model.talker, model.prompts, case, GoldenCase.stored_voice).findings)
    assert {name: found[name] for name in EXACT if found.get(name)} == {}
    assert max(found.values()) <= HIDDEN_TOLERANCE, found


@pytest.mark.parametrize("name", ["cv_0b6_a", "base_1b7_b", "cv_1b7_small"])
def test_packed_weights_give_the_same_codes(goldens: GoldenSet, load: Load, name: str) -> None:
    """The fast path against its slow twin, on both widths, the projection between them, and all layouts."""
    model = load(name, pack=True)
    for case in goldens.cases(name):
        found = worst(compare_case(model.talker, model.prompts, case, GoldenCase.stored_voice).findings)
        assert max(found.values()) <= HIDDEN_TOLERANCE, (case.id, found)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_first_logits_in_bfloat16_point_where_the_official_float32_ones_do(
    goldens: GoldenSet, load: Load, name: str
) -> None:
    model = load(name, torch.bfloat16, True)
    for case in goldens.cases(name):
        backend = RecordingBackend(model.talker)
        prompts = make_prompts(model.prompts, case, GoldenCase.stored_voice)
        next(generate(model.talker, prompts, settings_of(case), backend=backend))
        for row in range(case.batch):
            wanted = torch.from_numpy(case.needed(row, "logits")[0])
            cosine = torch.cosine_similarity(backend.steps[0][row], wanted, dim=0).item()
            assert cosine >= 0.999, (case.id, row, cosine)


def test_the_goldens_stay_small_enough_to_commit() -> None:
    assert sum(path.stat().st_size for path in Path(GOLDENS).rglob("*") if path.is_file()) <= 6_000_000
