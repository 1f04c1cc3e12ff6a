"""The text tokenizer of the pocket voice: a byte-level BPE with short English pieces and whole Chinese characters.

Text in steps feeds one token a frame, 12.5 a second, so that the pieces must carry text faster than it is spoken; long
pieces, on the other hand, are rare ones, and a small corpus teaches little about them.
"""

from __future__ import annotations

import json
import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from toolkit.synthesis.demo_shapes import tokenizer_json
from toolkit.synthesis.tokenizer import PATTERNS

__all__ = ["Vocabulary", "draw_texts", "plain_tokenizer", "read_vocabulary", "train_bpe", "write_tokenizer"]

_WHOLE = ("assistant", "user")
"""Words of the templates; the prompts are sliced by position, so that each has to be one token."""

# In bytes, the space before a word included: pieces of at most six letters.
_LONGEST_PIECE = 6
_LEAST_SEEN = 3

_Merge = tuple[str, str]


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids, and merges in the order of their ranks, both in the alphabet of bytes."""

    tokens: tuple[str, ...]
    merges: tuple[_Merge, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    def id_of(self, token: str) -> int:
        """Id of a token."""
        return self.tokens.index(token)


def draw_texts(
    sentences: Sequence[Callable[[random.Random], str]],
    instruction: Callable[[random.Random], str],
    *,
    count: int,
    seed: int,
) -> Iterator[str]:
    """``count`` sentences of each generator and half as many instructions."""
    for number, draw in enumerate(sentences):
        source = random.Random(f"{seed} sentences {number}")
        for _ in range(count):
            yield draw(source)
    source = random.Random(f"{seed} instructions")
    for _ in range(count // 2):
        yield instruction(source)


def train_bpe(texts: Iterable[str], pieces: int = 1100) -> Vocabulary:
    """Learn a vocabulary; the same texts give the same one.

    Characters outside ASCII that were seen three times become whole tokens and never grow longer; besides them there
    are the 256 bytes and about ``pieces`` pieces of ASCII text, the most frequent first.
    """
    lines = [unicodedata.normalize("NFC", text) for text in texts]
    seen = Counter(character for line in lines for character in line if not character.isascii())
    frequent = sorted(character for character, count in seen.items() if count >= _LEAST_SEEN)
    alphabet = _alphabet()
    tokens = {symbol: index for index, symbol in enumerate(alphabet)}
    merges = [*_learn(lines, len(alphabet) + pieces), *_character_merges(frequent)]
    merges += _whole_words(merges)
    for left, right in merges:
        tokens.setdefault(left + right, len(tokens))
    return Vocabulary(tuple(tokens), tuple(merges))


def write_tokenizer(folder: Path, vocabulary: Vocabulary) -> None:
    """Write ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``; the added tokens follow the vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    table = {token: index for index, token in enumerate(vocabulary.tokens)}
    merges = "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in vocabulary.merges)
    (folder / "vocab.json").write_text(json.dumps(table, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text(merges, "utf-8")
    settings = json.dumps(tokenizer_json(len(vocabulary)), ensure_ascii=False, indent=2)
    (folder / "tokenizer_config.json").write_text(settings + "\n", "utf-8")


def read_vocabulary(folder: Path) -> Vocabulary:
    """What :func:`write_tokenizer` wrote."""
    table: dict[str, int] = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    pairs = (line.split(" ") for line in lines)
    return Vocabulary(tuple(sorted(table, key=table.__getitem__)), tuple((left, right) for left, right in pairs))


def plain_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """A tokenizer without special tokens, for many texts at once; otherwise the one that the toolkit builds."""
    table = {token: index for index, token in enumerate(vocabulary.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=table, merges=list(vocabulary.merges), fuse_unk=False, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _splitter()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _splitter() -> pre_tokenizers.Sequence:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS["qwen"]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _alphabet() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _in_bytes(text: str) -> str:
    """A text in the alphabet that byte-level tokenizers write their tokens in."""
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
    return "".join(piece for piece, _ in pieces)


def _learn(lines: Sequence[str], size: int) -> list[_Merge]:
    """Merges of the ASCII parts of the lines."""
    ascii_only = (
        "".join(character if character.isascii() else "\n" for character in line) for line in lines
    )  # a break, so that nothing is learnt across what is left out
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _splitter()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=_alphabet(),
        max_token_length=_LONGEST_PIECE,
        show_progress=False,
    )
    tokenizer.train_from_iterator(ascii_only, trainer)
    found = json.loads(tokenizer.to_str())["model"]["merges"]
    merges: list[_Merge] = []
    for item in found:
        left, right = item if isinstance(item, list) else item.split(" ")
        if "\u010a" not in left + right:  # the line break, which has to stay a token of its own
            merges.append((left, right))
    return merges


def _character_merges(characters: Sequence[str]) -> Iterator[_Merge]:
    """Byte by byte to whole characters. A first byte never stands inside a character, so that none is cut wrongly."""
    known: set[str] = set()
    for character in characters:
        symbols = _in_bytes(character)
        for length in range(1, len(symbols)):
            if symbols[: length + 1] not in known:
                known.add(symbols[: length + 1])
                yield symbols[:length], symbols[length]


def _whole_words(merges: Sequence[_Merge]) -> Iterator[_Merge]:
    """Merges of the lowest rank that join what the others leave of the words of the templates."""
    extended = list(merges)
    for word in _WHOLE:
        tokens = dict.fromkeys([*_alphabet(), *(left + right for left, right in extended)])
        pieces = plain_tokenizer(Vocabulary(tuple(tokens), tuple(extended))).encode(word).tokens
        while len(pieces) > 1:
            extended.append((pieces[0], pieces[1]))
            yield pieces[0], pieces[1]
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
