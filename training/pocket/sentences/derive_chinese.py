"""Derives chinese_frequent.tsv, the long tail of Chinese words, from jieba's dictionary.

Source: the file jieba/dict.txt (word, frequency, part of speech) of the package jieba 0.42.1, "Chinese Words
Segmentation Utilities", MIT licence, copyright 2013 Sun Junyi.

Usage: python -m training.pocket.sentences.derive_chinese PATH_OF_DICT_TXT
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

__all__ = ["FREQUENT", "characters_by_weight", "chosen", "main"]

FREQUENT = Path(__file__).with_name("chinese_frequent.tsv")
WORDS = 20_000
CHARACTERS = 2_500
"""So many of the most frequent characters have to occur in the list, even where no frequent word holds them."""

PROPER = frozenset({"nr", "nrt", "nrfg", "nt", "ns", "nz", "j", "x"})
"""Names of people, organisations and places, abbreviations: mostly those of novels and of offices."""

UNWANTED = tuple(
    # Sex and vulgar words.
    "奸 淫 妓 嫖 娼 婊 屄 肏 屌 操你 他妈的 妈的 王八 混蛋 混账 畜生 杂种 狗屁 放屁 狗日 裸 性交 性欲 性爱 性器 "
    "性行为 性生活 做爱 情欲 色情 色鬼 色狼 春药 交媾 交配 阴茎 阴道 阴部 阴毛 阴户 睾丸 精液 月经 乳房 乳头 胸脯 "
    "下体 肛门 屎 尿 粪 屁眼 龟头 贱人 贱货 荡妇 骚货 小妾 通奸 同性恋 处女 "
    # Politics, parties, state.
    "党 共产 革命 主义 主席 总书记 书记 中央 政治 政权 政变 政协 人大 国民政府 红军 解放军 八路军 新四军 红卫兵 "
    "文革 大跃进 阶级 无产 资产阶级 斗争 专政 独裁 民主 人权 台独 藏独 法轮 邪教 西藏 新疆 台湾 两岸 达赖 六四 "
    "天安门 起义 暴动 暴乱 游行 示威 反动 反革命 右派 左派 地主 土改 批斗 列宁 斯大林 马克思 毛泽东 邓小平 伪军 "
    "伪政府 日寇 日军 日伪 汉奸 鬼子 侵华 亲日 抗日 抗战 侵略 殖民 帝国 法西斯 纳粹 总统 总理 国务院 人民代表 宣传部 "
    "公安 特务 间谍 统战 宗教 教派 "
    # Violence, crime, drugs, death.
    "杀 尸 屠 强暴 强奸 虐 凶手 凶器 凌迟 斩首 砍头 上吊 绞死 枪毙 枪决 死刑 死囚 处死 毒死 自尽 自焚 匪 恐怖 炸弹 "
    "炸药 核武 毒品 吸毒 贩毒 海洛因 大麻 鸦片 赌 酷刑 俘 敌军 敌人 敌方 歼 炮弹 炮火 炮击 机枪 步枪 手枪 军阀 "
    "军官 军队 司令 师长 团长 连长 参谋 战役 兵力 兵马 "
    # Slurs and old servitude.
    "野种 蛮夷 番邦 番鬼 狗奴 奴才 奴隶 太监 妾 宦官 瘸子 哑巴 聋子 傻子 白痴 弱智 残废".split()
)
"""Parts of words that have no place in a voice's everyday speech."""

OFFENSIVE = frozenset("肏屄屌娼嫖婊妓淫屎")
"""Characters that stay out altogether."""


def _entries(dictionary: Path) -> Iterator[tuple[str, int, str]]:
    for line in dictionary.read_text(encoding="utf-8").splitlines():
        word, frequency, kind = line.split(" ")
        if 1 <= len(word) <= 4 and all("\u4e00" <= character <= "\u9fff" for character in word):
            yield word, int(frequency), kind


def _simplified(word: str) -> bool:
    """GB 2312 holds the simplified characters only."""
    try:
        word.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _wanted(word: str, kind: str) -> bool:
    if not _simplified(word) or OFFENSIVE.intersection(word):
        return False
    if len(word) == 1:
        return word not in UNWANTED
    return kind not in PROPER and not any(stem in word for stem in UNWANTED)


def characters_by_weight(dictionary: Path) -> list[str]:
    """All simplified characters of the dictionary's words, those of the largest summed frequency first."""
    weight: Counter[str] = Counter()
    for word, frequency, _ in _entries(dictionary):
        for character in word:
            weight[character] += frequency
    return [character for character, _ in weight.most_common() if _simplified(character)]


def chosen(dictionary: Path) -> list[tuple[str, int]]:
    """The words and their frequencies, the most frequent first.

    A character among the CHARACTERS most frequent that no chosen word holds brings its most frequent wanted word, or
    itself.
    """
    entries = list(_entries(dictionary))
    wanted = [(word, frequency) for word, frequency, kind in entries if _wanted(word, kind)]
    wanted.sort(key=lambda entry: (-entry[1], entry[0]))
    words = dict(wanted[:WORDS])
    single = {word: frequency for word, frequency, _ in entries if len(word) == 1}
    seen = set("".join(words))
    for character in characters_by_weight(dictionary)[:CHARACTERS]:
        if character not in seen and character not in OFFENSIVE:
            word, frequency = next((entry for entry in wanted if character in entry[0]), (character, single[character]))
            words[word] = frequency
            seen.update(word)
    return sorted(words.items(), key=lambda entry: (-entry[1], entry[0]))


def main() -> None:
    """Writes the list beside this module."""
    lines = [f"{word}\t{frequency}\n" for word, frequency in chosen(Path(sys.argv[1]))]
    FREQUENT.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
