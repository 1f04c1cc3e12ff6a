"""Step 7: write config.yaml and a start script, and sum up all that was chosen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

from ipywidgets import Checkbox, GridBox, Layout

from toolkit.widgets.controls import PlainText, boxed, close_parts, labelled
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Job
from toolkit.widgets.setup.sentence_step import proof_lines
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.step import Step
from toolkit.widgets.setup.writing import write_setup

__all__ = ["WritingStep", "config_of", "summary_rows"]


def config_of(session: Session) -> dict[str, Any]:
    """The settings of config.yaml with their reasons, from the answers."""
    model, limits, sentence = session.answer("model"), session.answer("limits"), session.answer("sentence")
    precision = session.answer("precision")
    name = model["model"] if model["model"] == "pocket" else model["folder"]
    config: dict[str, Any] = {
        "schema": 1,
        "model": name if model.get("source") == "modelscope" else model["model"],
        "device": session.card.choose_device(),
        "precision": precision["precision"],
        "audio_chunk_size": limits["audio_chunk_size"],
        "max_text_length": limits["max_text_length"],
        "batch": limits["batch"],
        "text_table": limits["text_table"],
        "language": sentence["language"],
        "enable_cleanup": limits["enable_cleanup"],
        "why": {"precision": f"{precision['value']}: {precision['reason']}"},
    }
    if sentence["speaker"]:
        config["speaker"] = sentence["speaker"]
    if limits["preset"]:
        config["why"] |= dict.fromkeys(("audio_chunk_size", "max_text_length", "batch"), limits["preset"])
    if limits["need_bytes"] is not None:
        memory = session.card.memory_bytes / 1e9
        told = f"forecast: {limits['need_bytes'] / 1e9:.2f} GB of {memory:.1f} GB"
        config["why"].setdefault("audio_chunk_size", told)
    return config


def summary_rows(session: Session) -> list[list[str]]:
    """Label and value of all that was chosen, in the language of the texts."""
    say, card = session.texts.say, session.card
    machine, model, limits = session.answer("machine"), session.answer("model"), session.answer("limits")
    precision, sentence, place = session.answer("precision"), session.answer("sentence"), session.answer("place")
    bad = [row["title"] for row in machine["report"]["rows"] if row["verdict"] in ("fail", "crashed", "timed-out")]
    memory = f"{card.memory_bytes / 1e9:.1f}"
    where = say(f"setup.summary.{card.device}", name=card.name, memory=memory)
    need = limits["need_bytes"]
    told = sentence["told"]
    return [
        [say("setup.summary.machine"), where],
        [say("setup.summary.doctor"), machine["report"]["tier"]],
        [say("setup.summary.open"), ", ".join(bad) or say("setup.summary.nothing")],
        [say("setup.summary.python"), python_of(session)],
        [say("setup.summary.service"), place["service"] or "-"],
        [say("setup.summary.model"), f"{model['name']} ({model['kind']}): {model['folder']}"],
        [say("setup.summary.precision"), f"{precision['value']}: {precision['reason']}"],
        [
            say("setup.summary.limits"),
            f"audio_chunk_size {limits['audio_chunk_size']}, max_text_length {limits['max_text_length']}, "
            f"batch {limits['batch']}, enable_cleanup {str(limits['enable_cleanup']).lower()}",
        ],
        [say("setup.summary.forecast"), "-" if need is None else f"{need / 1e9:.2f} GB / {memory} GB"],
        [say("setup.summary.sentence"), f"{told['text']} ({sentence['speaker'] or model['kind']})"],
        *([say("setup.summary.proof"), line] for line in proof_lines(session, told)),
    ]


def python_of(session: Session) -> str:
    """The interpreter of the start script: the one that was chosen when it has the toolkit, else this one."""
    place = session.answer("place")
    return str(place["interpreter"]) if place["python"] and place["can_speak"] else sys.executable


class WritingStep(Step):
    """Done when the files are written. Shows the summary of all answers, before and after."""

    key: ClassVar[str] = "writing"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        worker = session.worker("write")
        self.rows = GridBox(
            layout=Layout(grid_template_columns="minmax(8em, 14em) 1fr", grid_gap="2px 12px", **_frame())
        )
        self.overwrite = labelled(
            Checkbox(indent=False, layout=Layout(width="auto")), self.texts, "setup.writing.overwrite"
        )
        self.job_view = JobView(
            worker,
            lambda: worker.run(
                write_setup,
                folder=str(self.session.folder),
                config=config_of(self.session),
                python=python_of(self.session),
                summary=self._summary(),
                overwrite=self.overwrite.value,
            ),
            label="setup.writing.write",
            texts=self.texts,
            on_end=self._take,
        )
        self.told = PlainText(role="status", bold=True)
        self.command = PlainText(mono=True)
        self.config = PlainText(mono=True, colour="dim")
        self.show_controls(self.rows, self.overwrite, self.job_view, self.told, self.command, self.config)

    def enter(self) -> None:
        """Sum up."""
        self.overwrite.value = (self.session.folder / "config.yaml").exists() and self.is_done
        self.write()

    def write(self) -> None:
        """Write the summary in the language of the texts."""
        if not self.session.record.is_open(self.key):
            return
        old = self.rows.children
        self.rows.children = [
            PlainText(text, colour="dim" if place == 0 else "text", bold=place == 0)
            for row in summary_rows(self.session)
            for place, text in enumerate(row)
        ]
        for part in old:
            close_parts(part)
            part.close()
        answer, say = self.session.answer(self.key), self.texts.say
        self.told.text = say("setup.writing.done", files=", ".join(answer["files"])) if answer else ""
        self.command.text = answer.get("command", "")
        self.config.text = answer.get("config", "")

    def _summary(self) -> dict[str, Any]:
        say = self.texts.say
        return {
            "title": say("setup.summary.title"),
            "subtitle": str(Path(self.session.folder).resolve()),
            "columns": [say("setup.summary.what"), say("setup.summary.chosen")],
            "rows": summary_rows(self.session),
            "next": say("setup.writing.try"),
        }

    def _take(self, job: Job) -> None:
        if job.state != "done":
            return
        self.error_box.guard(lambda: self.session.finish(self.key, job.result))
        self.overwrite.value = True
        self.write()


def _frame() -> dict[str, Any]:
    layout = boxed()
    frame = {"border": layout.border_top, "padding": layout.padding, "margin": layout.margin}
    layout.close()
    return frame
