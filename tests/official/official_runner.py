"""Runs inside the official package's own interpreter: a plan of cases in, what the package does with each of them out.

``python official_runner.py PLAN.json``. The folder of the plan receives ``cases.json``, ``CHECKPOINT.npz`` and
``codec.npz`` in the layout of the goldens, so that whatever reads those reads these. Needs qwen-tts, torch and NumPy,
nothing of the toolkit.
"""

import json
import os
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
_ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # the package greets on standard output

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
from qwen_tts import Qwen3TTSModel  # noqa: E402

FIRST_STEPS = 3


class Watch:
    """Keeps what passes through a loaded model during one call."""

    def __init__(self, tts):
        self.tts = tts
        self.talker = tts.model.talker
        self._whole, self._first, self._rest = tts.model.generate, self.talker.generate, None
        self._rest = self.talker.code_predictor.generate
        self._voices = tts.create_voice_clone_prompt
        tts.model.generate = self._on_whole
        self.talker.generate = self._on_first
        self.talker.code_predictor.generate = self._on_rest
        tts.create_voice_clone_prompt = self._on_voices
        self.talker.model.register_forward_hook(self._on_hidden)
        self.clear()

    def clear(self):
        self.request = self.result = self.inputs = self.steps = self.hidden = self.items = self.frame_logits = None
        self.frame_gaps = []

    def _on_whole(self, **arguments):
        self.request = arguments
        self.result = self._whole(**arguments)
        return self.result

    def _on_first(self, *values, **arguments):
        self.inputs = arguments
        self.steps = self._first(*values, output_scores=True, output_logits=True, **arguments)
        return self.steps

    def _on_rest(self, *values, **arguments):
        made = self._rest(*values, output_scores=True, output_logits=True, **arguments)
        logits = torch.stack(made.logits, 1).float()
        if self.frame_logits is None:
            self.frame_logits = logits
        self.frame_gaps.append(gap(torch.stack(made.scores, 1)).min(1))
        return made

    def _on_voices(self, *values, **arguments):
        self.items = self._voices(*values, **arguments)
        return self.items

    def _on_hidden(self, module, values, out):
        if self.hidden is None:
            self.hidden = out.last_hidden_state.detach().clone()


def gap(scores):
    """How far the best score lies before the second best."""
    best = scores.float().topk(2, -1).values
    return (best[..., 0] - best[..., 1]).cpu().numpy()


def floats(tensor):
    return tensor.detach().float().cpu().numpy()


def reference(folder, spec, name):
    path = folder / "refs" / (name + ".wav")
    if spec.get("pass_as") == "path":
        return str(path)
    samples, rate = soundfile.read(path, dtype="float32")
    return samples, rate


def call(watch, folder, spec):
    """Run one case; returns the waves."""
    arguments = {name: value for name, value in spec["args"].items() if value is not None}
    if spec["method"] == "voice_clone":
        named = spec["ref"]
        one = isinstance(named, str)
        arguments["ref_audio"] = (
            reference(folder, spec, named) if one else [reference(folder, spec, name) for name in named]
        )
        arguments["ref_text"] = spec["args"]["ref_text"]
    arguments.update(max_new_tokens=spec["max_new_tokens"], non_streaming_mode=spec["non_streaming_mode"])
    arguments.update(spec["settings"])
    watch.clear()
    torch.manual_seed(spec["seed"])
    waves, _ = getattr(watch.tts, "generate_" + spec["method"])(**arguments)
    return waves


