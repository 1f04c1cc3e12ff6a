"""The emotion page as a person drives it, in this process: its fields, what they say, and its workers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toolkit.acoustics.comparison import Take, compare
from toolkit.acoustics.figures import MOST_VIEWS
from toolkit.tuning.book import load_book
from toolkit.tuning.linting import RULES
from toolkit.widgets.emotion import EmotionTuning
from toolkit.widgets.emotion.limits import CHUNK_SIZES, MOST_CLIPS
from toolkit.widgets.emotion.table import PlainTable
from toolkit.widgets.jobs import Worker
from toolkit.widgets.languages import Texts

LANGUAGES = ("en", "zh")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmotionTuning]:
    """A page on the pocket voice that has looked at its model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QWEN_AUDIO_JOBS", str(tmp_path_factory.mktemp("kept") / "jobs"))
        made = EmotionTuning(texts=Texts("en"))
    made.errands.wait()
    yield made
    made.close()
    for name in ("emotion", "emotion-errands"):
        Worker.named(name).close()


def speak(page: EmotionTuning, text: str = "Yes.", instruction: str = "20% slower", mode: str = "one") -> None:
    """Press Speak and wait for sound and picture."""
    page.setting.text.value = text
    page.wording.instruction.value = instruction
    page.speaking.mode.value = mode
    job = page.speaking.view.run()
    assert job is not None, page.speaking.view.error_box.note
    assert job.wait(60).state == "done", job.error
    page.worker.drain()  # without a kernel another thread delivers; it is let finish
    page.errands.wait()


def test_the_model_is_looked_at_beside_the_kernel(page: EmotionTuning) -> None:
    assert page.setting.looked.kind == "custom_voice"
    assert ("serena", "serena") in page.setting.speaker.options
    assert page.setting.language.options == ("auto", "chinese", "english")
    assert page.setting.about.text.startswith("custom_voice model, size pocket, on ")


def test_the_forecast_moves_with_the_sliders(page: EmotionTuning) -> None:
    setting = page.setting
    found = []
    for chunk in CHUNK_SIZES[:4]:
        setting.chunk.value = chunk
        found.append((setting.bar.value, setting.memory.text))
    setting.chunk.value = 300
    assert [bar for bar, _ in found] == sorted({bar for bar, _ in found})
    assert found[0][1].startswith("forecast 0.")
    before = setting.bar.value
    setting.precision.value = "bfloat16"
    assert setting.bar.value < before
    setting.precision.value = "auto"


def test_an_instruction_is_linted_while_it_is_typed_and_fixed_by_a_click(page: EmotionTuning) -> None:
    wording = page.wording
    wording.instruction.value = "speak faster, very slowly"
    assert wording.summary.text.startswith("It will not work as it stands.")
    told = [line.text for line in wording.findings if line.text]
    assert any(line.startswith("✖") and "contradiction; told, not measured" in line for line in told)
    at = next(at for at, line in enumerate(wording.findings) if "(contradiction;" in line.text)
    wording.fix_buttons[at].click()
    assert wording.instruction.value == "speak faster"
    wording.undo.click()
    assert wording.instruction.value == "speak faster, very slowly"
    wording.fix_all.click()
    assert wording.lint is not None
    assert "contradiction" not in {one.rule for one in wording.lint.findings}
    wording.instruction.value = "x" * 2001
    assert wording.error_box.note is not None
    assert "at most 2000 can be read" in wording.error_box.message.text.replace(",", "")
    wording.instruction.value = ""
    assert wording.error_box.note is None
    assert wording.summary.text.startswith("No instruction")


def test_wordings_are_ticked_and_added(page: EmotionTuning) -> None:
    wording = page.wording
    wording.instruction.value = "very fast"
    assert [one.origin for one in wording.variants][:3] == ["none", "yours", "linted"]
    wording.another.value = "whisper"
    wording.add.click()
    assert wording.variants[-1].instruction == "whisper"
    for box in wording.boxes:
        box.value = False
    wording.boxes[len(wording.variants) - 2].value = True
    assert [one.instruction for one in wording.chosen()] == ["whisper"]
    page.speaking.mode.value = "variants"
    assert [take["instruction"] for take in page.speaking.takes()] == ["whisper"]
    wording.further = []
    wording.refresh()
    wording.add_wording("   ")
    assert wording.error_box.note is not None
    wording.refresh()
    page.speaking.mode.value = "one"


