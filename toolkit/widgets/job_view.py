"""A job on the page: the button that begins it, how far it is, Cancel, and its error; shown anew, it joins the job."""

from __future__ import annotations

from collections.abc import Callable

from ipywidgets import Button, FloatProgress, HBox, Layout

from toolkit.widgets.controls import COLOURS, Panel, PlainText, labelled
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.jobs import Change, ErrorNote, Job, Worker, join
from toolkit.widgets.languages import Texts, shared_texts

__all__ = ["JobView"]


class JobView(Panel):
    """Run and Cancel, a bar, one line of status and the error box, for the jobs of one worker.

    ``begin`` starts the work (``lambda: worker.run(task, ...)``) when Run is pressed; what it raises is shown in the
    box. ``on_change`` hears all progress and partial results, ``on_end`` the finished job, both in the kernel's loop.
    Never blocks.
    """

    def __init__(
        self,
        worker: Worker,
        begin: Callable[[], Job],
        *,
        label: str = "job.run",
        texts: Texts | None = None,
        on_change: Callable[[Change], None] | None = None,
        on_end: Callable[[Job], None] | None = None,
    ) -> None:
        self.texts = texts or shared_texts()
        self.job: Job | None = None
        self._worker = worker
        self._begin = begin
        self._on_change = on_change
        self._on_end = on_end
        self._stop_listening: Callable[[], None] = lambda: None
        self.run_button = labelled(Button(button_style="primary"), self.texts, label)
        self.cancel_button = labelled(Button(disabled=True), self.texts, "job.cancel", tooltip="job.cancel.tip")
        self.bar = FloatProgress(min=0.0, max=1.0, layout=Layout(width="240px", visibility="hidden"))
        self.bar.style.bar_color = COLOURS["accent"]
        self.texts.follow(self.bar, "job.progress", "tooltip")
        self.status = PlainText(role="status")
        self.error_box = ErrorBox(self.texts)
        row = HBox(
            (self.run_button, self.cancel_button, self.bar, self.status),
            layout=Layout(align_items="center", flex_flow="row wrap"),
        )
        super().__init__((row, self.error_box))
        self.add_class("qwen-audio-job")
        self.run_button.on_click(lambda _: self.run())
        self.cancel_button.on_click(lambda _: self.cancel())
        self.follow_language(self.texts, self._write)

    def run(self) -> Job | None:
        """What Run does. Returns the job, or None when it could not begin and the box says why."""
        begun: list[Job] = []
        if not self.error_box.guard(lambda: begun.append(self._begin())):
            return None
        self.show(begun[0])
        return begun[0]

    def cancel(self) -> None:
        """What Cancel does."""
        if self.job is not None:
            self.job.cancel()

    def show(self, job: Job) -> None:
        """Show a job that was begun elsewhere, with all that has come so far."""
        self._stop_listening()
        self.job = job
        self.error_box.clear()
        self._stop_listening = job.listen(self._hear)

    def join(self) -> Job | None:
        """Show the worker's last job again: it may still run, have ended, or be left from before a restart."""
        job = join(self._worker)
        if job is not None:
            self.show(job)
        return job

    def close(self) -> None:
        """Take it off the page; the job goes on."""
        self._stop_listening()
        super().close()

    def _hear(self, change: Change) -> None:
        self._write()
        if self._on_change is not None:
            self._on_change(change)
        if change.job.finished and self._on_end is not None:
            self._on_end(change.job)

    def _write(self) -> None:
        job = self.job
        if job is None:
            return
        self.run_button.disabled = not job.finished
        self.cancel_button.disabled = job.finished or job.state == "cancelling"
        self.bar.layout.visibility = "hidden" if job.finished else "visible"
        self.bar.value = job.progress.fraction or 0.0
        told = self.texts.tell(job.progress.text, job.progress.values)
        state = self.texts.say(f"job.state.{job.state}", seconds=f"{job.elapsed_s:.1f}")
        self.status.text = told if job.state == "running" and told else state
        error = job.error
        if job.state == "interrupted":
            error = ErrorNote("Interrupted", self.texts.say("job.interrupted"))
        if error is not None and self.error_box.note != error:
            self.error_box.show(error)