def record(watch, spec, waves):
    """Arrays and numbers of the call that has just run."""
    ending = watch.tts.model.config.talker_config.codec_eos_token_id
    tokens = watch.steps.sequences.cpu().numpy()
    logits = floats(torch.stack(watch.steps.logits[:FIRST_STEPS], 1))
    talker_gaps = np.stack([gap(scores) for scores in watch.steps.scores], 1)
    frame_gaps = np.stack(watch.frame_gaps, 1)
    mask, embeds = watch.inputs["attention_mask"].cpu().numpy(), floats(watch.inputs["inputs_embeds"])
    trailing = floats(watch.inputs["trailing_text_hidden"])
    arrays, numbers = {}, {"frames": [], "ended": [], "wav_samples": [], "prefill_tokens": []}
    for row, codes in enumerate(watch.result[0]):
        codes, length = codes.cpu().numpy(), int(mask[row].sum())
        kept = {
            "codes": codes.astype(np.int16),
            "input_ids": watch.request["input_ids"][row][0].cpu().numpy().astype(np.int32),
            "prefill_embeds": embeds[row, -length:],
            "prefill_hidden": floats(watch.hidden[row, -length:]),
            "prefill_last": floats(watch.hidden[row, -1]),
            "trailing": trailing[row],
            "logits": logits[row],
            "pred_logits": floats(watch.frame_logits[row]),
            "margin_talker": talker_gaps[row, : len(codes) + 1],
            "margin_pred": frame_gaps[row, : len(codes)],
            "wav": np.asarray(waves[row], np.float32),
            "wav_layout": np.array([len(waves[row]), 1]),
        }
        for name in ("instruct_ids", "ref_ids"):
            given = watch.request.get(name)
            if given is not None and given[row] is not None:
                kept[name] = given[row][0].cpu().numpy().astype(np.int32)
        if watch.items is not None:
            item = watch.items[row if len(watch.items) > 1 else 0]
            kept["spk_embedding"] = floats(item.ref_spk_embedding)
            if item.ref_code is not None:
                kept["ref_code"] = item.ref_code.cpu().numpy().astype(np.int16)
        arrays.update({f"{spec['id']}.{row}.{name}": array for name, array in kept.items()})
        numbers["frames"].append(len(codes))
        numbers["ended"].append(bool((tokens[row] == ending).any()))
        numbers["wav_samples"].append(len(waves[row]))
        numbers["prefill_tokens"].append(length)
    return arrays, numbers


def run_codec(watch, folder, spec, arrays):
    """The codec alone: decoding of given codes, or encoding of recordings."""
    codec = watch.tts.model.speech_tokenizer
    if spec["method"] == "codec_decode":
        rows = [np.asarray(codes) for codes in spec["codes"]]
        waves, _ = codec.decode([{"audio_codes": codes} for codes in rows])
        for row, (codes, wave) in enumerate(zip(rows, waves, strict=True)):
            arrays[f"{spec['id']}.{row}.codes"] = codes.astype(np.int16)
            arrays[f"{spec['id']}.{row}.wav"] = np.asarray(wave, np.float32)
            arrays[f"{spec['id']}.{row}.wav_layout"] = np.array([len(wave), 1])
        return {"wav_samples": [len(wave) for wave in waves]}
    recordings = [soundfile.read(folder / "refs" / (name + ".wav"), dtype="float32") for name, _ in spec["items"]]
    cut = [samples[:count] for (samples, _), (_, count) in zip(recordings, spec["items"], strict=True)]
    encoded = codec.encode(cut, sr=recordings[0][1]).audio_codes
    for row, codes in enumerate(encoded):
        arrays[f"{spec['id']}.{row}.codes"] = codes.cpu().numpy().astype(np.int16)
    return {"frames": [len(codes) for codes in encoded]}


def main():
    plan_path = Path(sys.argv[1])
    folder, plan = plan_path.parent, json.loads(plan_path.read_text(encoding="utf-8"))
    torch.set_num_threads(1)
    codec_arrays = {}
    for name, recipe in plan["checkpoints"].items():
        tts = Qwen3TTSModel.from_pretrained(str(folder / "checkpoints" / name), dtype=getattr(torch, recipe["dtype"]))
        watch, arrays = Watch(tts), {}
        for spec in (case for case in plan["cases"] if case["checkpoint"] == name):
            found, spec["result"] = record(watch, spec, call(watch, folder, spec))
            arrays.update(found)
            print(f"{name}/{spec['id']}: {spec['result']['frames']} frames", file=_ANSWERS)
        np.savez(folder / (name + ".npz"), **arrays)
        for spec in (case for case in plan["codec_cases"] if case["checkpoint"] == name):
            spec["result"] = run_codec(watch, folder, spec, codec_arrays)
            print(f"codec/{spec['id']}", file=_ANSWERS)
    np.savez(folder / "codec.npz", **codec_arrays)
    (folder / "cases.json").write_text(json.dumps(plan, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
