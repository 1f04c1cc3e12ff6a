"""The view of a job: buttons, status, error box, joining again; hostile text stays text."""

from __future__ import annotations

import html
import os
import re
import signal
import time

import pytest
import worker_tasks as tasks
from ipywidgets import HTML
from ipywidgets.widgets.widget import _instances

from toolkit.errors import BadAudio, UsageError
from toolkit.widgets.controls import PlainText
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import ErrorNote, Job, Worker
from toolkit.widgets.languages import Texts

HOSTILE = ["<script>alert(1)</script>", '<img src=x onerror="alert(1)">', "$\\href{javascript:alert(1)}{x}$", "&lt;b>"]


def markup(widget: HTML) -> str:
    """What is inside of the one element that a PlainText makes."""
    found = re.fullmatch(r'<div class="tex2jax_ignore mathjax_ignore"[^<>]*>([^<>]*)</div>', widget.value, re.DOTALL)
    assert found is not None, widget.value
    return found.group(1)


@pytest.mark.parametrize("text", HOSTILE)
def test_plain_text_is_never_markup(text: str) -> None:
    widget = PlainText(text)
    assert html.unescape(markup(widget)) == text
    widget.text = f"line\n{text}"
    assert html.unescape(markup(widget)) == f"line\n{text}"


@pytest.mark.parametrize("text", HOSTILE)
def test_an_error_box_shows_hostile_text_as_text(texts: Texts, text: str) -> None:
    box = ErrorBox(texts)
    box.show(ErrorNote("BadAudio", text, rule=text, title=text, steps=(text,), commands=(text,)))
    for child in box.children:
        assert text in html.unescape(markup(child))


def test_an_error_box_says_title_rule_and_fix_in_both_languages(texts: Texts) -> None:
    box = ErrorBox(texts)
    assert box.layout.display == "none"
    box.show(BadAudio("x.mp4 is a video"))
    assert box.layout.display == ""
    shown = [child.text for child in box.children]
    assert shown == [
        "This is not a recording that can be measured",
        "Rule: bad-audio",
        "x.mp4 is a video",
        "What to do:\n• Give a WAV, FLAC or OGG file with sound in it.",
        "",
    ]
    texts.language = "zh"
    assert box.title.text == "这不是可以测量的录音"
    box.show(ErrorNote("ToolkitFault", "boom", "numpy-no-bf16", "The waveform", "波形", ("cast it",), ("pip list",)))
    shown = [child.text for child in box.children]
    assert shown == ["波形", "规则：numpy-no-bf16", "boom", "解决办法：\n• cast it", "pip list"]
    box.clear()
    assert box.layout.display == "none"


def test_a_click_that_fails_shows_a_box_and_no_traceback(texts: Texts) -> None:
    box = ErrorBox(texts)

    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    began = time.monotonic()
    assert not box.guard(broken)
    assert time.monotonic() - began < 0.1
    assert [child.text for child in box.children][:3] == [
        "This is a mistake of the toolkit",
        "Rule: toolkit-fault",
        "ZeroDivisionError: division by zero",
    ]
    assert box.guard(lambda: None)
    assert box.note is None


def test_the_buttons_follow_the_job(worker: Worker, texts: Texts) -> None:
    ended: list[str] = []
    view = JobView(
        worker, lambda: worker.run(tasks.count, steps=1000), texts=texts, on_end=lambda job: ended.append(job.state)
    )
    assert (view.run_button.disabled, view.cancel_button.disabled) == (False, True)
    view.run_button.click()
    assert (view.run_button.disabled, view.cancel_button.disabled) == (True, False)
    while not re.fullmatch(r"step \d+", view.status.text):
        time.sleep(0.01)
    assert view.bar.layout.visibility == "visible"
    assert 0 <= view.bar.value < 1
    view.cancel_button.click()
    assert view.job is not None
    view.job.wait(5)
    assert (view.status.text, view.run_button.disabled, view.cancel_button.disabled) == ("Stopped", False, True)
    assert ended == ["cancelled"]
    texts.language = "zh"
    assert (view.status.text, view.run_button.description, view.cancel_button.description) == ("已停止", "运行", "取消")


def test_a_killed_worker_shows_in_the_box_and_the_next_run_clears_it(worker: Worker, texts: Texts) -> None:
    task = [tasks.never_asks]
    view = JobView(worker, lambda: worker.run(task[0]), texts=texts)
    view.run()
    while worker.job is None or worker.job.state != "running":
        time.sleep(0.01)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.job.wait(5)
    assert [child.text for child in view.error_box.children][:3] == [
        "The worker was ended from outside",
        "Rule: worker-died",
        "the worker was ended by signal 9 (SIGKILL)",
    ]
    task[0] = tasks.calls_kept
    job = view.run()
    assert job is not None
    job.wait(20)
    assert view.error_box.note is None
    assert re.fullmatch(r"Done in \d+\.\d s", view.status.text)


def test_what_cannot_begin_shows_in_the_box(worker: Worker, texts: Texts) -> None:
    def begin() -> Job:
        raise UsageError("write a text first")

    view = JobView(worker, begin, texts=texts)
    assert view.run() is None
    assert view.error_box.message.text == "write a text first"
    assert not view.run_button.disabled


def test_a_second_view_joins_the_running_job_with_its_parts(worker: Worker, texts: Texts) -> None:
    first = JobView(worker, lambda: worker.run(tasks.speak, pieces=6, pause_s=0.05), texts=texts)
    job = first.run()
    assert job is not None
    while not job.partials:
        time.sleep(0.01)
    heard: list[int] = []
    second = JobView(
        worker, lambda: worker.run(tasks.calls_kept), texts=texts, on_change=lambda new: heard.append(len(new.partials))
    )
    assert second.join() is job
    assert not second.cancel_button.disabled
    job.wait(20)
    assert sum(heard) == 6
    assert first.status.text == second.status.text


def test_views_that_are_closed_leave_nothing_behind(worker: Worker, texts: Texts) -> None:
    def show() -> None:
        view = JobView(worker, lambda: worker.run(tasks.calls_kept), texts=texts)
        job = view.run()
        assert job is not None
        job.wait(20)
        view.close()

    held = len(_instances)
    show()
    assert len(_instances) == held
    assert texts._listeners == []
