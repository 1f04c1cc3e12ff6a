"""The prompt book on the page: scores, Save, Load and Export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipywidgets import Button, Checkbox, Dropdown, HBox, Layout, Text, ToggleButtons

from toolkit.errors import BadOutput, UsageError
from toolkit.tuning.book import Book, load_book, save_book, with_preference, with_score
from toolkit.widgets.controls import Panel, PlainText, labelled
from toolkit.widgets.emotion.errands import Errands
from toolkit.widgets.emotion.prompts import book_rows, carried, covering, number_of, plan_fields
from toolkit.widgets.emotion.setting import SettingPanel
from toolkit.widgets.emotion.table import PlainTable
from toolkit.widgets.emotion.tasks import export, judge
from toolkit.widgets.emotion.wording import WordingPanel
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts

__all__ = ["BookPanel"]

_SCORES = (1, 2, 3, 4, 5)
_COLUMNS = ("number", "origin", "wording", "runs", "score", "ab")


class BookPanel(Panel):
    """``book`` is the page's prompt book, None before there is one; ``report`` what was found by an effect test.

    Nothing is written before Save. Load brings the text, the voice and the wordings back into their fields.
    """

    def __init__(self, texts: Texts, errands: Errands, setting: SettingPanel, wording: WordingPanel) -> None:
        self.texts = texts
        self.book: Book | None = None
        self.report: dict[str, Any] | None = None
        self._errands = errands
        self._setting = setting
        self._wording = wording
        self._saved_at: Path | None = None
        self._listeners: list[Callable[[], None]] = []
        wide = Layout(width="320px")
        self.path = labelled(Text(value="emotion.yaml", layout=wide), texts, "emotion.book.file")
        self.replace = labelled(Checkbox(indent=False, layout=Layout(width="auto")), texts, "emotion.book.replace")
        self.save_button = labelled(Button(button_style="primary"), texts, "emotion.book.save")
        self.load_button = labelled(Button(), texts, "emotion.book.load")
        self.new_button = labelled(Button(), texts, "emotion.book.new", tooltip="emotion.book.new.tip")
        self.export_path = labelled(Text(value="emotion.csv", layout=wide), texts, "emotion.book.table")
        self.export_button = labelled(Button(), texts, "emotion.book.export")
        self.which = labelled(
            Dropdown(options=(), layout=Layout(width="min(100%, 520px)")), texts, "emotion.book.which"
        )
        self.score = labelled(ToggleButtons(options=_SCORES, value=None, style={"button_width": "44px"}), texts,
                              "emotion.score")  # fmt: skip
        self.note = labelled(Text(layout=wide), texts, "emotion.note")
        self.score_button = labelled(Button(), texts, "emotion.score.give")
        self.status = PlainText(role="status")
        self.error_box = ErrorBox(texts)
        self.table = PlainTable()
        row = Layout(flex_flow="row wrap", align_items="center")
        super().__init__((
            HBox((self.path, self.save_button, self.load_button, self.new_button, self.replace), layout=row),
            HBox((self.export_path, self.export_button), layout=row), self.status, self.error_box, self.table,
            HBox((self.which, self.score, self.note, self.score_button), layout=row),
        ))  # fmt: skip
        for button, action in (
            (self.save_button, self.save), (self.load_button, self.load), (self.export_button, self.export),
            (self.new_button, self.begin_anew), (self.score_button, self.give_score),
        ):  # fmt: skip
            button.on_click(lambda _, action=action: self.error_box.guard(action))
        wording.on_change(self._write)
        self.follow_language(texts, self._write)
        self._write()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this when there is another book or report."""
        self._listeners.append(listener)

    def take(self, book: Book, report: dict[str, Any] | None) -> None:
        """Show a book that an effect test made; what people thought so far stays. One of precisions is shown alone."""
        if book.plan.kind == "emotion":
            self.book = carried(self.book, book)
        else:
            self.book = book if self.book is None or not (self.book.scores or self.book.preferences) else self.book
        self.report = report
        self._tell()

    def record(
        self, text: str, model: str, scores: list[tuple[str, int]], better: tuple[str, str] | None, note: str
    ) -> None:
        """Keep what a person thought of wordings of this text. Raises UsageError where the book is of another."""
        fields = {**self._fields(), "text": text.strip(), "model": model}
        book = covering(self.book, fields, [wording for wording, _ in scores])
        for wording, score in scores:
            book = with_score(book, self._number(book, wording), score, note)
        if better is not None and better[0] != better[1]:
            book = with_preference(book, self._number(book, better[0]), self._number(book, better[1]), note)
        self.book = book
        self._tell()

    def give_score(self) -> None:
        """What Give score does."""
        if self.which.value is None or self.score.value is None:
            raise UsageError("choose a wording and a score from 1 to 5 first")
        self.record(
            self._setting.text.value, self._setting.arguments()["model"], [(self.which.value, int(self.score.value))],
            None, self.note.value,
        )  # fmt: skip
        self.score.value = None
        self.note.value = ""

    def save(self) -> Path:
        """Write the book. Raises UsageError without one, BadOutput where another book lies."""
        if self.book is None:
            self.book = covering(None, self._fields(), ())
        path = self._path(self.path.value)
        if path.exists() and path != self._saved_at and not self.replace.value:
            raise BadOutput(f"{path} exists; give another name, or tick the box that lets it be replaced")
        save_book(self.book, path)
        self._saved_at = path
        self._tell()
        self.status.text = self.texts.say("emotion.book.saved", path=path)
        return path

    def load(self) -> None:
        """Read a book and set the fields as it says. Raises UsageError for what is no book."""
        path = self._path(self.path.value)
        book = load_book(path)
        self.book, self.report, self._saved_at = book, None, path
        plan = book.plan
        self._setting.choose(speaker=plan.speaker, language=plan.language, text=plan.text, model=plan.model)
        self._wording.choose(plan.instruction, tuple(one.instruction for one in plan.variants[1:]))
        self._tell()
        self.status.text = self.texts.say("emotion.book.loaded", path=path)
        if book.trials:
            self._errands.ask("judge", judge, {"book": book.model_dump_json()}, self._judged, self.error_box.show)

    def export(self) -> None:
        """Write a row a trial as CSV or Parquet, beside the kernel. Raises UsageError without trials."""
        if self.book is None or not self.book.trials:
            raise UsageError("there are no trials to export; run an effect test first, or load a book that has some")
        path = self._path(self.export_path.value)
        if path.exists() and not self.replace.value:
            raise BadOutput(f"{path} exists; give another name, or tick the box that lets it be replaced")
        arguments = {"book": self.book.model_dump_json(), "path": str(path)}
        self._errands.ask("export", export, arguments, self._exported, self.error_box.show)

    def begin_anew(self) -> None:
        """Forget the book on the page; its file stays."""
        self.book, self.report, self._saved_at = None, None, None
        self.status.text = ""
        self._tell()

    def close(self) -> None:
        """Take it off the page."""
        self._listeners.clear()
        super().close()

    def _fields(self) -> dict[str, Any]:
        wording = self._wording
        if not wording.variants:
            raise UsageError("there is no instruction yet; write one above")
        return plan_fields(self._setting.arguments(), wording.instruction.value, wording.variants[1:])

    def _path(self, name: str) -> Path:
        if not name.strip():
            raise UsageError("the name of the file is empty")
        return Path(name.strip()).expanduser().absolute()

    def _number(self, book: Book, wording: str) -> int:
        number = number_of(book, wording)
        if number is None:
            raise UsageError(f"the book has no wording {wording!r}")
        return number

    def _judged(self, report: dict[str, Any]) -> None:
        self.report = report
        self._tell()

    def _exported(self, path: str) -> None:
        self.status.text = self.texts.say("emotion.book.exported", path=path)

    def _tell(self) -> None:
        self._write()
        for listener in list(self._listeners):
            listener()

    def _write(self) -> None:
        say, book = self.texts.say, self.book
        before = self.which.value
        variants = book.plan.variants if book is not None else self._wording.variants
        wordings = [one.instruction for one in variants]
        self.which.options = [(one or say("emotion.plain"), one) for one in wordings]
        self.which.value = before if before in wordings else (wordings[-1] if wordings else None)
        if book is None:
            self.table.show((), ())
            return
        caption = say("emotion.book.caption", text=book.plan.text, model=book.plan.model)
        self.table.show([say(f"emotion.column.{one}") for one in _COLUMNS], book_rows(book, self.texts), caption)
