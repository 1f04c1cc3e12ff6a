"""How well a person's words fit a rule's sayings: a smoothed unigram language model a rule."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from troubleshoot.catalogue import Catalogue
from troubleshoot.rule import Rule

__all__ = ["WordModel", "WordScore", "tokens"]

# Query likelihood with Jelinek-Mercer smoothing (Zhai and Lafferty, ACM TOIS 22(2), 2004); they found 0.7 for the
# background best on long queries. The sum is tempered since words of a sentence are not independent.
_RULE_SHARE = 0.35
_TEMPER = 0.7
_MAX_LOG_ODDS = 5.0
# A word that the rule does not use speaks a little against it: half of what the model says, since nobody lists all.
_ABSENT_SHARE = 0.5

_WORD = re.compile(r"[a-z][a-z0-9+._-]*|\d+(?:\.\d+)?|[\u4e00-\u9fff]+")
# Function words, verbs that fit any sentence, and the field's own ever-present names: they tell nothing.
_STOP = frozenset(  # quoted one by one, three hundred words would fill the page
    """rtx gtx nvidia geforce tesla qwen qwen-tts tts user users owner reporter reports maintainer says said say
    saying asks ask finds find thinks think believes suspects supposedly a about above across after again
    against all almost already also although always an and another any anything are around as at away back be
    because been before being below between both but by came can come comes could did different do does doing
    done down each either else enough even ever every everything few fine first for found from gave get gets
    give given gives go going gone good got great had half has have having here how however i if in instead into
    is it its itself just keep kept know known last least left less let like little look looks made make makes
    making many may maybe me might more most much must my near need needed needs never new next no not nothing
    now of often on once one only or other others our out over own people per perhaps person quite rather
    reached reaches really result results right same saw second see seem seems seen several shall she should
    show shown shows simply since so some somebody someone something sometimes still such supposed sure take
    taken takes tell ten than that the their them then there these they thing things third this those though
    three through till time times to together too took toward tried tries try trying twice two under unless
    until up upon us use used uses using usual usually various very want wants was way we well went were what
    whatever when where whether which while who whole whose why will win with within without would yes yet you
    your""".split()
)
# Words of one meaning in this field; the first is what they count as.
_SYNONYMS = (
    "gpu card graphics videocard vga", "vram memory", "slow slower sluggish crawl lag laggy",
    "noise noisy static hiss crackle crackling buzz buzzing garble garbled garbage", "silent silence mute muted quiet",
    "voice speaker timbre",
    "fail fails failed failing failure crash crashes crashed dies die died abort "
    "aborts error errors errored exception",
    "browser chrome firefox safari edge", "reference ref clip sample recording",
    "install installed installing installation setup", "download downloading downloaded fetch",
    "stop stops stopped finish end ends ended", "start starts startup begin begins boot",
    "generate generated generates generation synthesis synthesize synthesise "
    "synthesized inference speak speaks speech tts",
    "clone cloning cloned", "endless forever infinite never",
    "fast quick rapid quickly rushes rush hurried accelerate accelerates",
    "cut truncated truncate missing swallowed clipped", "sentence sentences line phrase",
    "update updated upgrade upgraded upgrading", "load loads loading loaded", "server service", "mic microphone",
    "port ports", "hang hangs hung freeze freezes frozen stuck stall", "refused refuse refuses",
    "click clicks pop pops popping", "laptop notebook", "batch batches batched batching",
    "train training finetune finetuning fine-tune fine-tuning finetuned", "stream streams streaming streamed",
    "chunk chunks chunked segment segments", "mac macos macbook", "nan inf", "file files",
    "model models checkpoint weights",
)
_CANONICAL = {word: group.split()[0] for group in _SYNONYMS for word in group.split()}
_SUFFIXES = ("ingly", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s")


@dataclass(frozen=True)
class WordScore:
    """Log-odds that the words speak for a rule, and the words that did."""

    log_odds: float
    shared: tuple[str, ...]


class WordModel:
    """Word statistics of a catalogue's sayings, symptoms, titles and causes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._counts = {
            rule.id: Counter(token for text in _texts(rule) for token in tokens(text)) for rule in catalogue
        }
        self._totals = {rule_id: sum(counts.values()) or 1 for rule_id, counts in self._counts.items()}
        # The background is the average of the rules, not of the words, so that talkative rules do not shape it.
        background: defaultdict[str, float] = defaultdict(float)
        for rule_id, counts in self._counts.items():
            for token, count in counts.items():
                background[token] += count / self._totals[rule_id]
        rules = max(1, len(self._counts))
        self._background = {token: weight / rules for token, weight in background.items()}

    def scores(self, words: str) -> dict[str, WordScore]:
        """Score of each rule that shares a word with ``words``; log-odds lie in [0, 5]."""
        asked = Counter(token for token in tokens(words) if token in self._background)
        scored: dict[str, WordScore] = {}
        for rule_id, counts in self._counts.items():
            gains = {token: self._gain(rule_id, token) for token in asked if token in counts}
            absent = sum(token not in counts for token in asked)
            total = sum(gains.values()) + _ABSENT_SHARE * absent * math.log(1 - _RULE_SHARE)
            if gains and total > 0:
                best = sorted(gains, key=lambda token: (-gains[token], token))[:6]
                scored[rule_id] = WordScore(round(min(_MAX_LOG_ODDS, _TEMPER * total), 3), tuple(best))
        return scored

    def _gain(self, rule_id: str, token: str) -> float:
        own = self._counts[rule_id][token] / self._totals[rule_id]
        return math.log((1 - _RULE_SHARE) + _RULE_SHARE * own / self._background[token])


def tokens(text: str) -> list[str]:
    """Words in a normal form: English lower case, stemmed lightly, synonyms joined; Chinese as pairs of characters."""
    found: list[str] = []
    for word in _WORD.findall(text.lower()):
        if "\u4e00" <= word[0] <= "\u9fff":
            found.extend(word[index : index + 2] for index in range(max(1, len(word) - 1)))
        # Cards and versions are facts, not words; one or two letters are units and leftovers.
        elif len(word) > 2 and word not in _STOP and not any(char.isdigit() for char in word):
            found.append(_normal(word.strip("._-+")))
    return [word for word in found if word]


def _normal(word: str) -> str:
    if word in _CANONICAL:
        return _CANONICAL[word]
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            stem = word[: -len(suffix)]
            stem += "y" if suffix in ("ies", "ied") else ""
            return _CANONICAL.get(stem, _CANONICAL.get(stem + "e", stem))
    return word


def _texts(rule: Rule) -> Iterable[str]:
    yield from rule.says.en
    yield from rule.says.zh
    yield from (rule.symptom.en, rule.symptom.zh, rule.title, rule.title_zh, rule.cause)
