"""How it is spoken: the instruction, linted while it is typed, with fixes to click, and the wordings to compare."""

from __future__ import annotations

from collections.abc import Callable

from ipywidgets import Button, Checkbox, HBox, Layout, Text, Textarea, VBox

from toolkit.errors import UsageError
from toolkit.tuning.book import Variant
from toolkit.tuning.linting import Finding, Lint
from toolkit.tuning.variants import variants_of
from toolkit.widgets.controls import Panel, PlainText, boxed, labelled
from toolkit.widgets.emotion.fixes import Model, fix_of
from toolkit.widgets.error_box import ErrorBox
from toolkit.widgets.languages import Texts

__all__ = ["WordingPanel"]

_MOST_FINDINGS = 6
_MOST_VARIANTS = 8
_MARKS = {"fail": "✖", "warning": "⚠", "note": "•"}
_COLOURS = {"fail": "error", "warning": "warn", "note": "dim"}
_WIDE = "min(100%, 720px)"


class WordingPanel(Panel):
    """``instruction`` is the field; ``lint`` what the linter says of it (None while it is empty or too long);
    ``variants`` the wordings, number 0 without an instruction; :meth:`chosen` those that are ticked."""

    def __init__(self, texts: Texts, model: Model | None = None) -> None:
        self.texts = texts
        self.model = model or Model()
        self.lint: Lint | None = None
        self.variants: tuple[Variant, ...] = ()
        self.further: list[str] = []
        self._before: list[str] = []
        self._listeners: list[Callable[[], None]] = []
        self._fixes: list[str | None] = [None] * _MOST_FINDINGS
        self.instruction = labelled(
            Textarea(value="very happily, a bit slower", rows=2, layout=Layout(width=_WIDE)),
            texts,
            "emotion.instruction",
        )
        self.summary = PlainText(role="status")
        self.fix_buttons = [labelled(Button(), texts, "emotion.fix") for _ in range(_MOST_FINDINGS)]
        self.findings = [PlainText() for _ in range(_MOST_FINDINGS)]
        row = Layout(flex_flow="row wrap", align_items="center")
        self._rows = [HBox(pair, layout=Layout(flex_flow="row wrap", align_items="center"))
                      for pair in zip(self.fix_buttons, self.findings, strict=True)]  # fmt: skip
        self.fix_all = labelled(Button(button_style="primary"), texts, "emotion.fix.all")
        self.undo = labelled(Button(disabled=True), texts, "emotion.undo")
        self.boxes = [Checkbox(indent=False, layout=Layout(width=_WIDE)) for _ in range(_MOST_VARIANTS)]
        self.another = labelled(Text(layout=Layout(width="420px")), texts, "emotion.another")
        self.add = labelled(Button(), texts, "emotion.add")
        self.error_box = ErrorBox(texts)
        self._title = PlainText(bold=True)
        super().__init__((
            self.instruction, HBox((self.fix_all, self.undo, self.summary), layout=row),
            VBox(tuple(self._rows), layout=boxed()), self._title, VBox(tuple(self.boxes)),
            HBox((self.another, self.add), layout=row), self.error_box,
        ))  # fmt: skip
        self.instruction.observe(lambda _: self.refresh(), "value")
        self.fix_all.on_click(lambda _: self.apply(self.lint.rewritten if self.lint else None))
        self.undo.on_click(lambda _: self.take_back())
        self.add.on_click(lambda _: self.add_wording(self.another.value))
        for at, button in enumerate(self.fix_buttons):
            button.on_click(lambda _, at=at: self.apply(self._fixes[at]))
        self.follow_language(texts, self._write)
        self.refresh()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call this when the wordings have changed."""
        self._listeners.append(listener)

    def apply(self, wording: str | None) -> None:
        """Put a better wording into the field; Undo takes it back."""
        if wording and wording != self.instruction.value:
            self._before = [*self._before[-19:], self.instruction.value]
            self.instruction.value = wording

    def take_back(self) -> None:
        """What Undo does."""
        if self._before:
            self.instruction.value = self._before.pop()
            self._write()

    def add_wording(self, wording: str) -> None:
        """A further wording to compare; what is wrong with it is shown."""
        if self.error_box.guard(lambda: self._check(wording)):
            self.further.append(wording.strip())
            self.another.value = ""
            self.refresh()

    def chosen(self) -> tuple[Variant, ...]:
        """The wordings that are ticked, number 0 apart, in their order."""
        pairs = zip(self.variants[1:], self.boxes, strict=False)
        return tuple(variant for variant, box in pairs if box.value)

    def choose(self, instruction: str, wordings: tuple[str, ...]) -> None:
        """Set the instruction and what is compared with it, as a book that was loaded does."""
        self.further = []
        self.instruction.value = instruction
        known = {variant.instruction for variant in self.variants}
        self.further = [one for one in wordings if one and one not in known][: _MOST_VARIANTS - len(self.variants) + 1]
        self.refresh()
        for variant, box in zip(self.variants[1:], self.boxes, strict=False):
            box.value = variant.instruction in wordings

    def for_model(self, model: Model) -> None:
        """Lint for another model."""
        if model != self.model:
            self.model = model
            self.refresh()

    def refresh(self) -> None:
        """Lint and word anew."""
        before = {variant.instruction: box.value for variant, box in zip(self.variants[1:], self.boxes, strict=False)}
        text = self.instruction.value
        try:
            self.lint = self.model.lint(text) if text.strip() else None
            self.variants = self._variants(text)
        except UsageError as error:
            self.lint, self.variants = None, ()
            self.error_box.show(error)
        else:
            if self.error_box.note is not None:
                self.error_box.clear()
        for at, (variant, box) in enumerate(zip(self.variants[1:], self.boxes, strict=False)):
            box.value = before.get(variant.instruction, at < 2)
        self._write()
        for listener in list(self._listeners):
            listener()

    def close(self) -> None:
        """Take it off the page."""
        self._listeners.clear()
        super().close()

    def _variants(self, text: str) -> tuple[Variant, ...]:
        if not text.strip():
            return ()
        model = self.model
        return variants_of(
            text, further=self.further, model_kind=model.kind, size=model.size, text_language=model.text_language
        )

    def _check(self, wording: str) -> None:
        if len(self.variants) > _MOST_VARIANTS:
            raise UsageError(f"{_MOST_VARIANTS} wordings are compared at most; shorten the list by a new instruction")
        self.model.lint(wording)

    def _write(self) -> None:
        say, lint = self.texts.say, self.lint
        found = lint.findings if lint else ()
        for at, (row, line) in enumerate(zip(self._rows, self.findings, strict=True)):
            finding = found[at] if at < len(found) else None
            row.layout.display = "none" if finding is None else ""
            if finding is None or lint is None:
                self._fixes[at], line.text = None, ""
                continue
            fix = fix_of(lint, finding, self.model)
            self._fixes[at] = fix
            self.fix_buttons[at].layout.visibility = "visible" if fix else "hidden"
            self.fix_buttons[at].tooltip = fix or ""
            line.text = self._told(lint, finding, fix)
        self.fix_all.disabled = lint is None or not lint.rewritten or lint.rewritten == lint.instruction
        self.undo.disabled = not self._before
        if lint is None:
            self.summary.text = say("emotion.lint.none")
        else:
            told = say(f"emotion.lint.{lint.worst or 'well'}")
            better = lint.rewritten not in ("", lint.instruction)
            self.summary.text = told + (" " + say("emotion.better", better=lint.rewritten) if better else "")
        self._title.text = say("emotion.variants") if len(self.variants) > 1 else ""
        for at, box in enumerate(self.boxes):
            there = at + 1 < len(self.variants)
            box.layout.display = "" if there else "none"
            if there:
                variant = self.variants[at + 1]
                box.description = f"{variant.number}. {say(f'emotion.origin.{variant.origin}')}: {variant.instruction}"
            else:
                box.value = False

    def _told(self, lint: Lint, finding: Finding, fix: str | None) -> str:
        say = self.texts.say
        word = lint.instruction[finding.start : finding.end]
        word = word if len(word) <= 40 else word[:39] + "…"
        told = say(f"emotion.rule.{finding.rule}", word=word)
        basis = say(f"emotion.basis.{finding.basis}")
        arrow = f"\n→ {fix}" if fix else ""
        return f"{_MARKS[finding.severity]} {told} ({finding.rule}; {basis}){arrow}"
