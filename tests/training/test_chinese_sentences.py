"""The Mandarin training sentences: shape, coverage, and that none of the unseen sentences can be drawn."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.pocket.sentences import chinese
from training.pocket.sentences.chinese import Node
from training.pocket.sentences.chinese_reading import numeral, reading

UNSEEN = Path(chinese.__file__).parents[1] / "unseen" / "chinese.txt"
DRAWS = 30_000
MARKS = "。？！"
NUMBER = re.compile(r"[0-9零一二三四五六七八九幺两十百千万点半刻整钟分:.%]+")
FREQUENT = frozenset(chinese.frequent()[0])


@pytest.fixture(scope="module")
def drawn() -> list[str]:
    source = random.Random(20)
    return [chinese.sentence(source) for _ in range(DRAWS)]


@pytest.fixture(scope="module")
def unseen() -> list[str]:
    return UNSEEN.read_text(encoding="utf-8").splitlines()


def everyday() -> set[str]:
    families = (chinese.grammar()[name] for name in chinese.grammar() if name not in chinese.SHARES)
    return {word for family in families for word in family if isinstance(word, str)}


class Recogniser:
    """Where a node of the grammar can end in a text; drawn numbers count as any run of numerals."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[tuple[int, int], set[int]] = {}

    def derives(self) -> bool:
        """Whether the whole text can be drawn, with or without an opener."""
        starts = {0} | self._ends(chinese.grammar()["opener"], 0)
        whole = len(self._text)
        return any(whole in self._ends(chinese.grammar()[name], start) for name in chinese.SHARES for start in starts)

    def _ends(self, node: Node, start: int) -> set[int]:
        if isinstance(node, str):
            return {start + len(node)} if self._text.startswith(node, start) else set()
        key = (id(node), start)
        if key not in self._known:
            self._known[key] = set(self._longer_ends(node, start))
        return self._known[key]

    def _longer_ends(self, node: Node, start: int) -> Iterator[int]:
        if isinstance(node, list):
            for choice in node:
                yield from self._ends(choice, start)
        elif isinstance(node, tuple):
            reached = {start}
            for part in node:
                reached = {end for place in reached for end in self._ends(part, place)}
                if not reached:
                    return
            yield from reached
        elif node in chinese.grammar()["rare"]:
            yield from (end for end in range(start + 1, start + 5) if self._text[start:end] in FREQUENT)
        elif number := NUMBER.match(self._text, start):
            yield from range(start + 1, number.end() + 1)


def test_a_seed_gives_the_same_sentences() -> None:
    first, again = random.Random(7), random.Random(7)
    assert [chinese.sentence(first) for _ in range(50)] == [chinese.sentence(again) for _ in range(50)]


def test_every_sentence_is_clean(drawn: list[str]) -> None:
    allowed = re.compile(r"[\u4e00-\u9fff0-9，。？！、:.%]+")
    assert [text for text in drawn if not allowed.fullmatch(text)] == []
    assert [text for text in drawn if text[-1] not in MARKS or text[0] in "，。？！、:.%"] == []
    assert [text for text in drawn if re.search(r"[，。？！、]{2}", text)] == []


def test_lengths(drawn: list[str]) -> None:
    lengths = [len(text) for text in drawn]
    assert min(lengths) >= chinese.SHORTEST
    assert max(lengths) <= chinese.LONGEST
    assert 11 <= sum(lengths) / DRAWS <= 13
    assert 0.04 <= sum(length <= 5 for length in lengths) / DRAWS <= 0.12
    assert sum(length >= 18 for length in lengths) / DRAWS >= 0.06


def test_shares(drawn: list[str]) -> None:
    assert 0.10 <= sum(text.endswith("？") for text in drawn) / DRAWS <= 0.25
    assert 0.04 <= sum(text.endswith("！") for text in drawn) / DRAWS <= 0.12
    assert 0.06 <= sum(bool(re.search(r"[0-9]", text)) for text in drawn) / DRAWS <= 0.20
    assert len(set(drawn)) / DRAWS >= 0.9
    for wanted in (
        r"[0-9]:[0-9]{2}",
        r"[0-9]%",
        "百分之",
        r"[0-9]月[0-9]",
        r"[0-9]{4}年",
        r"[0-9]\.[0-9]",
        "第[0-9一二三]",
    ):
        assert any(re.search(wanted, text) for text in drawn), wanted


