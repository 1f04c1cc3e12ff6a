"""The search for kernel sizes with times that are made up: what is tried, what wins, and how it resumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from toolkit.bench.measuring import Voice
from toolkit.bench.tune import tune_talker
from toolkit.bench.tune_search import Outcome, apply, search
from toolkit.bench.tune_tasks import (
    Attention,
    Choosing,
    DotProduct,
    ManyAttention,
    RowProduct,
    ShortAttention,
    Sizes,
    Task,
    WholeFrame,
    tasks_of,
)
from toolkit.errors import UsageError
from toolkit.synthesis.fast.kernel_shelf import TuningKey, choose_tuning, own_tuning_path
from toolkit.synthesis.fast.kernel_sizes import DotSizes, KernelSizes, RowSizes

PRODUCT = RowProduct("4096x2048", 4096, 2048, "normed", 28)
DOT = DotProduct("4096x2048 of 32 rows", 4096, 2048, "normed", 28)
BASE = KernelSizes()
ATTENTION, FRAME = Attention().name, WholeFrame().name
KEY = TuningKey("NVIDIA H100", (9, 0), "3.4.0", "2.8.0", "shape")


@dataclass
class FakeMeter:
    """Gives the time that a function says, with a little swing around it; and the fault that another one says."""

    us: Callable[[Task, Sizes], float] = lambda task, sizes: 10.0
    wrong: Callable[[Task, Sizes], str] = lambda task, sizes: ""
    swing_us: float = 0.01
    seen: list[tuple[str, Sizes]] = field(default_factory=list)
    bases: list[KernelSizes] = field(default_factory=list)
    prepared: list[set[tuple[str, Sizes]]] = field(default_factory=list)

    def prepare(self, tries: Sequence[tuple[Task, Sizes]], base: KernelSizes) -> None:
        found = {(task.name, sizes) for task, sizes in tries}
        assert len(found) == len(tries), "nothing is compiled twice"
        self.prepared.append(found)

    def fault(self, task: Task, sizes: Sizes, base: KernelSizes) -> str:
        return self.wrong(task, sizes)

    def times_us(self, task: Task, sizes: Sizes, base: KernelSizes) -> Sequence[float]:
        assert not self.wrong(task, sizes), "what is wrong is never timed"
        self.seen.append((task.name, sizes))
        self.bases.append(base)
        middle = self.us(task, sizes)
        return [middle - self.swing_us, middle, middle + self.swing_us]


def one(meter: FakeMeter, task: Task = PRODUCT, *, chained: bool = False, can_chain: bool = True) -> Outcome:
    return search([task], meter, BASE, chained, can_chain)[0]


def test_the_fastest_sizes_win() -> None:
    best = (4, 512, 8)
    found = one(FakeMeter(lambda task, sizes: 8.0 if sizes == best else 9.0 if sizes[:2] == best[:2] else 10.0))
    assert (found.sizes, found.default, found.changed) == (best, (8, 1024, 4), True)
    assert (found.default_us, found.best_us) == (10.0, 8.0)


def test_what_is_within_the_noise_or_a_hundredth_is_not_taken() -> None:
    def near(gain_us: float) -> Callable[[Task, Sizes], float]:
        return lambda task, sizes: 10.0 - gain_us * (sizes == (4, 512, 4))

    assert not one(FakeMeter(near(0.09), swing_us=0.0)).changed
    assert one(FakeMeter(near(0.11), swing_us=0.0)).changed
    noisy = one(FakeMeter(near(1.0), swing_us=1.0))
    assert (noisy.changed, noisy.best_us, noisy.default_us) == (False, 10.0, 10.0)
    assert one(FakeMeter(near(1.0), swing_us=0.1)).changed


def test_a_lucky_time_does_not_last() -> None:
    """The winner of many is measured again: here it was fast once only."""
    asked: dict[Sizes, int] = {}

    def lucky(task: Task, sizes: Sizes) -> float:
        asked[sizes] = asked.get(sizes, 0) + 1
        return 5.0 if sizes == (4, 512, 4) and asked[sizes] == 1 else 10.0

    assert not one(FakeMeter(lucky)).changed


def test_what_computes_something_else_never_wins() -> None:
    meter = FakeMeter(
        lambda task, sizes: 1.0 if sizes[0] == 4 else 10.0,
        lambda task, sizes: "the result is off by 3" if sizes[0] == 4 else "",
    )
    found = one(meter)
    assert not found.changed
    assert "4x512x4: the result is off by 3" in found.refused
    with pytest.raises(UsageError, match=r"4096x2048: the default sizes 8x1024x4 fail on this card: off"):
        one(FakeMeter(wrong=lambda task, sizes: "off"))


def test_candidates_leave_enough_programs_and_hold_neither_too_few_nor_too_many_weights() -> None:
    meter = FakeMeter()
    one(meter, RowProduct("3072x1024g", 3072, 1024, "gated"))
    tried = {sizes for _, sizes in meter.seen}
    assert len(tried) == one(FakeMeter(), RowProduct("3072x1024g", 3072, 1024, "gated")).tried
    for outputs, inputs, warps in tried - {(8, 1024, 4)}:
        assert inputs <= 1024
        assert 4 <= 2 * outputs * inputs / (32 * warps) <= 128
        KernelSizes(products={"3072x1024g": RowSizes(outputs, inputs, warps)})
    meter = FakeMeter()
    one(meter, RowProduct("16x64", 16, 64, "added"))
    assert {sizes[0] for _, sizes in meter.seen} <= {1}


def test_products_on_the_matrix_units_are_searched_in_two_passes() -> None:
    best = (64, 256, 2, 2, 3)

    def us(task: Task, sizes: Sizes) -> float:
        return 6.0 if sizes == best else 8.0 if sizes[:3] == best[:3] else 10.0

    meter = FakeMeter(us)
    found = one(meter, DOT)
    assert (found.default, found.sizes) == ((32, 128, 2, 4, 4), best)
    first, later = meter.prepared
    assert {(sizes[3], sizes[4]) for _, sizes in first} == {(4, 4)}
    assert {sizes[:3] for _, sizes in first} >= {(16, 256, 8), (64, 128, 1)}
    assert {sizes[3:] for _, sizes in later if sizes[:3] == best[:3]} == {(2, 3), (4, 3)}
    for _, (outputs, inputs, _, _, stages) in first | later:
        assert (outputs + 32) * inputs * 2 * stages < 200_000, "it fits into a multiprocessor's shared memory"
    assert apply([DOT], [found], BASE, False)[0] == replace(BASE, dots={"4096x2048": DotSizes(*best)})


def test_a_wider_weight_or_a_gate_has_less_room_and_a_short_product_fewer_parts() -> None:
    def tried(task: DotProduct) -> set[Sizes]:
        return set(task.first_candidates(task.default(BASE, False), False))

    assert (64, 256, 1, 4, 4) in tried(DOT)
    for task in (replace(DOT, item_bytes=4), replace(DOT, role="gated"), replace(DOT, outputs=32)):
        assert (64, 256, 1, 4, 4) not in tried(task)
    assert {sizes[2] for sizes in tried(replace(DOT, inputs=256))} == {1, 2}


@pytest.mark.parametrize(
    ("task", "best", "found"),
    [
        (ManyAttention(), (1024,), {"attend_programs": 1024}),
        (ShortAttention(), (4, 2), {"short_slots": 4, "short_warps": 2}),
        (Choosing(), (16,), {"choose_warps": 16}),
        (Attention(), (16, 1, 32), {"attend_slots": 16, "attend_warps": 1, "attend_splits": 32}),
    ],
)
def test_each_task_sets_its_own_sizes(task: Task, best: Sizes, found: dict[str, int]) -> None:
    def us(_: Task, sizes: Sizes) -> float:
        return 5.0 if sizes == best else 8.0 if (sizes[0], sizes[-1]) == (best[0], best[-1]) else 10.0

    outcome = one(FakeMeter(us), task)
    assert outcome.sizes == best
    assert apply([task], [outcome], BASE, False) == (replace(BASE, **found), False)  # type: ignore[arg-type]


def test_all_first_candidates_are_compiled_at_once_and_those_that_were_found_not_at_all() -> None:
    meter, tasks = FakeMeter(), [PRODUCT, DOT, Choosing()]
    first = search(tasks, meter, BASE, False, False)
    assert {name for name, _ in meter.prepared[0]} == {task.name for task in tasks}
    assert {each for part in meter.prepared for each in part} >= set(meter.seen)
    again = FakeMeter()
    search(tasks, again, BASE, False, False, done={outcome.name: outcome for outcome in first[:2]})
    assert {name for part in again.prepared for name, _ in part} == {"choice"}


def test_overlapping_is_tried_only_where_kernels_can() -> None:
    fast = FakeMeter(lambda task, sizes: 1000.0 - 100 * sizes[0])
    assert one(fast, WholeFrame()).sizes == (1,)
    assert not one(fast, WholeFrame(), can_chain=False).changed
    slow = FakeMeter(lambda task, sizes: 1000.0 + 100 * sizes[0])
    assert one(slow, WholeFrame(), chained=True).sizes == (0,)


def test_later_tasks_run_with_what_was_found_before() -> None:
    meter = FakeMeter(lambda task, sizes: 5.0 if sizes in ((4, 512, 4), (32, 2, 16), (1,)) else 10.0)
    tasks = [PRODUCT, Attention(), WholeFrame()]
    outcomes = search(tasks, meter, BASE, False, True)
    sizes, chained = apply(tasks, outcomes, BASE, False)
    assert chained
    assert sizes == replace(
        BASE, products={"4096x2048": RowSizes(4, 512, 4)}, attend_slots=32, attend_warps=2, attend_splits=16
    )
    assert meter.bases[-1] == sizes
    assert apply(tasks, [], BASE, True) == (BASE, True)


def test_an_interrupted_search_goes_on_after_what_it_found() -> None:
    kept: list[Outcome] = []
    tasks = [PRODUCT, Attention()]
    first = search(tasks, FakeMeter(swing_us=0.0), BASE, False, False, on_outcome=kept.append)
    done = {kept[0].name: Outcome.from_json(kept[0].to_json())}
    meter = FakeMeter(swing_us=0.0)
    again = search(tasks, meter, BASE, False, False, done=done)
    assert again == first
    assert {name for name, _ in meter.seen} == {ATTENTION}


@pytest.mark.parametrize(
    "change", [{"sizes": [1.5]}, {"default": None}, {"best_us": "1"}, {"tried": True}, {"refused": 1}]
)
def test_a_damaged_outcome_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Outcome.from_json(one(FakeMeter()).to_json() | change)


def test_the_tasks_are_the_products_of_a_frame(voice: Voice) -> None:
    config = voice.speech.model.config
    talker, predictor = config.talker.decoder, config.predictor.decoder
    tasks = tasks_of(config, 4)
    names = [task.name for task in tasks]
    assert names[-5:] == ["attention", "attention of 32 rows", "short attention", "choice", "frame"]
    rows = {task.name: task for task in tasks if isinstance(task, RowProduct)}
    assert sum(task.per_frame for task in rows.values()) == 4 * talker.layers + 1 + 15 * 4 * predictor.layers + 15
    gated = rows[f"{talker.intermediate}x{talker.hidden}g"]
    assert (gated.role, gated.outputs, gated.inputs) == ("gated", talker.intermediate, talker.hidden)
    many = [task for task in tasks if isinstance(task, DotProduct)]
    assert [task.name for task in many] == [f"{name} of 32 rows" for name in rows]
    assert {task.item_bytes for task in many} == {4}
    assert len(rows) + len(many) + 5 == len(set(names)) == len(names)


def test_a_tuning_is_kept_where_the_fast_path_finds_it(voice: Voice, tmp_path: Path) -> None:
    talker = voice.speech.model.talker
    said: list[str] = []
    meter = FakeMeter(lambda task, sizes: 5.0 if task.name == ATTENTION and sizes == (32, 2, 16) else 10.0)
    found = tune_talker(talker, KEY, meter, tmp_path, said.append)
    path = own_tuning_path(KEY, tmp_path)
    assert (found["kind"], found["file"], found["key"]) == ("tune", str(path), KEY.to_json())
    assert list(tmp_path.iterdir()) == [path]
    own = choose_tuning(KEY, tmp_path)
    assert own.source.value == "own tuning"
    assert (own.sizes.attend_slots, own.sizes.attend_splits, own.chained) == (32, 16, True)
    assert len(said) == len(tasks_of(talker.config))


def test_a_stopped_tuning_resumes_on_the_same_card_and_versions_alone(voice: Voice, tmp_path: Path) -> None:
    talker = voice.speech.model.talker

    def stop(task: Task, sizes: Sizes) -> str:
        if task.name == ATTENTION:
            raise KeyboardInterrupt
        return ""

    with pytest.raises(KeyboardInterrupt):
        tune_talker(talker, KEY, FakeMeter(wrong=stop), tmp_path)
    assert choose_tuning(KEY, tmp_path).source.value == "shipped table"
    progress = next(tmp_path.iterdir())
    text = progress.read_text("utf-8")
    other = FakeMeter()
    tune_talker(talker, replace(KEY, triton="3.5.0"), other, tmp_path)
    assert len({name for name, _ in other.seen}) == len(tasks_of(talker.config))
    progress.write_text(text, "utf-8")
    rest = FakeMeter()
    tune_talker(talker, KEY, rest, tmp_path)
    names = [task.name for task in tasks_of(talker.config)]
    assert {name for name, _ in rest.seen} == set(names[names.index(ATTENTION) :])
    progress.write_text("{", "utf-8")
    anew = FakeMeter()
    tune_talker(talker, KEY, anew, tmp_path)
    assert len({name for name, _ in anew.seen}) == len(tasks_of(talker.config))
