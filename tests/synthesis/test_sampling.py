"""Each step between logits and token, against a second way to compute it; and where settings come from."""

from __future__ import annotations

import math

import pytest
import torch

from toolkit.errors import UsageError
from toolkit.synthesis.config import GenerationDefaults
from toolkit.synthesis.sampling import GREEDY, DecodeSettings, Sampling, choose, penalised


def kept(logits: torch.Tensor, sampling: Sampling, draws: int = 4000) -> set[int]:
    """Tokens that are ever drawn."""
    generator = torch.Generator().manual_seed(5)
    return set(choose(logits.expand(draws, -1), sampling, generator).tolist())


def test_the_penalty_divides_positive_and_multiplies_negative_logits_of_seen_tokens_only() -> None:
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0, -math.inf]])
    seen = torch.tensor([[True, True, False, False, True]])
    assert penalised(logits, seen, 2.0).tolist() == [[1.0, -4.0, 2.0, -2.0, -math.inf]]


def test_a_penalty_of_one_changes_nothing_whether_written_as_whole_number_or_not() -> None:
    logits, seen = torch.randn(2, 9), torch.ones(2, 9, dtype=torch.bool)
    assert torch.equal(penalised(logits, seen, 1.0), logits)
    assert DecodeSettings(repetition_penalty=2).repetition_penalty == 2


def test_greedy_takes_the_largest_logit_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert choose(torch.tensor([[0.0, 3.0, 1.0], [5.0, -1.0, 2.0]]), GREEDY, generator).tolist() == [1, 0]
    assert torch.equal(generator.get_state(), before)


def test_top_k_keeps_all_tokens_that_tie_with_the_last_one() -> None:
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0, 0.0]])
    assert kept(logits, Sampling(temperature=1.0, top_k=2)) == {0, 1, 2, 3}


def test_top_k_of_zero_and_beyond_the_vocabulary_keep_everything() -> None:
    logits = torch.zeros(1, 4)
    assert kept(logits, Sampling(top_k=0)) == kept(logits, Sampling(top_k=99)) == {0, 1, 2, 3}


def test_top_p_keeps_the_token_that_crosses_the_bound() -> None:
    probabilities = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
    assert kept(probabilities.log(), Sampling(temperature=1.0, top_k=0, top_p=0.6)) == {0, 1}


def test_top_p_always_keeps_the_most_likely_token() -> None:
    assert kept(torch.tensor([[2.0, 0.0, 0.0]]), Sampling(temperature=1.0, top_k=0, top_p=1e-6)) == {0}


def test_top_p_looks_at_what_top_k_has_left() -> None:
    probabilities = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    # Of the two that top-k leaves, the first has 4/7 of the probability, which is already more than 0.55.
    assert kept(probabilities.log(), Sampling(temperature=1.0, top_k=2, top_p=0.55)) == {0}
    assert kept(probabilities.log(), Sampling(temperature=1.0, top_k=0, top_p=0.55)) == {0, 1}


def test_the_temperature_comes_before_top_p() -> None:
    probabilities = torch.tensor([[0.5, 0.3, 0.2]])
    assert kept(probabilities.log(), Sampling(temperature=0.2, top_k=0, top_p=0.8)) == {0}
    assert kept(probabilities.log(), Sampling(temperature=5.0, top_k=0, top_p=0.8)) == {0, 1, 2}


def test_draws_follow_the_softmax_at_the_temperature() -> None:
    logits = torch.tensor([[1.0, 0.0, -1.0, -math.inf]])
    draws = choose(logits.expand(40_000, -1), Sampling(temperature=0.7, top_k=0), torch.Generator().manual_seed(1))
    wanted = torch.softmax(logits[0] / 0.7, -1)
    shares = torch.bincount(draws, minlength=4) / draws.numel()
    assert shares[3] == 0
    assert torch.allclose(shares, wanted, atol=0.01)


def test_one_draw_over_all_rows_uses_the_generator_as_one_multinomial_does() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(2))
    drawn = choose(logits, Sampling(temperature=1.0, top_k=0), torch.Generator().manual_seed(7))
    wanted = torch.multinomial(torch.softmax(logits, -1), 1, generator=torch.Generator().manual_seed(7))
    assert drawn.tolist() == wanted[:, 0].tolist()


def test_what_the_caller_gives_wins_over_the_file() -> None:
    defaults = GenerationDefaults(top_k=7, subtalker_top_p=0.5, max_new_tokens=8192)
    settings = DecodeSettings.of(defaults, temperature=0.3, subtalker_do_sample=False, max_new_tokens=9)
    assert settings.talker == Sampling(True, 0.3, 7, 1.0)
    assert settings.predictor == Sampling(False, 0.9, 50, 0.5)
    assert (settings.repetition_penalty, settings.max_new_tokens) == (1.05, 9)


def test_zero_is_a_value_and_not_an_absent_one() -> None:
    assert DecodeSettings.of(GenerationDefaults(), top_k=0, do_sample=False).talker == Sampling(False, 0.9, 0, 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a number above 0, not 0.0"),
        ({"temperature": math.nan}, "temperature must be a number above 0, not nan"),
        ({"temperature": True}, "temperature must be a number above 0, not True"),
        ({"top_k": -1}, "top_k must be a whole number of at least 0, not -1"),
        ({"top_k": 2.5}, "top_k must be a whole number of at least 0, not 2.5"),
        ({"top_p": 0.0}, "top_p must be a number above 0 and at most 1, not 0.0"),
        ({"subtalker_top_p": 1.1}, "top_p must be a number above 0 and at most 1, not 1.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be a number above 0, not 0.0"),
        ({"max_new_tokens": 1}, "max_new_tokens must be at least 2 (2 give one frame), not 1"),
    ],
)
def test_what_is_no_setting_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        DecodeSettings.of(GenerationDefaults(), **given)  # type: ignore[arg-type]
    assert str(caught.value) == message
