"""The causes that come into question, likeliest first, each with what speaks for and against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ipywidgets import Button, FloatProgress, HBox, Layout, VBox

from toolkit.doctor.wording import percent
from toolkit.widgets.controls import COLOURS, Panel, PlainText, boxed, labelled
from toolkit.widgets.diagnosis.refilling import refill
from toolkit.widgets.languages import Texts

__all__ = ["FindingsPanel", "evidence_line", "title_of"]

_SHOWN = 3
_SHOWN_EVIDENCE = 4


def evidence_line(seen: Mapping[str, Any]) -> str:
    """``+2.5  app.log line 3: what was seen (what it means)``; the number is the weight in log-odds."""
    place = f"line {seen['line']}: " if seen.get("line") else ""
    source = f"{Path(seen['source']).name} " if place and seen.get("source") not in ("", "log", "-", None) else ""
    return f"{seen['weight']:+.1f}  {source}{place}{seen['quote']} ({seen['why']})"


def title_of(page: Mapping[str, Any], place: int, language: str) -> str:
    """A finding's title in the language."""
    title: str = page["shown"][place]["title_zh"] if language == "zh" else page["saved"]["findings"][place]["title"]
    return title


class FindingsPanel(Panel):
    """Cards of the first causes; ``on_choose`` hears the place of the one whose cure is wanted."""

    def __init__(self, texts: Texts, on_choose: Callable[[int], None]) -> None:
        self.texts = texts
        self.page: Mapping[str, Any] | None = None
        self.buttons: list[Button] = []
        self._on_choose = on_choose
        super().__init__()
        self.follow_language(texts, self._draw)

    def show(self, page: Mapping[str, Any] | None) -> None:
        """The page of :func:`find_cause`, or nothing."""
        self.page = page
        self._draw()

    def _draw(self) -> None:
        self.buttons = []
        page = self.page
        if page is None:
            refill(self, ())
            return
        say, saved = self.texts.say, page["saved"]
        parts: list[VBox | PlainText] = []
        places = [place for place, one in enumerate(saved["findings"]) if one["known"]]
        if not saved["known"]:
            places = list(range(len(saved["findings"])))
            parts.append(PlainText(say("diagnosis.not_known"), bold=True, role="status"))
            parts.append(PlainText("\n".join([say("diagnosis.collect"), *(f"• {one}" for one in saved["collect"])])))
        parts += [self._card(page, place) for place in places[:_SHOWN]]
        if len(places) > _SHOWN:
            rest = ", ".join(saved["findings"][place]["rule"] for place in places[_SHOWN:])
            parts.append(PlainText(say("diagnosis.less_likely", rules=rest), colour="dim"))
        if saved["second_fault"]:
            parts.append(PlainText(say("diagnosis.second", rule=saved["second_fault"])))
        refill(self, parts)

    def _card(self, page: Mapping[str, Any], place: int) -> VBox:
        say, finding = self.texts.say, page["saved"]["findings"][place]
        bar = FloatProgress(value=finding["probability"], min=0.0, max=1.0, layout=Layout(width="120px"))
        bar.style.bar_color = COLOURS["accent"]
        bar.tooltip = say("diagnosis.probability")
        button = labelled(Button(layout=Layout(width="auto")), self.texts, "diagnosis.show_fix")
        button.tooltip = say("diagnosis.show_fix.tip", rule=finding["rule"])
        button.on_click(lambda _: self._on_choose(place))
        self.buttons.append(button)
        head = HBox(
            (
                bar,
                PlainText(percent(finding["probability"]), bold=True),
                PlainText(title_of(page, place, self.texts.language), bold=True, role="heading"),
                button,
            ),
            layout=Layout(align_items="center", flex_flow="row wrap", grid_gap="0 10px"),
        )
        lines = [PlainText(say("error.rule", id=finding["rule"]), colour="dim"), PlainText(finding["cause"])]
        if finding["explained_by"]:
            lines.append(PlainText(say("diagnosis.explained_by", rule=finding["explained_by"]), colour="warn"))
        for side, colour in (("for", "ok"), ("against", "error")):
            seen = finding[f"evidence_{side}"][:_SHOWN_EVIDENCE]
            if seen:
                lines.append(PlainText(say(f"diagnosis.evidence.{side}"), colour=colour, bold=True))
                lines.append(PlainText("\n".join(map(evidence_line, seen)), mono=True))
        card = VBox((head, *lines), layout=boxed("accent" if place == 0 else "border"))
        card.add_class("qwen-audio-finding")
        return card
