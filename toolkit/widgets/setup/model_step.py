"""Step 3, the model: which of the published ones suits the card, where it comes from, and whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ipywidgets import HBox, Layout, RadioButtons, Text, ToggleButtons, VBox

from toolkit.errors import UsageError
from toolkit.widgets.controls import PlainText, close_parts, labelled
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Job
from toolkit.widgets.setup.fetching import fetch
from toolkit.widgets.setup.planning import suit
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.step import Step

__all__ = ["ModelStep"]

_FOLDER = "folder"
_COLOURS = {"fits": "ok", "tight": "warn", "too-big": "error"}
_CHOICES = (
    "pocket",
    "0.6B-Base",
    "0.6B-CustomVoice",
    "1.7B-Base",
    "1.7B-CustomVoice",
    "1.7B-VoiceDesign",
)


class ModelStep(Step):
    """Done once a model is on this machine and all its files are right."""

    key: ClassVar[str] = "model"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        plan, worker = session.worker("plan"), session.worker("fetch")
        self._fit: Mapping[str, Any] | None = None
        self.fit_view = JobView(
            plan,
            lambda: plan.run(suit, card=self.session.card.to_json()),
            label="setup.model.weigh",
            texts=self.texts,
            on_end=self._take_fit,
        )
        self.fits = VBox()
        self.choice = labelled(RadioButtons(layout=Layout(width="auto")), self.texts, "setup.model.which")
        self.source = labelled(ToggleButtons(), self.texts, "setup.model.source")
        self.folder = labelled(Text(layout=Layout(width="36em")), self.texts, "setup.model.folder")
        self.fetch_view = JobView(worker, self._begin, label="setup.model.get", texts=self.texts, on_end=self._take)
        self.texts.follow(self.fetch_view.cancel_button, "setup.model.pause")
        self.texts.follow(self.fetch_view.cancel_button, "setup.model.pause_tip", "tooltip")
        self.told = PlainText(role="status")
        self.files = PlainText(mono=True)
        self.choice.observe(lambda _: self._fold(), "value")
        self.write()
        self.show_controls(
            self.fit_view,
            self.fits,
            HBox((self.choice,)),
            self.source,
            self.folder,
            self.fetch_view,
            self.told,
            self.files,
        )

    @property
    def wanted(self) -> str:
        """The model as :func:`toolkit.load` takes it."""
        return str(self.folder.value).strip() if self.choice.value == _FOLDER else str(self.choice.value)

    def enter(self) -> None:
        """Weigh the models against the card, once."""
        answer = self.session.answer(self.key)
        if answer:
            name = answer["model"]
            self.choice.value = name if name in _CHOICES else _FOLDER
            self.folder.value = "" if name in _CHOICES else name
            self.source.value = answer.get("source", "hf")
        if self._fit is None and not self.session.worker("plan").busy:
            self.fit_view.run()
        self.write()

    def write(self) -> None:
        """Write options, the table and what was chosen in the language of the texts."""
        say = self.texts.say
        chosen = self.choice.value
        labels = [(say(f"setup.model.is.{name}"), name) for name in _CHOICES]
        self.choice.options = [*labels, (say("setup.model.own"), _FOLDER)]
        self.choice.value = chosen or "pocket"
        source = self.source.value
        self.source.options = [(say("setup.model.hf"), "hf"), (say("setup.model.modelscope"), "modelscope")]
        self.source.value = source or "hf"
        self._write_fits()
        self._fold()
        answer = self.session.answer(self.key)
        self.told.text = self.files.text = ""
        if answer:
            self.told.text = say("setup.model.whole", name=answer["name"], folder=answer["folder"])
            self.files.text = "\n".join(
                f"{row['verdict']:<10} {row['bytes'] or 0:>15,}  {row['name']}" for row in answer["files"]
            )

    def _begin(self) -> Job:
        if not self.wanted:
            raise UsageError("no folder is given; write the path of the model's folder")
        return self.session.worker("fetch").run(fetch, model=self.wanted, source=self.source.value)

    def _take(self, job: Job) -> None:
        again = "setup.model.resume" if job.state in ("cancelled", "failed", "died") else "setup.model.get"
        self.texts.follow(self.fetch_view.run_button, again)
        if job.state == "done":
            answer = {**job.result, "source": job.arguments["source"]}
            self.error_box.guard(lambda: self.session.finish(self.key, answer))
            self.write()

    def _take_fit(self, job: Job) -> None:
        if job.state != "done":
            return
        self._fit = job.result
        if not self.session.answer(self.key):
            self.choice.value = job.result["advice"]
        self._write_fits()

    def _write_fits(self) -> None:
        if self._fit is None:
            return
        say, old = self.texts.say, self.fits.children
        memory = self.session.card.memory_bytes / 1e9
        lines = []
        for one in self._fit["models"]:
            here = say("setup.model.here") if one["here"] else say("setup.model.size", gb=_gb(one["download_bytes"]))
            told = say(f"setup.fit.{one['verdict']}", need=_gb(one["need_bytes"]), memory=f"{memory:.1f}")
            advice = say("setup.model.advice") if one["name"] == self._fit["advice"] else ""
            lines.append(
                HBox(
                    (
                        PlainText(f"● {one['name']}", colour=_COLOURS[one["verdict"]], layout=Layout(flex="0 0 13em")),
                        PlainText(told, layout=Layout(flex="0 0 22em")),
                        PlainText(here, colour="dim", layout=Layout(flex="0 0 12em")),
                        PlainText(advice, bold=True),
                    ),
                    layout=Layout(flex_flow="row wrap"),
                )
            )
        self.fits.children = lines
        for line in old:
            close_parts(line)
            line.close()

    def _fold(self) -> None:
        own, pocket = self.choice.value == _FOLDER, self.choice.value == "pocket"
        self.folder.layout.display = "" if own else "none"
        self.source.layout.display = "none" if own or pocket else ""


def _gb(count: int | None) -> str:
    return "?" if count is None else f"{count / 1e9:.1f}"