def test_takes_sound_side_by_side_on_one_scale(page: EmotionTuning) -> None:
    speak(page, "Good morning.", "30% slower", "plain")
    plain, slow = page.speaking.clips[-2:]
    assert (plain.take["instruction"], slow.take["instruction"]) == ("", "30% slower")
    assert slow.told is not None
    assert slow.player.samples.size == pytest.approx(slow.told["seconds"] * 24_000, abs=1)
    assert slow.player.samples.size > 1.1 * plain.player.samples.size
    assert re.fullmatch(r"\d\.\d\d s; first audio after \d\.\d\d s; \d\.\d\d x real time", slow.facts.text)
    assert "from the click" in plain.facts.text
    assert page.setting.latency.text.endswith(" s")
    assert "first audio after about" in page.setting.latency.text
    # The slider of the first piece moves what is to be expected.
    before = page.setting.first_audio_s()
    page.setting.first.value = 12
    after = page.setting.first_audio_s()
    page.setting.first.value = 1
    assert before is not None
    assert after is not None
    assert after > before
    # The picture is one, and the table has the differences that the acoustics find.
    rows = {row["name"]: row for row in page.comparing.rows}
    found = compare(*(Take.of(one.player.samples, 24_000, one.text) for one in (plain, slow)))
    assert rows["duration_s"]["differences"] == [f"x {found['duration_s'].size:.2f}"]
    assert page.comparing.table.columns == ("measure", plain.letter, slow.letter, f"{slow.letter} − {plain.letter}")


