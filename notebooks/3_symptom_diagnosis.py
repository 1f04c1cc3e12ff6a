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
# # Symptom diagnosis
#
# Something is slow, silent, noisy or broken. Say it in words, paste a log, drop a recording, a facts file or a bundle, or name the folder of
# your service. Then see the likely causes with what speaks for and against each, answer the next question, take the cure, and check again.
#
# Nothing leaves this machine, and no file is changed before you confirm it. More: `docs/diagnosis-notebook.md`.

# %%
from toolkit.widgets.diagnosis import symptom_diagnosis

diagnosis = symptom_diagnosis()
diagnosis
