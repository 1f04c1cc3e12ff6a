# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Emotion tuning
#
# Say how a text is to be spoken, hear it while it is being made, see and measure what the wording changed, and keep the wording that works.
#
# 1. Write a text and an instruction. The linter reads along; **Fix** puts a better wording in place.
# 2. **Speak** sounds at once. Speak with and without the instruction, several wordings, seeds or precisions side by side.
# 3. Below: the picture and the measures, a test against chance, blind listening with scores, and the prompt book.
#
# It runs on the small voice that comes with the toolkit. With a card and a model on this machine, write its name or folder into the field
# *Model*, or below as `emotion_tuning("1.7B-CustomVoice")`. Nothing is downloaded, and nothing is written before you press *Save*.

# %%
from toolkit.widgets.emotion import emotion_tuning

page = emotion_tuning()
page

# %% [markdown]
# All of it is there for your own cells as well: `page.speaking.clips[0].player.samples` is the sound of the first clip (24,000 samples a second),
# `page.comparing.rows` are the measures, `page.book.book` is the prompt book, and `toolkit.tuning.frame(page.book.book)` makes it a DataFrame.