def test_the_picture_is_a_picture(page: EmotionTuning, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(page.comparing.image.value)
    pixels = np.asarray(Image.open(tmp_path / "picture.png").convert("L"))
    assert pixels.shape[1] > 800
    assert pixels.std() > 20


def test_there_are_four_clips_at_most_and_one_can_be_taken_away(page: EmotionTuning) -> None:
    assert MOST_CLIPS == MOST_VIEWS
    page.comparing.always.value = False
    speak(page, mode="seeds")
    assert len(page.speaking.clips) == MOST_CLIPS
    assert [one.take["seed"] for one in page.speaking.clips[-3:]] == [1, 2, 3]
    assert len({one.letter for one in page.speaking.clips}) == MOST_CLIPS
    page.speaking.clips[0].remove.click()
    assert len(page.speaking.clips) == MOST_CLIPS - 1
    page.comparing.always.value = True


def test_precisions_are_spoken_side_by_side(page: EmotionTuning) -> None:
    page.comparing.always.value = False
    speak(page, mode="precisions")
    page.comparing.always.value = True
    assert [one.told["precision"] for one in page.speaking.clips[-2:] if one.told] == ["float32", "bfloat16"]
    page.speaking.mode.value = "one"


def test_blind_listening_tells_the_order_only_when_both_have_a_score(page: EmotionTuning) -> None:
    speak(page, "Yes.", "30% slower", "plain")
    blind = page.blind
    first, second = page.speaking.clips[-2:]
    blind.pair[0].value, blind.pair[1].value = first.letter, second.letter
    orders = set()
    for _ in range(12):
        blind.begin_button.click()
        assert blind.error_box.note is None
        orders.add(blind.players[0].samples.size == first.player.samples.size)
    assert orders == {True, False}
    assert [one.title for one in blind.players] == ["1", "2"]
    assert (blind.reveal_button.disabled, blind.verdict.text) == (True, "")
    is_first = blind.players[0].samples.size == first.player.samples.size
    blind.scores[0].value, blind.scores[1].value = 5, 2
    assert blind.reveal_button.disabled
    blind.better.value = "first"
    assert not blind.reveal_button.disabled
    blind.reveal_button.click()
    assert blind.verdict.text.startswith(f"Sound 1 was {(first if is_first else second).name} (score 5)")
    book = page.book.book
    assert book is not None
    liked = "" if is_first else "30% slower"
    (preference,) = book.preferences
    assert book.plan.variants[preference.better].instruction == liked
    assert {book.plan.variants[one.variant].instruction: one.score for one in book.scores}[liked] == 5
    blind.pair[1].value = blind.pair[0].value
    blind.begin_button.click()
    assert blind.error_box.message.text.startswith("a blind test takes two clips that differ")


def test_the_effect_test_answers_and_what_people_thought_stays(page: EmotionTuning) -> None:
    for box in page.wording.boxes[1:]:
        box.value = False
    page.wording.boxes[0].value = True
    page.effect.seeds.value = 3
    assert "6 clips in all" in page.effect.about.text
    job = page.effect.view.run()
    assert job is not None, page.effect.view.error_box.note
    assert job.wait(90).state == "done", job.error
    page.worker.drain()
    book = page.book.book
    assert book is not None
    assert (book.finished, len(book.trials), len(book.preferences)) == (True, 6, 1)
    ((place, number, wording, _, told),) = page.effect.answers.cells
    assert (place, number, wording) == ("1", "1", "30% slower")
    assert "(p 0.250)" in told  # three seeds have eight flips, two of which are as far out
    ((_, quantity, asked, _, _),) = page.effect.checks.cells
    assert (quantity, asked) == ("rate, x", "0.7")


def test_the_book_is_saved_loaded_and_exported(page: EmotionTuning, tmp_path: Path) -> None:
    panel = page.book
    panel.path.value = str(tmp_path / "mood.yaml")
    panel.score.value = 3
    panel.which.value = "30% slower"
    panel.note.value = "<b>$5 and $6</b>"
    panel.score_button.click()
    panel.save_button.click()
    assert panel.error_box.note is None, panel.error_box.message.text
    saved = load_book(tmp_path / "mood.yaml")
    assert saved == panel.book
    assert saved.scores[-1].note == "<b>$5 and $6</b>"
    panel.export_path.value = str(tmp_path / "mood.csv")
    panel.export_button.click()
    page.errands.wait()
    assert len((tmp_path / "mood.csv").read_text(encoding="utf-8").splitlines()) == 7
    # Another page, another day.
    panel.new_button.click()
    assert panel.book is None
    page.setting.text.value = "Something else."
    page.wording.instruction.value = "whisper"
    panel.load_button.click()
    page.errands.wait()
    assert panel.book == saved
    assert (page.setting.text.value, page.wording.instruction.value) == ("Yes.", "30% slower")
    assert page.effect.answers.cells[0][2] == "30% slower"


def test_a_file_is_not_replaced_unasked_and_a_wrong_one_is_told(page: EmotionTuning, tmp_path: Path) -> None:
    panel = page.book
    other = tmp_path / "other.yaml"
    other.write_text("mine: 1\n", encoding="utf-8")
    panel.path.value = str(other)
    panel.save_button.click()
    assert "exists; give another name" in panel.error_box.message.text
    assert other.read_text(encoding="utf-8") == "mine: 1\n"
    panel.load_button.click()
    assert panel.error_box.message.text == f"{other} is no prompt book: it has no plan"
    panel.replace.value = True
    panel.save_button.click()
    assert panel.error_box.note is None
    panel.replace.value = False
    panel.export_path.value = str(tmp_path / "mood.xlsx")
    panel.export_button.click()
    page.errands.wait()
    assert "prompt books are exported as .csv or .parquet" in panel.error_box.message.text
    panel.error_box.clear()


def test_a_model_that_is_not_here_is_told_and_nothing_is_downloaded(page: EmotionTuning) -> None:
    page.setting.model.value = "1.7B-Base-nowhere"
    page.errands.wait()
    assert page.setting.error_box.note is not None
    assert page.setting.error_box.rule.text.startswith("Rule: ")
    page.setting.model.value = "pocket"
    page.errands.wait()
    assert page.setting.error_box.note is None


def test_wrong_input_is_a_box(page: EmotionTuning) -> None:
    page.setting.text.value = "  "
    assert page.speaking.view.run() is None
    assert page.speaking.view.error_box.message.text == (
        "there is no text to speak; write a sentence into the field above"
    )
    page.setting.text.value = "..."
    job = page.speaking.view.run()
    assert job is not None
    assert job.wait(60).state == "failed"
    page.worker.drain()
    assert page.speaking.view.error_box.title.text == "This text cannot be spoken"
    page.setting.text.value = "Yes."


def test_the_switch_turns_all_of_the_page(page: EmotionTuning) -> None:
    page.switch.value = "zh"
    try:
        assert page.speaking.view.run_button.description == "朗读"
        assert page.tabs.get_title(3) == "提示词本"
        assert page.comparing.table.columns[0] == "指标"
        assert page.wording.findings[0].text != ""
    finally:
        page.switch.value = "en"
    assert page.tabs.get_title(3) == "Prompt book"


def test_after_a_restart_the_last_run_comes_back_with_its_sound(
    page: EmotionTuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(page, "Yes.", "30% slower")
    before = page.speaking.clips[-1]
    # What a new kernel has: no workers, and the folders of jobs.
    monkeypatch.setattr("toolkit.widgets.jobs.worker._named", {})
    again = EmotionTuning(texts=Texts("en"))
    try:
        (clip,) = again.speaking.clips
        np.testing.assert_array_equal(clip.player.samples, before.player.samples)
        assert clip.take["instruction"] == "30% slower"
        assert not clip.player.autoplay
    finally:
        again.close()
        again.worker.close()
        again.errands._worker.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_rule_measure_and_verdict_has_its_text(language: str) -> None:
    texts = Texts(language)
    sound = np.sin(np.arange(24_000) / 20).astype(np.float32)
    take = Take.of(sound, 24_000)
    names = {one.name for one in compare(take, take).differences} | set(take.values())
    keys = [f"emotion.rule.{rule}" for rule in RULES] + [f"emotion.measure.{name}" for name in names]
    assert [key for key in keys if not texts.has(key)] == []


def test_a_table_shows_text_as_it_is() -> None:
    table = PlainTable()
    table.show(("<i>", "b"), [("<script>alert(1)</script>", "$5")], "a & b")
    assert "<script" not in table.value
    assert "&lt;script&gt;" in table.value
    assert "a &amp; b" in table.value
    table.show((), ())
    assert table.value == ""
