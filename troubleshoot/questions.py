"""The one question or experiment that separates the likeliest two causes best for its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from troubleshoot.catalogue import Catalogue
from troubleshoot.rule import Question

__all__ = ["NextQuestion", "choose_question", "information_bits"]

# Reading and understanding a question takes this long whatever its own cost, so trivial ones do not win by cost alone.
_READING_S = 10.0
_LEAST_BITS = 0.02


@dataclass(frozen=True)
class NextQuestion:
    """A question with what it is expected to tell: bits about which of the two causes holds."""

    question: Question
    between: tuple[str, str]
    bits: float

    def to_json(self) -> dict[str, object]:
        """JSON form."""
        return {
            "id": self.question.id,
            "kind": self.question.kind,
            "ask": self.question.ask,
            "ask_zh": self.question.ask_zh,
            "cost_s": self.question.cost_s,
            "between": list(self.between),
            "expected_bits": round(self.bits, 3),
            "answers": [{"value": answer.value, "text": answer.text} for answer in self.question.answers],
        }


def choose_question(
    catalogue: Catalogue, ranked: Sequence[tuple[str, float]], answered: Mapping[str, str]
) -> NextQuestion | None:
    """Best information per second between the first and the second of ``ranked`` (rule id, probability).

    One step of look-ahead over single questions, as in decision-theoretic troubleshooting (Heckerman, Breese and
    Rommelse, CACM 38(3), 1995). ``None`` when nothing is left to ask or no question tells the two apart.
    """
    if len(ranked) < 2:
        return None
    (first, first_p), (second, second_p) = ranked[0], ranked[1]
    share = first_p / (first_p + second_p)
    candidates = [
        NextQuestion(question, (first, second), information_bits(question, first, second, share))
        for rule in catalogue
        for question in rule.questions
        if question.id not in answered and _is_about(question, rule.id, first, second)
    ]
    useful = [candidate for candidate in candidates if candidate.bits >= _LEAST_BITS]
    return max(
        useful, key=lambda each: (each.bits / (each.question.cost_s + _READING_S), each.question.id), default=None
    )


def _is_about(question: Question, owner: str, first: str, second: str) -> bool:
    # A question of a third rule that happens to weigh one of the two says nothing about the other: the missing
    # weights mean "not considered", not "all answers alike".
    named = {rule for answer in question.answers for rule in answer.weights}
    return owner in (first, second) or {first, second} <= named


def information_bits(question: Question, first: str, second: str, share: float) -> float:
    """Mutual information, in bits, between the answer and which of two causes holds (``share`` = P(first))."""
    given_first = _answer_distribution(question, first)
    given_second = _answer_distribution(question, second)
    bits = 0.0
    for a, b in zip(given_first, given_second, strict=True):
        mixed = share * a + (1 - share) * b
        for probability, part in ((share, a), (1 - share, b)):
            if probability > 0 and part > 0:
                bits += probability * part * math.log2(part / mixed)
    return bits


def _answer_distribution(question: Question, rule: str) -> list[float]:
    # A weight is the log of P(answer | cause) / P(answer | not cause); with even odds of the answers otherwise, the
    # exponentials are proportional to P(answer | cause).
    likelihoods = [math.exp(answer.weights.get(rule, 0.0)) for answer in question.answers]
    total = sum(likelihoods)
    return [likelihood / total for likelihood in likelihoods]
