"""Sentences that the pocket voice is trained on, drawn from grammars and word lists."""
