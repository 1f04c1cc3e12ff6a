"""The bundle to attach to an issue: a preview with what was removed, and the button that writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ipywidgets import Button, Checkbox, Layout, Text

from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.diagnosis.given import Given
from toolkit.widgets.diagnosis.tasks import make_bundle
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Job, Worker
from toolkit.widgets.languages import Texts

__all__ = ["BundlePanel"]


class BundlePanel(Panel):
    """A preview first; Write then writes the same again. ``result`` is what :func:`make_bundle` returned."""

    def __init__(self, texts: Texts, worker: Worker, given: Callable[[], Given]) -> None:
        self.texts = texts
        self.result: Mapping[str, Any] | None = None
        self._given = given
        self._worker = worker
        self._writes = False
        self.head = PlainText(bold=True, role="heading")
        self.file = labelled(
            Text(value="qwen-audio-bundle.zip", layout=Layout(width="98%")), texts, "diagnosis.bundle.file"
        )
        self.doctor = labelled(Checkbox(value=True, indent=False), texts, "diagnosis.bundle.doctor")
        self.view = JobView(worker, self._begin, label="diagnosis.bundle.preview", texts=texts, on_end=self._end)
        self.view.run_button.layout.width = "auto"
        self.write_button = labelled(Button(disabled=True), texts, "diagnosis.bundle.write")
        self.write_button.layout.width = "auto"
        self.write_button.on_click(lambda _: self.write())
        self.written = PlainText(colour="ok", role="status")
        self.contents = PlainText(mono=True)
        self.warning = PlainText(colour="dim")
        super().__init__(
            (
                self.head,
                self.doctor,
                self.view,
                self.contents,
                self.warning,
                self.file,
                self.write_button,
                self.written,
            ),
            layout=boxed(),
        )
        self.follow_language(texts, self._draw)
        self._draw()

    def write(self) -> Job | None:
        """What Write does: make it once more, and write it under the name; a name that is taken is refused."""
        self._writes = True
        job = self.view.run()
        self._writes = False
        return job

    def show(self, job: Job) -> None:
        """A bundle that was begun elsewhere."""
        self.view.show(job)

    def _begin(self) -> Job:
        path = str(Path(self.file.value.strip() or "qwen-audio-bundle.zip").expanduser().absolute())
        given = self._given().to_json()
        return self._worker.run(make_bundle, given=given, doctor=self.doctor.value, path=path if self._writes else "")

    def _end(self, job: Job) -> None:
        self.result = job.result if job.state == "done" else self.result
        self._draw()

    def _draw(self) -> None:
        say, result = self.texts.say, self.result
        self.head.text = say("diagnosis.bundle.head")
        self.write_button.disabled = result is None
        if result is None:
            self.contents.text = self.warning.text = self.written.text = ""
            return
        lines = [say("diagnosis.bundle.contents")]
        lines += [f"  {name}  {size:,}" for name, size in sorted(result["files"].items())]
        removed = [f"  {one['rule']}  × {one['count']}" for one in result["removed"]]
        lines += [say("diagnosis.bundle.removed"), *(removed or ["  0"])]
        self.contents.text = "\n".join(lines)
        not_redacted = [f"• {one}" for one in result["not_redacted"]]
        self.warning.text = "\n".join([say("diagnosis.bundle.not_redacted"), *not_redacted])
        self.written.text = say("diagnosis.bundle.written", path=result["written"]) if result["written"] else ""
