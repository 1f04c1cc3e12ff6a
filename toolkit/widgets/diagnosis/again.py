"""Check again: after a cure, a new log or recording of the same action, and whether the cause is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ipywidgets import Layout, Text, Textarea

from toolkit.doctor.wording import percent
from toolkit.errors import UsageError
from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.diagnosis.drop_zone import DropZone
from toolkit.widgets.diagnosis.given import Given, told_of
from toolkit.widgets.diagnosis.tasks import check_again
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Job, Worker
from toolkit.widgets.languages import Texts

__all__ = ["AgainPanel"]

_COMMAND = ": qwen-audio recheck SAVED NEW.log"
"""What the command line adds to its advice; here the log is pasted above."""
_COLOURS = {"solved": "ok", "not-solved": "error", "unclear": "warn"}


def _wide() -> Layout:
    return Layout(width="98%")


class AgainPanel(Panel):
    """Hidden until there is a finding. ``result`` is the JSON form of the last second look."""

    def __init__(
        self, texts: Texts, worker: Worker, finding: Callable[[], tuple[Mapping[str, Any], str] | None]
    ) -> None:
        self.texts = texts
        self.result: Mapping[str, Any] | None = None
        self._finding = finding
        self._worker = worker
        self._new = Given()
        self.log_field = labelled(Textarea(rows=3, layout=_wide()), texts, "diagnosis.again.log")
        texts.follow(self.log_field, "diagnosis.again.log.hint", "placeholder")
        self.told = labelled(Text(layout=_wide()), texts, "diagnosis.again.told")
        texts.follow(self.told, "diagnosis.told.hint", "placeholder")
        self.view = JobView(worker, self._begin, label="diagnosis.again.run", texts=texts, on_end=self._end)
        self.drop = DropZone("diagnosis.again.drop", self.take, self.view.error_box.show, texts)
        self.files = PlainText(role="status")
        self.head = PlainText(texts.say("diagnosis.again.head"), bold=True, role="heading")
        self.outcomes = {name: PlainText(colour=colour, bold=True, role="status") for name, colour in _COLOURS.items()}
        self.details = PlainText()
        super().__init__(
            (
                self.head,
                self.log_field,
                self.drop,
                self.files,
                self.told,
                self.view,
                *self.outcomes.values(),
                self.details,
            ),
            layout=boxed(),
        )
        self.follow_language(texts, self._draw)
        self._draw()

    @property
    def outcome(self) -> str:
        """``solved``, ``not-solved``, ``unclear``, or "" before a second look."""
        return str(self.result["outcome"]) if self.result is not None else ""

    def take(self, path: Path) -> None:
        """A new log or recording that was dropped."""

        def add() -> None:
            given = self._new.with_path(path)
            if given.facts or given.service:
                raise UsageError(f"{path.name}: a new log or a new recording is wanted here")
            self._new = given
            self._draw()

        self.view.error_box.guard(add)

    def reset(self) -> None:
        """For another finding: nothing new has been given."""
        self.result = None
        self._new = Given()
        self.log_field.value = self.told.value = ""
        self.drop.clear()
        self._draw()

    def show(self, job: Job) -> None:
        """A second look that was begun elsewhere."""
        self.view.show(job)

    def _begin(self) -> Job:
        found = self._finding()
        if found is None:
            raise UsageError("find a cause first; then it can be checked again")
        saved, rule = found
        new = replace(self._new, log_text=self.log_field.value)
        return self._worker.run(
            check_again, saved=saved, rule=rule, log_text=new.log_text, logs=list(new.logs), audio=list(new.audio),
            told=told_of(self.told.value),
        )  # fmt: skip

    def _end(self, job: Job) -> None:
        self.result = job.result if job.state == "done" else None
        self._draw()

    def _draw(self) -> None:
        say, result = self.texts.say, self.result
        self.layout.display = "" if self._finding() is not None else "none"
        self.head.text = say("diagnosis.again.head")
        self.files.text = "\n".join(f"• {Path(name).name}" for name in (*self._new.logs, *self._new.audio))
        for name, line in self.outcomes.items():
            line.text = ""
            if result is not None and result["outcome"] == name:
                before, now = percent(result["probability_before"]), percent(result["probability_now"])
                line.text = say(f"diagnosis.outcome.{name}", rule=result["rule"], before=before, now=now)
        lines = []
        for key in ("gone", "still", "untested") if result is not None else ():
            told = [f"• {one.removesuffix(_COMMAND)}" for one in (result or {})[key]]
            if told:
                lines += [say(f"diagnosis.seen.{key}"), *told]
        self.details.text = "\n".join(lines)
