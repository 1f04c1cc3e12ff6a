"""Step 6, the first sentence: heard while it is made, with time, memory, and the proof of BF16 on the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ipywidgets import Dropdown, Text, Textarea

from toolkit.errors import UsageError
from toolkit.synthesis.pocket_voice import POCKET, POCKET_SPEAKER
from toolkit.widgets.controls import PlainText, labelled
from toolkit.widgets.job_view import JobView
from toolkit.widgets.jobs import Change, Job
from toolkit.widgets.player import Player
from toolkit.widgets.setup.session import Session
from toolkit.widgets.setup.speaking import speak
from toolkit.widgets.setup.step import Step

__all__ = ["SentenceStep", "load_arguments", "proof_lines"]

_SAMPLE_RATE_HZ = 24_000


def load_arguments(session: Session) -> dict[str, Any]:
    """What :func:`toolkit.load` is given, from the answers of the steps before."""
    model, limits = session.answer("model"), session.answer("limits")
    table = {"auto": "auto", "card": False, "cpu": True}[limits["text_table"]]
    return {
        "model": model["model"],
        "source": model.get("source", "hf"),
        "device": session.card.choose_device(),
        "dtype": session.answer("precision")["precision"],
        "audio_chunk_size": limits["audio_chunk_size"],
        "max_text_length": limits["max_text_length"],
        "enable_cleanup": limits["enable_cleanup"],
        "text_embedding_on_cpu": table,
    }


def proof_lines(session: Session, told: Mapping[str, Any]) -> list[str]:
    """Time, memory, dtype of the weights and what the card did, in the language of the texts."""
    say = session.texts.say
    timings = told["timings_s"]
    lines = [
        say(
            "setup.sentence.time",
            seconds=f"{told['seconds']:.2f}",
            total=f"{timings['total']:.2f}",
            first=f"{told['first_audio_s'] * 1000:.0f}",
            speed=f"{told['x_real_time']:.2f}",
            load=f"{told['load_s']:.1f}",
        )
    ]
    peak, where = told["peak_bytes"], "card" if told["card"] is not None else "process"
    if peak is not None:
        lines.append(say(f"setup.sentence.memory.{where}", gb=f"{peak / 1e9:.2f}"))
    talker = told["weights"]["talker"]
    whole = sum(talker.values()) or 1
    shares = ", ".join(f"{name} {count / whole:.1%}" for name, count in sorted(talker.items(), key=lambda one: -one[1]))
    is_bf16 = talker.get("bfloat16", 0) / whole > 0.99
    key = "setup.sentence.bf16" if is_bf16 else "setup.sentence.not_bf16"
    lines.append(say(key, shares=shares, reason=told["dtype"]["reason"]))
    card = told["card"]
    if card is None:
        lines.append(say("setup.sentence.no_card"))
    elif card["problem"] or card["mean_percent"] is None:
        lines.append(say("setup.sentence.not_watched", problem=card["problem"] or "no sample has it"))
    else:
        mean, share = card["mean_percent"], card["healthy_share"]
        place = "inside" if 60 <= mean <= 95 else "below" if mean < 60 else "above"
        told_share = "-" if share is None else f"{share:.0%}"
        count = card["sample_count"]
        lines.append(say(f"setup.sentence.window.{place}", mean=f"{mean:.0f}", share=told_share, count=count))
    return lines


class SentenceStep(Step):
    """Done once something was spoken to its end."""

    key: ClassVar[str] = "sentence"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        wide = {"width": "42em"}  # a layout of its own for each, since some are hidden
        self.text = labelled(Textarea(rows=3, layout=wide), self.texts, "setup.sentence.text")
        self.speaker = labelled(Dropdown(), self.texts, "setup.sentence.speaker")
        self.language = labelled(Dropdown(), self.texts, "setup.sentence.language")
        self.instruct = labelled(Text(layout=wide), self.texts, "setup.sentence.instruct")
        self.reference = labelled(Text(layout=wide), self.texts, "setup.sentence.reference")
        self.words = labelled(Text(layout=wide), self.texts, "setup.sentence.words")
        self.player = Player(texts=self.texts)
        self.job_view = JobView(
            session.worker("voice"),
            self._begin,
            label="setup.sentence.speak",
            texts=self.texts,
            on_change=self._hear,
            on_end=self._take,
        )
        self.proof = PlainText(role="status")
        self.notes = PlainText(colour="dim")
        self.show_controls(
            self.text,
            self.speaker,
            self.language,
            self.instruct,
            self.reference,
            self.words,
            self.job_view,
            self.player,
            self.proof,
            self.notes,
        )

    def enter(self) -> None:
        """Offer what the model has."""
        model, answer = self.session.answer("model"), self.session.answer(self.key)
        kind = model["kind"]
        speakers = list(model["speakers"])
        languages = list(dict.fromkeys(["auto", *model["languages"]]))
        usual = POCKET_SPEAKER if model["model"] == POCKET else next(iter(speakers), None)
        self.speaker.options = speakers
        self.speaker.value = answer["speaker"] if answer.get("speaker") in speakers else usual
        self.language.options = languages
        self.language.value = answer["language"] if answer.get("language") in languages else "auto"
        self.text.value = answer.get("text") or self.text.value or self.texts.say("setup.sentence.example")
        self.instruct.value = answer.get("instruct") or self.instruct.value
        takes = kind == "voice_design" or bool(model["takes_instruct"])
        for control, shown in (
            (self.speaker, kind == "custom_voice"),
            (self.instruct, takes and kind != "base"),
            (self.reference, kind == "base"),
            (self.words, kind == "base"),
        ):
            control.layout.display = "" if shown else "none"
        self.write()

    def write(self) -> None:
        """Say the proof in the language of the texts."""
        answer = self.session.answer(self.key)
        self.proof.text = "\n".join(proof_lines(self.session, answer["told"])) if answer else ""
        self.notes.text = "\n".join(answer["told"]["notes"]) if answer else ""

    def _begin(self) -> Job:
        model, card = self.session.answer("model"), self.session.card
        if not self.text.value.strip():
            raise UsageError("the text is empty; write a sentence")
        self.player.begin(_SAMPLE_RATE_HZ)
        return self.session.worker("voice").run(
            speak,
            text=self.text.value,
            load=load_arguments(self.session),
            speaker=self.speaker.value if model["kind"] == "custom_voice" else None,
            language=self.language.value,
            instruct=self.instruct.value,
            reference=self.reference.value,
            reference_text=self.words.value,
            gpu_index=card.index if card.device == "cuda" else None,
        )

    def _hear(self, change: Change) -> None:
        for part in change.partials:
            self.player.feed(part.value)

    def _take(self, job: Job) -> None:
        if job.state != "done":
            return
        self.player.finish()
        asked = job.arguments
        answer = {key: asked[key] for key in ("text", "speaker", "language", "instruct")} | {"told": job.result}
        self.error_box.guard(lambda: self.session.finish(self.key, answer))
        self.write()
