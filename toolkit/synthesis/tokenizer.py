"""Text to token ids: the byte-level BPE of a model folder, its templates, and the two rules of splitting words.

The published folders hold ``vocab.json`` and ``merges.txt`` but no ``tokenizer.json``; it is built from those two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from toolkit.errors import BadModelFolder, UsageError
from toolkit.synthesis.config import ModelConfig
from toolkit.synthesis.json_fields import Fields, read_json_object

__all__ = ["PATTERNS", "TemplateIds", "TextTokenizer", "WordRule", "official_rule"]

WordRule = Literal["qwen", "mistral"]

PATTERNS: dict[WordRule, str] = {
    "qwen": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "mistral": (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
"""Word splitting of the Qwen text models, and of Mistral's "tekken" tokenizers, where inner capitals split words."""

_MISTRAL_VOCAB = 100_000
_ROLE_LENGTH = 3
_CLOSING_LENGTH = 5
_REFERENCE_CLOSING_LENGTH = 2


@dataclass(frozen=True)
class TemplateIds:
    """Ids of one template, sliced by position as the official code does it.

    ``role`` is what comes before the text (three ids), ``text`` the text itself, ``first`` the id after the role
    whatever it is: with an empty text that is ``<|im_end|>``.
    """

    whole: tuple[int, ...]
    closing: int

    @property
    def role(self) -> tuple[int, ...]:
        return self.whole[:_ROLE_LENGTH]

    @property
    def text(self) -> tuple[int, ...]:
        return self.whole[_ROLE_LENGTH : -self.closing]

    @property
    def first(self) -> int:
        return self.whole[_ROLE_LENGTH]


def official_rule(vocabulary: int, transformers_version: str | None, *, from_hub: bool) -> tuple[WordRule, str]:
    """The rule that the official package ends up with, and why.

    It asks for a repair that is meant for Mistral models. In transformers 4.57.3, which it pins, the repair also
    strikes a local folder with more than 100,000 entries whose ``config.json`` has no ``transformers_version``, or one
    after 4.57.2 and before 5.0. A model named by its repository keeps the rule of Qwen.
    """
    if from_hub:
        return "qwen", "the model was named by its repository"
    if vocabulary <= _MISTRAL_VOCAB:
        return "qwen", f"the vocabulary has {vocabulary} entries, not more than {_MISTRAL_VOCAB}"
    if transformers_version is None:
        return "mistral", "a local folder whose config.json has no transformers_version"
    if (4, 57, 2) < _release(transformers_version) < (5,):
        return "mistral", f"a local folder written by transformers {transformers_version}"
    return "qwen", f"the folder was written by transformers {transformers_version}"


