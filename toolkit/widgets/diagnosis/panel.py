"""The page of the symptom diagnosis: give, find, answer, cure, check again, attach; one worker does the long work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipywidgets import Accordion, Layout

from toolkit.widgets.controls import Panel
from toolkit.widgets.diagnosis import tasks
from toolkit.widgets.diagnosis.again import AgainPanel
from toolkit.widgets.diagnosis.bundle import BundlePanel
from toolkit.widgets.diagnosis.findings import FindingsPanel
from toolkit.widgets.diagnosis.fix import FixPanel
from toolkit.widgets.diagnosis.given import Given
from toolkit.widgets.diagnosis.inputs import InputPanel
from toolkit.widgets.diagnosis.question import QuestionPanel
from toolkit.widgets.diagnosis.sounds import SoundsPanel
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Change, Job, Worker, join
from toolkit.widgets.languages import Texts, language_switch, shared_texts

__all__ = ["SymptomDiagnosis", "symptom_diagnosis"]


class SymptomDiagnosis(Panel):
    """All of it; ``page`` is the last diagnosis: ``saved`` (its JSON) and ``shown`` (what a page needs besides)."""

    def __init__(self, worker: Worker, texts: Texts | None = None) -> None:
        self.texts = texts or shared_texts()
        self.page: Mapping[str, Any] | None = None
        self.place = 0
        self._worker = worker
        self._answers: dict[str, str] = {}
        self._asked = Given()
        self.inputs = InputPanel(self.texts)
        self.view = JobView(
            worker, self._begin, label="diagnosis.find", texts=self.texts, on_change=self._hear, on_end=self._end
        )
        self.view.run_button.layout.width = "auto"
        self.findings = FindingsPanel(self.texts, self.choose)
        self.question = QuestionPanel(self.texts, self.answer)
        self.sounds = SoundsPanel(self.texts)
        self.fix = FixPanel(self.texts, self._forget_outcome)
        self.again = AgainPanel(self.texts, worker, self._finding)
        self.bundle = BundlePanel(self.texts, worker, self._given_now)
        self.more = Accordion((self.bundle,), selected_index=None)
        super().__init__(
            (
                language_switch(self.texts), self.inputs, self.view, self.findings, self.question, self.sounds,
                self.fix, self.again, self.more,
            ),
            layout=Layout(grid_gap="8px", max_width="1000px"),
        )  # fmt: skip
        self.add_class("qwen-audio-diagnosis")
        self.follow_language(self.texts, self._title)
        self._title()

    def find(self) -> Job | None:
        """What Find the cause does, with the answers so far when nothing else was changed."""
        return self.view.run()

    def answer(self, question: str, value: str) -> Job | None:
        """Answer a question and find again."""
        self._answers = {**self._answers, question: value}
        return self.view.run()

    def choose(self, place: int) -> None:
        """Show the cure of the finding at this place."""
        self.place = place
        self.again.reset()
        self.fix.show(self.page, place, self._asked.service)

    def join(self) -> Job | None:
        """Show the last job again: it may still run, have ended, or be left from before a restart of the kernel."""
        job = join(self._worker)
        if job is None:
            return None
        name = job.task.rpartition(":")[2]
        if name == tasks.find_cause.__name__:
            self._asked = Given.from_json(job.arguments["given"])
            self._answers = dict(self._asked.answers)
            self.inputs.show(self._asked)
            self.view.show(job)
            if job.finished:
                self._end(job)
        return job

    def close(self) -> None:
        """Take it off the page."""
        for part in (self.inputs, self.view, self.findings, self.question, self.sounds, self.fix, self.again):
            part.close()
        self.bundle.close()
        super().close()

    def _begin(self) -> Job:
        given = self.inputs.given()
        if _without_answers(given) != _without_answers(self._asked):
            self._answers = {}  # they were about another case
        self._asked = Given.from_json({**given.to_json(), "answers": self._answers})
        job = self._worker.run(tasks.find_cause, given=self._asked.to_json())
        self._show_page(None)
        return job

    def _hear(self, change: Change) -> None:
        for part in change.partials:
            if part.name == "report":
                self._show_page(part.value)
            elif part.name == "sound":
                self.sounds.add(part.value)

    def _end(self, job: Job) -> None:
        if job.state == "done" and self.page is None:  # joined after a restart: there are no parts any more
            self._show_page(job.result["report"])
            self.sounds.show(job.result["sounds"])

    def _show_page(self, page: Mapping[str, Any] | None) -> None:
        self.page, self.place = page, 0
        has_finding = page is not None and bool(page["saved"]["findings"])
        self.findings.show(page)
        self.question.show(page)
        self.sounds.show(())
        self.fix.show(page if has_finding else None, 0, self._asked.service)
        self.again.reset()

    def _finding(self) -> tuple[Mapping[str, Any], str] | None:
        if self.page is None or not self.page["saved"]["findings"]:
            return None
        return self.page["saved"], self.page["saved"]["findings"][self.place]["rule"]

    def _given_now(self) -> Given:
        return Given.from_json({**self.inputs.given().to_json(), "answers": self._answers})

    def _forget_outcome(self) -> None:
        self.again.reset()

    def _title(self) -> None:
        self.more.set_title(0, self.texts.say("diagnosis.bundle.head"))


def symptom_diagnosis(texts: Texts | None = None) -> SymptomDiagnosis:
    """The page, with the last diagnosis of this notebook where there is one."""
    made = SymptomDiagnosis(Worker.named("diagnosis"), texts)
    made.join()
    return made


def _without_answers(given: Given) -> dict[str, Any]:
    return {**given.to_json(), "answers": {}}
