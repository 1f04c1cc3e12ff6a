"""The last sample in words and bars, and what the last minute means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ipywidgets import FloatProgress, HBox, Layout

from toolkit.doctor.wording import percent
from toolkit.widgets.controls import COLOURS, Panel, PlainText, boxed
from toolkit.widgets.diagnosis.findings import evidence_line
from toolkit.widgets.languages import Texts

__all__ = ["JudgementPanel", "ReadingsPanel"]

_GIB = 2**30
_ROWS = ("utilization", "memory", "clock", "power", "temperature", "throttle")
_NORMAL = ("idle", "application-clocks", "sync-boost", "display-clocks")
"""Throttle reasons that do not mean that the card was slowed down."""
_VERDICT_COLOURS = {"steady": "ok", "low": "warn", "uneven": "warn", "idle": "dim", "unknown": "dim"}


class ReadingsPanel(Panel):
    """A row for each sensor; :meth:`show` takes a sample of :func:`watch_card`."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.sample: Mapping[str, Any] | None = None
        self.values = {name: PlainText() for name in _ROWS}
        self.bars = {name: FloatProgress(min=0.0, max=1.0, layout=Layout(width="160px")) for name in _ROWS[:4]}
        self._names = {name: PlainText(layout=Layout(width="130px")) for name in _ROWS}
        rows = []
        for name in _ROWS:
            bar = self.bars.get(name)
            if bar is not None:
                bar.style.bar_color = COLOURS["accent"]
                texts.follow(bar, f"live.value.{name}", "tooltip")
            parts = (self._names[name], *((bar,) if bar is not None else ()), self.values[name])
            rows.append(HBox(parts, layout=Layout(align_items="center", grid_gap="8px")))
        super().__init__(rows, layout=boxed())
        self.follow_language(texts, self._write)
        self._write()

    def show(self, sample: Mapping[str, Any] | None) -> None:
        """A sample, or nothing."""
        self.sample = sample
        self._write()

    def _write(self) -> None:
        for name in _ROWS:
            self._names[name].text = self.texts.say(f"live.value.{name}")
        sample = self.sample
        self.layout.display = "none" if sample is None else ""
        if sample is None:
            return
        used, total = sample["memory_used_bytes"], sample["memory_total_bytes"]
        self._put("utilization", sample["utilization_percent"], "{:.0f} %", 1 / 100)
        self._put("memory", used, "", 1 / total if isinstance(total, int) and total else 0.0)
        if isinstance(used, int) and isinstance(total, int):
            self.values["memory"].text = f"{used / _GIB:.1f} / {total / _GIB:.1f} GiB"
        self._put("clock", sample["sm_clock_mhz"], "{:.0f} MHz", 1 / 3_000)
        limit = sample["power_limit_w"]
        has_limit = isinstance(limit, float) and limit > 0
        self._put("power", sample["power_w"], f"{{:.0f}} / {limit:.0f} W" if has_limit else "{:.0f} W",
                  1 / limit if has_limit else 0.0)  # fmt: skip
        self._put("temperature", sample["temperature_c"], "{:.0f} °C", 0.0)
        reasons = sample["throttle_reasons"]
        if isinstance(reasons, list | tuple):
            slowed = [one for one in reasons if one not in _NORMAL]
            self.values["throttle"].text = ", ".join(slowed) or self.texts.say("live.value.none")
        else:
            self._put("throttle", reasons, "", 0.0)

    def _put(self, name: str, value: Any, form: str, scale: float) -> None:
        is_known = not isinstance(value, Mapping)
        unknown = "" if is_known else self.texts.say("live.value.unknown", reason=value["na"])
        self.values[name].text = form.format(value) if is_known else unknown
        if name in self.bars:
            self.bars[name].value = min(1.0, value * scale) if is_known else 0.0


class JudgementPanel(Panel):
    """Whether what is seen is healthy, and the rule that explains it with its cure."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.judgement: Mapping[str, Any] | None = None
        self.verdicts = {name: PlainText(colour=one, bold=True) for name, one in _VERDICT_COLOURS.items()}
        self.rule = PlainText(bold=True, role="status")
        self.id = PlainText(colour="dim")
        self.details = PlainText()
        super().__init__((*self.verdicts.values(), self.rule, self.id, self.details), layout=boxed("accent"))
        self.follow_language(texts, self._write)
        self._write()

    def show(self, judgement: Mapping[str, Any] | None) -> None:
        """A judgement of :func:`watch_card`, or nothing."""
        self.judgement = judgement
        self._write()

    def _write(self) -> None:
        say, judgement = self.texts.say, self.judgement
        for name, line in self.verdicts.items():
            is_it = judgement is not None and judgement["verdict"] == name
            line.text = say(f"live.verdict.{name}", reason=(judgement or {})["reason"]) if is_it else ""
        self.id.text = self.details.text = ""
        if judgement is None:
            self.rule.text = say("live.waiting")
            return
        rule = judgement.get("rule")
        if rule is None:
            self.rule.text = say("live.unexplained")
            return
        title = rule["title_zh"] if self.texts.language == "zh" else rule["title"]
        self.rule.text = say("live.explained", title=title, percent=percent(rule["probability"]))
        self.id.text = say("error.rule", id=rule["id"])
        steps = [f"• {step}" for step in rule["fix"]]
        lines = [rule["cause"], *map(evidence_line, rule["evidence"]), say("error.fix"), *steps]
        self.details.text = "\n".join(lines)
