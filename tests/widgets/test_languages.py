"""Both languages have the same texts, every text is used, and one switch turns what is on the page."""

from __future__ import annotations

import gc
import re
import string
import weakref
from pathlib import Path

import pytest
import yaml
from ipywidgets import Button, Text

import toolkit.errors
from toolkit.errors import ToolkitFault, UsageError
from toolkit.widgets.controls import labelled
from toolkit.widgets.jobs.job import _FINISHED
from toolkit.widgets.languages import LANGUAGES, Texts, language_switch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "toolkit" / "widgets" / "texts"
LOADED = {code: yaml.safe_load((FOLDER / f"{code}.yaml").read_text(encoding="utf-8")) for code in LANGUAGES}
# Notes that are made by hand, beside those of the exception tree.
OTHER_KINDS = {"WorkerDied", "Interrupted", "NoResult"}


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_keys_and_values() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(LANGUAGES)
    assert list(LOADED["en"]) == list(LOADED["zh"])
    for key, text in LOADED["en"].items():
        assert isinstance(text, str), key
        assert names(text) == names(LOADED["zh"][key]), key
        assert text.strip() == text != "", key


def test_every_language_is_written_in_its_own_script() -> None:
    han = re.compile("[\u4e00-\u9fff]")
    assert [key for key, text in LOADED["en"].items() if han.search(text)] == []
    assert [key for key, text in LOADED["zh"].items() if not han.search(text) and re.search("[a-z]{4}", text)] == []


def test_no_key_is_written_twice() -> None:
    for code in LANGUAGES:
        keys = re.findall(r"^([a-zA-Z][\w.-]*):", (FOLDER / f"{code}.yaml").read_text(encoding="utf-8"), re.MULTILINE)
        assert len(keys) == len(set(keys)), code


def test_every_key_is_used_and_every_error_has_its_texts() -> None:
    sources = [*(ROOT / "toolkit" / "widgets").rglob("*.py"), *(ROOT / "notebooks").rglob("*.*")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    kinds = {name for name in toolkit.errors.__all__ if not name.startswith("EXIT_")} | OTHER_KINDS
    states = {"waiting", "running", "cancelling", *_FINISHED}
    made = {f"error.{kind}.{part}" for kind in kinds for part in ("title", "fix")}
    made |= {f"job.state.{state}" for state in states}
    assert made <= set(LOADED["en"])
    # A key that is put together is used where its beginning is: f"fault.{name}".
    starts = tuple(re.findall(r'f"([a-z_]+(?:\.[a-z_]+)*\.)\{', code))
    unused = [key for key in LOADED["en"] if f'"{key}"' not in code and key not in made and not key.startswith(starts)]
    assert unused == []


def test_a_switch_turns_what_is_shown_and_what_is_said_later(texts: Texts) -> None:
    button, field = Button(), Text()
    labelled(button, texts, "job.cancel", tooltip="job.cancel.tip")
    texts.follow(field, "error.rule", "placeholder", id="x<y")
    heard: list[str] = []
    stop = texts.on_switch(lambda: heard.append(texts.language))
    switch = language_switch(texts)
    assert [(option, code) for option, code in switch.options] == [("English", "en"), ("中文", "zh")]
    switch.value = "zh"
    assert (button.description, button.tooltip) == ("取消", "一秒之内停止")
    assert (field.placeholder, switch.description) == ("规则：x<y", "语言")
    stop()
    switch.value = "en"
    assert (button.description, heard) == ("Cancel", ["zh"])


def test_what_is_closed_is_let_go(texts: Texts) -> None:
    button = Button()
    texts.follow(button, "job.run")
    reference = weakref.ref(button)
    button.close()
    del button
    gc.collect()
    assert reference() is None
    texts.language = "zh"
    texts.follow(Button(), "job.run")
    assert len(texts._followers) == 1


def test_a_sentence_that_is_no_key_is_told_as_it_is(texts: Texts) -> None:
    assert texts.tell("job.run") == "Run"
    assert texts.tell("step {step} of {all}", {"step": 3}) == "step 3 of {all}"
    assert texts.tell("a {brace") == "a {brace"


def test_what_there_is_not_is_named() -> None:
    with pytest.raises(ToolkitFault, match=r"there is no text 'nothing' in zh.yaml"):
        Texts("zh").say("nothing")
    with pytest.raises(UsageError, match="there is no language 'fr'; there are en, zh"):
        Texts("fr")


def test_the_first_language_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_AUDIO_LANGUAGE", "zh")
    assert Texts().language == "zh"
    monkeypatch.setenv("QWEN_AUDIO_LANGUAGE", "")
    monkeypatch.setattr("locale.getlocale", lambda: ("zh_CN", "UTF-8"))
    assert Texts().language == "zh"
    monkeypatch.setattr("locale.getlocale", lambda: (None, None))
    assert Texts().language == "en"
