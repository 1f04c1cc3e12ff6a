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
# # Guided setup
#
# Seven steps, from this machine to a `config.yaml` that speaks. Each step unlocks the next one; nothing is written before you press a button, and nothing is fetched before you ask for it. You can close this page at any time: the answers lie beside `config.yaml`, and running the cell again goes on from there.
#
# Without a graphics card everything works with the `pocket` voice on the processor, slower than real time.

# %%
from toolkit.widgets import guided_setup

setup = guided_setup("my-voice")
setup

# %% [markdown]
# The same from a terminal: `qwen-audio doctor`, `qwen-audio model download`, `qwen-audio speak --config my-voice/config.yaml`. What each step does is told in `docs/guided-setup.md`.