class TextTokenizer:
    """Tokenizer of one model.

    Args:
        folder: the model folder.
        config: its configuration.
        rule: how words are split; "official" is what the official package does with the same model, "qwen" is how the
            text models of the family were trained.
        from_hub: whether the model was named by its repository and not by a folder; matters for "official" only.

    Raises:
        BadModelFolder: files are missing or damaged, or their special tokens are not those of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        *,
        rule: WordRule | Literal["official"] = "official",
        from_hub: bool = False,
    ) -> None:
        vocab = read_json_object(folder / "vocab.json").integer_values()
        added = _added_tokens(read_json_object(folder / "tokenizer_config.json"))
        official, reason = official_rule(
            len(vocab.keys() | added.keys()), config.transformers_version, from_hub=from_hub
        )
        self.rule: WordRule = official if rule == "official" else rule
        self.reason = reason if rule == "official" else "asked for"
        merges = _merges(folder / "merges.txt")
        # Built when somebody asks for it: half a second at the published size.
        self._plain = cache(lambda: _build(folder, vocab, merges, self.rule))
        # Added tokens are entries of the vocabulary, too, so that they keep their ids whatever these are; no merge
        # leads to them.
        everything = vocab | {token.content: index for token, index in added.values()}
        self._parsing = _build(folder, everything, merges, self.rule)
        self._parsing.add_tokens([token for token, _ in sorted(added.values(), key=lambda item: item[1])])
        self._marks = (config.text_ids.im_start, config.text_ids.im_end)
        self._check(folder, config)
        self._line_end = self._encode("\n")
        self._answer = self._encode("\n<|im_start|>assistant\n")

    def assistant(self, text: str, *, parse_marks: bool = True) -> TemplateIds:
        """The text to be spoken. ``parse_marks`` reads ``<|im_end|>`` and the like inside it as the special tokens, as
        the official code does; otherwise they are spoken.

        Raises:
            UsageError: the text cannot be encoded, since it holds half of a surrogate pair.
        """
        return TemplateIds(self._turn("assistant", text, parse_marks) + self._answer, _CLOSING_LENGTH)

    def reference(self, text: str, *, parse_marks: bool = True) -> TemplateIds:
        """The transcript of a reference recording; see :meth:`assistant`."""
        whole = self._turn("assistant", text, parse_marks) + self._line_end
        return TemplateIds(whole, _REFERENCE_CLOSING_LENGTH)

    def instruct(self, text: str, *, parse_marks: bool = True) -> tuple[int, ...]:
        """A style instruction or the description of a voice; see :meth:`assistant`."""
        return self._turn("user", text, parse_marks) + self._line_end

    def _turn(self, role: str, text: str, parse_marks: bool) -> tuple[int, ...]:
        """``<|im_start|>`` role, line break, text, ``<|im_end|>``. Special tokens bound the pieces that BPE sees, so
        that tokenising between them is the same as tokenising the whole template."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"the text holds half of a surrogate pair at position {error.start}") from error
        body = f"{role}\n{text}"
        ids = self._encode(body) if parse_marks else tuple(self._plain().encode(body, add_special_tokens=False).ids)
        return (self._marks[0], *ids, self._marks[1])

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._parsing.encode(text, add_special_tokens=False).ids)

    def _check(self, folder: Path, config: ModelConfig) -> None:
        ids = config.text_ids
        named = {
            "<|im_start|>": ids.im_start,
            "<|im_end|>": ids.im_end,
            "<tts_pad>": ids.tts_pad,
            "<tts_text_bos>": ids.tts_bos,
            "<tts_text_eod>": ids.tts_eos,
            "assistant": ids.assistant,
        }
        for token, wanted in named.items():
            found = self._parsing.token_to_id(token)
            if found != wanted:
                raise BadModelFolder(f"{folder}: {token} is id {found} for the tokenizer and {wanted} in config.json")
        highest = max(self._parsing.get_vocab(with_added_tokens=True).values())
        if highest >= config.talker.text_vocab:
            raise BadModelFolder(
                f"{folder}: the tokenizer knows id {highest}, the text embedding has {config.talker.text_vocab} rows"
            )


def _build(folder: Path, vocab: dict[str, int], merges: list[tuple[str, str]], rule: WordRule) -> Tokenizer:
    try:
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False, byte_fallback=False))
    except Exception as error:  # the library raises nothing narrower for a merge that is not in the vocabulary
        raise BadModelFolder(f"{folder}: vocab.json and merges.txt do not fit together ({error})") from error
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS[rule]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise BadModelFolder(f"{path.parent}: {path.name} is missing; the folder is not a complete model") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadModelFolder(f"{path}: cannot be read: {error}") from error
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        left, _, right = line.rstrip("\r").partition(" ")
        if not left or not right or " " in right:
            raise BadModelFolder(f"{path}, line {number}: a merge is two parts and a space, found {line[:60]!r}")
        merges.append((left, right))
    return merges


def _added_tokens(fields: Fields) -> dict[str, tuple[AddedToken, int]]:
    tokens: dict[str, tuple[AddedToken, int]] = {}
    decoder = fields.part("added_tokens_decoder")
    for index in decoder.values:
        if not index.isdecimal():
            raise decoder.bad(index, "under a whole number", index)
        row = decoder.part(index)
        token = AddedToken(
            row.text("content"),
            single_word=row.flag("single_word", False),
            lstrip=row.flag("lstrip", False),
            rstrip=row.flag("rstrip", False),
            normalized=row.flag("normalized", False),
            special=row.flag("special", False),
        )
        tokens[token.content] = (token, int(index))
    return tokens


def _release(version: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
