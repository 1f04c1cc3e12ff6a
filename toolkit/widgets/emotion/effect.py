"""The effect test: does a wording do more than chance, and does a precision change the voice."""

from __future__ import annotations

from typing import Any

from ipywidgets import Dropdown, HBox, IntSlider, Layout

from toolkit.errors import UsageError
from toolkit.tuning.book import Book
from toolkit.widgets.controls import Panel, PlainText, labelled
from toolkit.widgets.emotion.booking import BookPanel
from toolkit.widgets.emotion.prompts import answer_rows, check_rows, covering, plan_fields
from toolkit.widgets.emotion.setting import SettingPanel
from toolkit.widgets.emotion.table import PlainTable
from toolkit.widgets.emotion.tasks import try_effect
from toolkit.widgets.emotion.wording import WordingPanel
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Job, Worker
from toolkit.widgets.jobs.folder import jobs_root
from toolkit.widgets.languages import Texts

__all__ = ["EffectPanel"]

_QUESTIONS = ("emotion", "precision")
_WORDINGS = ("place", "number", "wording", "reached", "did")
_MEASURES = ("measure", "precision", "difference", "spread", "p", "verdict")
_CHECKS = ("number", "quantity", "asked", "measured", "verdict")


class EffectPanel(Panel):
    """``seeds`` and ``question`` are fields, ``view`` holds Run and Cancel, ``answers`` and ``checks`` are tables."""

    def __init__(
        self, texts: Texts, worker: Worker, setting: SettingPanel, wording: WordingPanel, book: BookPanel
    ) -> None:
        self.texts = texts
        self._setting = setting
        self._wording = wording
        self._book = book
        self.question = labelled(Dropdown(options=_QUESTIONS, layout=Layout(width="480px")), texts, "emotion.question")
        self.seeds = labelled(IntSlider(value=8, min=3, max=16, layout=Layout(width="380px")), texts, "emotion.seeds",
                              tooltip="emotion.seeds.tip")  # fmt: skip
        self.view = JobView(
            worker, lambda: worker.run(try_effect, plan=self.plan(), folder=str(jobs_root().parent / "trials")),
            label="emotion.test", texts=texts, on_end=self._end,
        )  # fmt: skip
        self.about = PlainText(colour="dim")
        self.answers = PlainTable()
        self.checks = PlainTable()
        super().__init__((
            self.about, HBox((self.question, self.seeds), layout=Layout(flex_flow="row wrap")), self.view,
            self.answers, self.checks,
        ))  # fmt: skip
        self.question.observe(lambda _: self._write(), "value")
        self.seeds.observe(lambda _: self._write(), "value")
        book.on_change(self._write)
        wording.on_change(self._write)
        self.follow_language(texts, self._write)
        self._write()

    def plan(self) -> dict[str, Any]:
        """The fields of the plan. Raises UsageError where nothing is chosen, or the page's book would be lost."""
        setting = self._setting.arguments()
        precision = self._setting.precision.value
        more = {"seeds": int(self.seeds.value), "first_seed": int(self._setting.seed.value)}
        if not setting["text"].strip():
            raise UsageError("there is no text to speak; write a sentence into the field above")
        if self.question.value == "precision":
            fields = plan_fields(setting, "", (), precisions=["float32", "bfloat16"], **more)
            return {**fields, "kind": "precision"}
        chosen = self._wording.chosen()
        if not chosen:
            raise UsageError("no wording is ticked; tick those to be tested above")
        instruction = self._wording.instruction.value
        covering(self._book.book, plan_fields(setting, instruction, chosen), ())  # refuses what would be lost
        return plan_fields(setting, instruction, chosen, precisions=[precision], **more)

    def _end(self, job: Job) -> None:
        if job.state == "done":
            self._book.take(Book.model_validate_json(job.result["book"]), job.result["report"])

    def _write(self) -> None:
        say, chosen = self.texts.say, self.question.value
        self.question.options = [(say(f"emotion.question.{one}"), one) for one in _QUESTIONS]
        self.question.value = chosen
        sides = 2 if chosen == "precision" else 1 + len(self._wording.chosen())
        self.about.text = say("emotion.test.about", runs=sides * int(self.seeds.value))
        report = self._book.report
        if report is None:
            self.answers.show((), ())
            self.checks.show((), ())
            return
        names = _MEASURES if report["kind"] == "tune-precision" else _WORDINGS
        self.answers.show([say(f"emotion.column.{one}") for one in names], answer_rows(report, self.texts))
        self.checks.show([say(f"emotion.column.{one}") for one in _CHECKS], check_rows(report, self.texts))
