"""Step 1, this machine: the doctor as lights, each with its reason, its fix, and a second look."""

from __future__ import annotations

from typing import ClassVar

from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Job
from toolkit.widgets.setup.lights import Lights
from toolkit.widgets.setup.looking import look, look_again
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.step import Step

__all__ = ["MachineStep"]


class MachineStep(Step):
    """Done once the machine was looked at; what fails is told, and does not hold up who wants to go on."""

    key: ClassVar[str] = "machine"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        worker = session.worker("look")
        self.job_view = JobView(
            worker, lambda: worker.run(look), label="setup.machine.check", texts=self.texts, on_end=self._take
        )
        self.lights = Lights(self.texts, self.check_again)
        self.show_controls(self.job_view, self.lights)

    def enter(self) -> None:
        """Show what was found last time."""
        report = self.session.answer(self.key).get("report")
        if report is not None:
            self.lights.show(report)

    def check_again(self, row: str) -> None:
        """Look once more at what one light depends on."""
        worker, report = self.session.worker("look"), self.session.answer(self.key)["report"]
        self.error_box.guard(lambda: self.job_view.show(worker.run(look_again, report=report, row=row)))

    def _take(self, job: Job) -> None:
        if job.state != "done":
            return
        report = job.result
        self.lights.show(report)
        self.error_box.guard(lambda: self.session.finish(self.key, {"card": report["card"], "report": report}))