def test_characters(drawn: list[str]) -> None:
    assert len({character for character in "".join(drawn) if character >= "\u4e00"}) >= 2_400


def test_word_lists() -> None:
    classes = chinese.grammar()
    assert len(everyday()) >= 2_500
    assert sum(len(classes[name]) for name in chinese.SHARES if name != "short") >= 150
    assert len({word for name in ("i_person", "i_state", "i_say") for word in classes[name]}) >= 150
    assert len(classes["surname"]) * len(classes["given"]) >= 120
    words = chinese.frequent()[0]
    assert 19_000 <= len(words) == len(set(words)) <= 21_000
    assert all(re.fullmatch(r"[\u4e00-\u9fff]{1,4}", word) for word in words)
    assert len(set("".join(everyday())) | set("".join(words))) >= 3_000


def test_frequencies_fall() -> None:
    rows = (Path(chinese.__file__).with_name("chinese_frequent.tsv")).read_text(encoding="utf-8").splitlines()
    frequencies = [int(row.split("\t")[1]) for row in rows]
    assert frequencies == sorted(frequencies, reverse=True)
    assert min(frequencies) >= 1


def test_unseen_sentences_cannot_be_drawn(drawn: list[str], unseen: list[str]) -> None:
    assert len(unseen) == len(set(unseen)) == 200
    assert set(drawn).isdisjoint(unseen)
    assert [text for text in unseen if Recogniser(text).derives()] == []


def test_the_recogniser_knows_what_is_drawn(drawn: list[str]) -> None:
    assert [text for text in drawn[:60] if not Recogniser(text).derives()] == []


def test_unseen_sentences_are_everyday_ones(drawn: list[str], unseen: list[str]) -> None:
    assert all(4 <= len(text) <= 20 and text[-1] in MARKS for text in unseen)
    wanted = {character for character in "".join(unseen) if character >= "\u4e00"}
    assert len(wanted - set("".join(drawn))) / len(wanted) <= 0.01


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "零"),
        (10, "十"),
        (12, "十二"),
        (20, "二十"),
        (105, "一百零五"),
        (110, "一百一十"),
        (2_000, "两千"),
        (1_010, "一千零一十"),
        (1_001, "一千零一"),
        (2_222, "两千二百二十二"),
        (10_010, "一万零一十"),
        (20_500, "两万零五百"),
        (123_456, "十二万三千四百五十六"),
        (1_000_000, "一百万"),
    ],
)
def test_numerals(value: int, said: str) -> None:
    assert numeral(value) == said


@pytest.mark.parametrize("value", [-1, 100_000_000])
def test_numerals_have_a_range(value: int) -> None:
    with pytest.raises(ValueError, match="value must lie between"):
        numeral(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("火车7:05到，22:00开。", "火车七点零五到，二十二点开。"),
        ("涨了20%，不是4.5%。", "涨了百分之二十，不是百分之四点五。"),
        ("2024年12月2日", "二零二四年十二月二日"),
        ("花了25.50元，买了2个。", "花了二十五点五零元，买了两个。"),
        ("我的电话是13812345670。", "我的电话是幺三八幺二三四五六七零。"),
        ("请到1204室", "请到幺二零四室"),
        ("第2个，12000人", "第二个，一万两千人"),
        ("在803开会，在500人面前。", "在八零三开会，在五百人面前。"),
        ("验证码是40512。", "验证码是四零五幺二。"),
        ("快点儿，熊！", "快点\u200b儿，xong2！"),
        ("儿子很穷。", "儿子很qong2。"),
    ],
)
def test_readings(text: str, said: str) -> None:
    assert reading(text).text == said


def test_a_reading_knows_where_it_comes_from() -> None:
    found = reading("在7:30见熊。")
    assert len(found.text) == len(found.origins)
    assert ["在7:30见熊。"[origin] for origin in found.origins] == list("在7777见熊熊熊熊熊。")


def test_readings_have_no_digits_but_tones(drawn: list[str]) -> None:
    readings = [reading(text).text for text in drawn[:5_000]]
    assert [text for text in readings if re.search(r"[0-9:.%]", re.sub(r"[xqj]ong[123]", "", text))] == []
