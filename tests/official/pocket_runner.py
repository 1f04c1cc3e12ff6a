"""Runs inside the official package's own interpreter: the pocket voice's greedy codes and waves.

``python pocket_runner.py MODEL_FOLDER REQUESTS.json OUT.npz``; a request has text, language, speaker, instruct, whole.
"""

import json
import os
import sys
import warnings

warnings.filterwarnings("ignore")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from qwen_tts import Qwen3TTSModel  # noqa: E402


def main():
    folder, requests, out = sys.argv[1:]
    torch.set_num_threads(1)
    tts = Qwen3TTSModel.from_pretrained(folder, dtype=torch.float32)
    usual, codes, arrays = tts.model.generate, [], {}

    def watched(**arguments):
        result = usual(**arguments)
        codes.append(result[0][0])
        return result

    tts.model.generate = watched
    with open(requests, encoding="utf-8") as file:
        asked = json.load(file)
    for index, request in enumerate(asked):
        waves, _ = tts.generate_custom_voice(
            text=request["text"],
            language=request["language"],
            speaker=request["speaker"],
            instruct=request["instruct"],
            non_streaming_mode=request["whole"],
            do_sample=False,
            subtalker_dosample=False,
        )
        arrays[f"{index}.codes"] = codes[-1].cpu().numpy().astype(np.int64)
        arrays[f"{index}.wave"] = np.asarray(waves[0], np.float32)
    np.savez(out, **arrays)


if __name__ == "__main__":
    main()
