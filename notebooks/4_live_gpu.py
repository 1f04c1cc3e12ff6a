# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The card, live
#
# Utilisation, memory, clocks, power and throttling while something speaks, and the rule that explains what is seen.
# Press *Start watching*, then *Speak again and again*, or let your own service speak meanwhile.
#
# Without an NVIDIA card there are examples, made up and not measured. More: `docs/live-gpu.md`.

# %%
from toolkit.widgets.live import live_gpu

live = live_gpu()
live
