"""The live page: samples, pictures, judgements with the rule; with a fake NVML, examples, and no card at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import GpuUnavailable, UsageError
from toolkit.probe import gpu_sample
from toolkit.probe.gpu_sample import Sample
from toolkit.probe.watch import watch
from toolkit.widgets.jobs import Worker
from toolkit.widgets.jobs.work import Cancelled, Work
from toolkit.widgets.languages import Texts
from toolkit.widgets.live import LiveGpu, tasks
from toolkit.widgets.live.chart import draw_watch
from toolkit.widgets.live.examples import EXAMPLES, ExampleReader
from troubleshoot.facts import NA


class Clock:
    """Time that passes only when slept."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def course(name: str, duration_s: float = 20.0) -> list[Sample]:
    clock = Clock()
    return list(watch(0.5, duration_s, reader=ExampleReader(name, clock), clock=clock, sleep=clock.sleep))


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[Worker, Worker]]:
    """One pair for all, so that rules and libraries are loaded once."""
    made = Worker("watch"), Worker("load")
    yield made
    for one in made:
        one.close()


@pytest.fixture
def page(workers: tuple[Worker, Worker], texts: Texts) -> Iterator[LiveGpu]:
    made = LiveGpu(*workers, texts)
    yield made
    made.close()


def until(holds: Any, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("name", "verdict", "rule"),
    [
        ("healthy", "steady", None),
        ("starved", "low", "low-gpu-utilization"),
        ("hot", "steady", "thermal-power-throttle"),
    ],
)
def test_the_rule_that_explains_each_example(name: str, verdict: str, rule: str | None) -> None:
    work = Work("job", lambda _: None, {})
    judged = tasks._judged(tasks._matcher(work), course(name))
    assert judged["verdict"] == verdict
    assert judged.get("rule", {}).get("id") == rule


def test_a_card_that_idles_is_no_fault() -> None:
    work = Work("job", lambda _: None, {})
    judged = tasks._judged(tasks._matcher(work), course("healthy", 1.5))
    assert (judged["verdict"], judged.get("rule")) == ("idle", None)


def test_a_picture_is_drawn_of_one_sample_and_of_a_card_that_knows_nothing() -> None:
    samples = course("hot", 3.0)
    assert draw_watch(samples[:1]).startswith(b"\x89PNG")
    nothing = [Sample(float(number), "", 0, *([NA("sensor lost")] * 11)) for number in range(3)]
    assert draw_watch(nothing) != draw_watch(samples)


def test_a_watch_sends_samples_pictures_and_judgements_until_it_is_stopped() -> None:
    sent: list[dict[str, Any]] = []
    work = Work("job", sent.append, {})
    threading.Timer(3.5, work._ask_to_stop).start()
    with pytest.raises(Cancelled):
        tasks.watch_card(work, "example:hot", 0.25)
    seen = [message["value"] for message in sent if message["kind"] == "partial"]
    assert len(seen) >= 3
    assert "picture" in seen[0]
    assert 2 <= sum("picture" in one for one in seen) <= 8
    assert any("judgement" in one for one in seen)


def test_a_watch_of_an_nvml_card_is_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_sample, "open_reader", lambda index: ExampleReader(EXAMPLES[index]))
    result = tasks.watch_card(Work("job", lambda _: None, {}), "card:1", 0.25, 2.0)
    assert result["watch"]["summary"]["sample_count"] >= 3
    assert tasks.find_card(Work("job", lambda _: None, {}), 1) == {"reason": ""}


def test_no_card_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: int) -> None:
        raise GpuUnavailable("NVML does not start")

    monkeypatch.setattr(gpu_sample, "open_reader", none)
    assert tasks.find_card(Work("job", lambda _: None, {}), 0) == {"reason": "NVML does not start"}
    for wrong in ("card", "card:x", "example:none"):
        with pytest.raises(UsageError):
            tasks._reader_of(wrong)


def test_watch_and_load_run_beside_one_another(page: LiveGpu, texts: Texts) -> None:
    job = page.look_for_card()
    job.wait(30)
    if page.no_card:
        assert page.source.value == "example:healthy"
        assert page.no_card in page.notice.text
    page.source.value = "example:healthy"
    page.interval.value = 0.25
    page.watch_view.run_button.click()
    page.text.value = "Hello."
    page.load_view.run_button.click()
    until(lambda: page.picture.value and page.readings.values["power"].text.endswith("/ 285 W"))
    assert page.picture.layout.display == ""
    assert page.readings.values["memory"].text.endswith("/ 16.0 GiB")
    until(lambda: "x real time" in page.load_view.status.text, 60)
    texts.language = "zh"
    assert page.watch_view.cancel_button.description == "停止"
    assert dict(page.source.options)["示例：过热降频"] == "example:hot"
    assert page.source.value == "example:healthy"
    texts.language = "en"
    for view in (page.watch_view, page.load_view):
        view.cancel_button.click()
        assert view.job is not None
        view.job.wait(5)
        assert view.status.text == "Stopped"


def test_a_load_without_a_model_shows_in_the_box(page: LiveGpu, tmp_path: Path) -> None:
    page.model.value = " "
    assert page.load() is None
    assert page.load_view.error_box.message.text.startswith("name a model")
    page.model.value = str(tmp_path)
    job = page.load()
    assert job is not None
    assert job.wait(60).state == "failed"
    assert page.load_view.error_box.rule.text == "Rule: bad-model-folder"


def test_a_watch_that_runs_is_joined(page: LiveGpu, texts: Texts) -> None:
    page.source.value = "example:starved"
    job = page.watch()
    second = LiveGpu(page._watcher, page._speaker, texts)
    assert second.join()
    until(lambda: second.readings.sample is not None)
    assert job is not None
    job.cancel()
    job.wait(5)
    assert second.watch_view.status.text == "Stopped"
    assert not second.join()
    second.close()
