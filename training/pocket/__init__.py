"""The recipe of the pocket voice: data, recogniser, codec, codes, talker, export, evaluation."""
