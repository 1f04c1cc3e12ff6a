"""Recordings of a case: a spectrogram with the faults marked, the list of faults, and a player that goes to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ipywidgets import Button, DOMWidget, Image, Layout, VBox

from toolkit.widgets.controls import Panel, PlainText, boxed
from toolkit.widgets.diagnosis.refilling import refill
from toolkit.widgets.languages import Texts
from toolkit.widgets.player import Player

__all__ = ["SoundsPanel"]

_MOST_FAULTS = 8
_EARLIER_S = 0.3
"""A fault is heard from a little before it."""


class SoundsPanel(Panel):
    """Pictures and players of :func:`draw_sounds`' result."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.sounds: list[Mapping[str, Any]] = []
        self.players: list[Player] = []
        super().__init__()
        self.follow_language(texts, self._draw)

    def show(self, sounds: Sequence[Mapping[str, Any]]) -> None:
        """All of them, in place of what was there."""
        self.sounds = list(sounds)
        self._draw()

    def add(self, sound: Mapping[str, Any]) -> None:
        """One more, as soon as it is drawn."""
        self.show([*self.sounds, sound])

    def _draw(self) -> None:
        self.players = []
        refill(self, [self._card(sound) for sound in self.sounds])

    def _card(self, sound: Mapping[str, Any]) -> VBox:
        say, rate = self.texts.say, int(sound["rate_hz"])
        parts: list[DOMWidget] = [PlainText(sound["name"], bold=True, role="heading")]
        if sound["picture"]:
            layout = Layout(width="100%", max_width="880px")
            # What it shows stands beside it in words: ipywidgets' image cannot be drawn with a tooltip, and has no alt.
            parts.append(PlainText(say("diagnosis.picture", name=sound["name"]), colour="dim"))
            parts.append(Image(value=sound["picture"], format="png", layout=layout))
        faults = sound["faults"]
        parts.append(PlainText(say("diagnosis.faults", count=len(faults)) if faults else say("diagnosis.no_faults")))
        player = None
        if 8_000 <= rate <= 96_000:
            player = Player(self.texts, title=sound["name"], autoplay=False)
            player.load(sound["samples"], rate)
            self.players.append(player)
        for fault in faults[:_MOST_FAULTS]:
            label = say("diagnosis.fault", name=fault["name"], seconds=f"{fault['place_s']:.2f}")
            line = f"{label}: {fault['says']}"
            colour = "error" if fault["weight"] == "fail" else "warn"
            if player is None:
                parts.append(PlainText(line, colour=colour))
                continue
            at = int(max(0.0, fault["place_s"] - _EARLIER_S) * rate)
            button = Button(description=label, tooltip=say("diagnosis.hear", seconds=f"{fault['place_s']:.2f}"))
            button.layout.width = "auto"
            button.on_click(lambda _, player=player, at=at: (player.seek(at), player.play()))
            parts += [button, PlainText(fault["says"], colour=colour)]
        if player is not None:
            parts.append(player)
        return VBox(parts, layout=boxed())
