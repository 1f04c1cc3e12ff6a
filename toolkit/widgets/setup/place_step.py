"""Step 2, another interpreter or a service folder: look at them too, or keep this Python."""

from __future__ import annotations

import sys
from typing import ClassVar

from ipywidgets import Button, HBox, Layout, Text

from toolkit.widgets.controls import PlainText, labelled
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Job
from toolkit.widgets.setup.lights import Lights
from toolkit.widgets.setup.looking import look, look_again
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.step import Step

__all__ = ["PlaceStep"]


class PlaceStep(Step):
    """Done with what was looked at, or with the Python of this notebook."""

    key: ClassVar[str] = "place"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        worker = session.worker("look")
        wide = {"width": "36em"}
        self.python = labelled(Text(placeholder=sys.executable, layout=wide), self.texts, "setup.place.python")
        self.service = labelled(Text(layout=wide), self.texts, "setup.place.service", tooltip="setup.place.service_tip")
        self.keep_button = labelled(
            Button(button_style="primary", layout=Layout(width="auto")), self.texts, "setup.place.keep"
        )
        self.job_view = JobView(
            worker,
            lambda: worker.run(look, python=self.python.value, service=self.service.value),
            label="setup.place.look",
            texts=self.texts,
            on_end=self._take,
        )
        self.lights = Lights(self.texts, self.check_again)
        self.told = PlainText(role="status")
        self.keep_button.on_click(lambda _: self.keep())
        self.show_controls(HBox((self.keep_button,)), self.python, self.service, self.job_view, self.told, self.lights)

    def enter(self) -> None:
        """Show what was answered."""
        answer = self.session.answer(self.key)
        if answer:
            self.python.value, self.service.value = answer["python"], answer["service"]
            if answer.get("report"):
                self.lights.show(answer["report"])
        self.write()

    def write(self) -> None:
        """Say which Python the start script will use."""
        answer = self.session.answer(self.key)
        if not answer:
            self.told.text = ""
            return
        key = "setup.place.uses" if answer["can_speak"] else "setup.place.cannot"
        self.told.text = self.texts.say(key, python=answer["interpreter"], own=sys.executable)

    def keep(self) -> None:
        """Stay with the Python of this notebook, and no service."""
        self.python.value = self.service.value = ""
        answer = {"python": "", "service": "", "interpreter": sys.executable, "can_speak": True}
        self.error_box.guard(lambda: self.session.finish(self.key, answer))
        self.write()

    def check_again(self, row: str) -> None:
        """Look once more at what one light depends on."""
        worker, answer = self.session.worker("look"), self.session.answer(self.key)
        place = {"python": answer["python"], "service": answer["service"]}
        self.error_box.guard(
            lambda: self.job_view.show(worker.run(look_again, report=answer["report"], row=row, **place))
        )

    def _take(self, job: Job) -> None:
        if job.state != "done":
            return
        report, given = job.result, job.arguments
        self.lights.show(report)
        answer = {"python": given["python"], "service": given["service"], "interpreter": report["python"]}
        answer |= {"can_speak": report["can_speak"], "report": report}
        self.error_box.guard(lambda: self.session.finish(self.key, answer))
        self.write()
