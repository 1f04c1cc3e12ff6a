"""A service in small that fails as many real ones do: it hands a BF16 waveform to NumPy.

``--fixed`` does it right. No model is loaded; the waveform is a tone.
"""

from __future__ import annotations

import argparse
import math

import torch


def synthesise(text: str) -> torch.Tensor:
    """A tone of 80 ms a character, in the dtype that the model would answer in; float in [-1, 1], 24 kHz, [samples]."""
    samples = 1920 * len(text)
    time_s = torch.arange(samples) / 24_000
    return (0.3 * torch.sin(2 * math.pi * 220 * time_s)).to(torch.bfloat16)


def main() -> None:
    """Speak one sentence."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fixed", action="store_true")
    options = parser.parse_args()
    print("Warning: flash-attn is not installed. Will only run the manual PyTorch version.")
    print("Setting `pad_token_id` to `eos_token_id`:2150 for open-end generation.", flush=True)
    wave = synthesise("This discovery is amazing!")
    audio = wave.float().cpu().numpy() if options.fixed else wave.cpu().numpy()
    print(f"200 OK, {len(audio) / 24_000:.2f} s of audio")


if __name__ == "__main__":
    main()
