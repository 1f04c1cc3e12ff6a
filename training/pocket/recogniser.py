"""The ear that judges the voice: a small CTC recogniser of phones and tones, trained on other voices of the engine.

It hears 1.5 s around each moment, so that it may know a word but no sentence, and it is never trained on the pocket
voice or on its codec. What a codec may do to speech in general (noise, blur, a tilted or cut spectrum) is done to its
training data, since a listener bears that as well.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from training.pocket.espeak import Phone
from training.pocket.mel import mel_matrix

__all__ = ["Recogniser", "Recordings", "RecogniserSettings", "load", "save", "symbols_of", "train"]

SAMPLE_RATE_HZ = 24_000
BLANK = 0
_PREFIXES = {"english": "en", "chinese": "zh"}

_WINDOW, _HOP, _FFT = 600, 240, 1024
_BANDS, _BAND_HZ = 80, (50.0, 8_000.0)
_LONG_WINDOW, _LONG_FFT = 1200, 2048
_FIRST_BIN, _BINS = 5, 80
"""Tones are pitch, and 25 ms hold no two periods of a man's voice. So 50 ms are looked at as well: the single bins from
59 to 984 Hz, where the harmonics lie."""
_STRIDE = 2
_FLOOR = 1e-5
"""What is 50 dB below the utterance's own mean power counts as silence: the codec's noise floor lies there."""
_BLURRED = 0.7
"""Share of the utterances of a batch that are blurred."""
_PAD_S = 0.5
"""Waves are padded to multiples of this, so that few shapes exist."""


def symbols_of(phones: Iterable[Phone], language: str) -> list[str]:
    """What the recogniser has to write: phones as ``en:NAME`` or ``zh:NAME``, a tone after the phone that carries it.

    Silences, and the marks by which the engine notes a change of language, are no sounds.

    Raises:
        ValueError: no such language.
    """
    if language not in _PREFIXES:
        raise ValueError(f"language must be one of {', '.join(_PREFIXES)}, not {language!r}")
    symbols: list[str] = []
    for phone in phones:
        if phone.name == "_" or phone.name.startswith("("):
            continue
        symbols.append(f"{_PREFIXES[language]}:{phone.name}")
        if phone.tone:
            symbols.append(f"T{phone.tone}")
    return symbols


@dataclass(frozen=True)
class RecogniserSettings:
    """Sizes and training. 208 x 7 blocks with some 120 symbols are 2.6 million parameters."""

    width: int = 208
    blocks: int = 7
    kernel: int = 11
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 100
    clip: float = 1.0
    dropout: float = 0.1


class Recordings:
    """Utterances with what was said, flat in few tensors, so that a batch is one gather on the device.

    Args:
        pairs: waves at 24 kHz (float32 in [-1, 1], or int16) and their symbols.

    Attributes:
        symbols: all symbols that occur, sorted; their numbers in ``targets`` begin at 1 (0 is the blank).
    """

    def __init__(self, pairs: Iterable[tuple[NDArray[np.float32] | NDArray[np.int16], Sequence[str]]]) -> None:
        waves: list[NDArray[np.int16]] = []
        texts: list[Sequence[str]] = []
        for wave, symbols in pairs:
            if len(wave) and symbols:
                waves.append(_as_int16(wave))
                texts.append(symbols)
        if not waves:
            raise ValueError("there is nothing to learn from: no utterance has both sound and symbols")
        self.symbols: tuple[str, ...] = tuple(sorted({symbol for text in texts for symbol in text}))
        number = {symbol: index + 1 for index, symbol in enumerate(self.symbols)}
        self.lengths = np.array([len(wave) for wave in waves])
        self.starts = np.concatenate(([0], np.cumsum(self.lengths)[:-1]))
        self.target_lengths = np.array([len(text) for text in texts])
        self.target_starts = np.concatenate(([0], np.cumsum(self.target_lengths)[:-1]))
        self.samples = torch.from_numpy(np.concatenate(waves))
        self.targets = torch.tensor([number[symbol] for text in texts for symbol in text])

    def __len__(self) -> int:
        return len(self.lengths)

    def to(self, device: torch.device) -> None:
        """Move the samples and targets; an hour takes 173 MB."""
        self.samples, self.targets = self.samples.to(device), self.targets.to(device)

    def batches(self, size: int, source: np.random.Generator) -> Iterator[NDArray[np.int_]]:
        """One epoch: rows of each batch are of one padded length; the order is drawn.

        A bucket's last batch is filled up with other utterances of its length, so that all have the same shape.
        """
        padded = _padded_lengths(self.lengths)
        plan: list[NDArray[np.int_]] = []
        for length in np.unique(padded):
            rows = source.permutation(np.flatnonzero(padded == length))
            short = -len(rows) % size
            plan += np.split(np.concatenate((rows, source.choice(rows, short))), (len(rows) + short) // size)
        for place in source.permutation(len(plan)):
            yield plan[place]

    def waves(self, rows: NDArray[np.int_]) -> tuple[Tensor, Tensor]:
        """float32 ``[rows, padded samples]`` and lengths, on the device of the samples."""
        lengths = torch.from_numpy(self.lengths[rows]).to(self.samples.device)
        starts = torch.from_numpy(self.starts[rows]).to(self.samples.device)
        offsets = torch.arange(int(_padded_lengths(self.lengths[rows]).max()), device=self.samples.device)
        places = (starts[:, None] + offsets).clamp(max=len(self.samples) - 1)
        waves = self.samples[places].float() / 32768.0
        return torch.where(offsets < lengths[:, None], waves, 0.0), lengths

    def texts(self, rows: NDArray[np.int_]) -> Tensor:
        """Targets of all rows behind each other, as CTC takes them; ``target_lengths`` says where each ends."""
        places = np.concatenate(
            [np.arange(self.target_starts[row], self.target_starts[row] + self.target_lengths[row]) for row in rows]
        )
        return self.targets[torch.from_numpy(places).to(self.targets.device)]


class Recogniser(nn.Module):
    """Waves to symbols.

    Args:
        symbols: what it can write, without the blank.
    """

    _filters: Tensor
    _window: Tensor
    _long_window: Tensor

    def __init__(self, symbols: Sequence[str], settings: RecogniserSettings | None = None) -> None:
        super().__init__()
        self.symbols = tuple(symbols)
        self.settings = settings or RecogniserSettings()
        width = self.settings.width
        self.register_buffer("_filters", mel_matrix(_FFT, _BANDS, *_BAND_HZ), persistent=False)
        self.register_buffer("_window", torch.hann_window(_WINDOW), persistent=False)
        self.register_buffer("_long_window", torch.hann_window(_LONG_WINDOW), persistent=False)
        self.stem = nn.Conv1d(_BANDS + _BINS, width, 5, stride=_STRIDE, padding=2)
        self.blocks = nn.ModuleList(_Block(width, self.settings.kernel) for _ in range(self.settings.blocks))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(self.settings.dropout)
        self.head = nn.Linear(width, len(self.symbols) + 1)

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities float32 ``[batch, frames, symbols + 1]`` at 50 frames a second, and frames a row.

        Args:
            waves: float32 ``[batch, samples]`` at 24 kHz, zeros behind the end of each row.
            lengths: int64 ``[batch]``, in samples.
        """
        return self.of_spectrum(self.spectrum(waves, lengths), lengths)

    @torch.no_grad()
    def spectrum(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Log power ``[batch, 80 + 80, frames]`` at 100 frames a second: mel bands, then single low bins.

        It is relative to the mean power of each utterance; frame t is centred on sample 240 t.
        """
        with torch.autocast(waves.device.type, enabled=False):
            power = waves.float().square().sum(1) / lengths.clamp(min=1)
            level = waves / power.clamp(min=1e-10).sqrt()[:, None]
            bands = torch.matmul(self._filters, _power(level, self._window, _FFT))
            bins = _power(level, self._long_window, _LONG_FFT)[:, _FIRST_BIN : _FIRST_BIN + _BINS]
            return (torch.cat((bands, bins), 1) + _FLOOR).log()

    def of_spectrum(self, spectrum: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, from the output of :meth:`spectrum`."""
        heard = (torch.arange(spectrum.shape[2], device=spectrum.device) < _spectrum_frames(lengths)[:, None])[:, None]
        hidden = self.stem(torch.where(heard, (spectrum + 4.0) / 4.0, 0.0))
        frames = _frames(lengths)
        mask = (torch.arange(hidden.shape[2], device=hidden.device) < frames[:, None])[:, None]
        hidden = hidden * mask
        for block in self.blocks:
            hidden = block(hidden, mask)
        logits = self.head(self.dropout(self.norm(hidden.transpose(1, 2))))
        return logits.float().log_softmax(-1), frames

    @torch.inference_mode()
    def recognise(self, waves: Sequence[NDArray[np.float32]], batch: int = 32) -> list[list[str]]:
        """What is said in each wave (float32, mono, 24 kHz): the most likely symbol of each frame, repeats merged."""
        device = self.head.weight.device
        was_training = self.training
        self.eval()
        found: list[list[str]] = [[] for _ in waves]
        order = sorted((index for index, wave in enumerate(waves) if len(wave)), key=lambda index: len(waves[index]))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            lengths = torch.tensor([len(waves[row]) for row in rows])
            padded = torch.zeros(len(rows), int(_padded_lengths(lengths.numpy()).max()))
            for place, row in enumerate(rows):
                finite = np.nan_to_num(waves[row], posinf=0.0, neginf=0.0)
                padded[place, : len(waves[row])] = torch.from_numpy(np.ascontiguousarray(finite, np.float32))
            scores, frames = self(padded.to(device), lengths.to(device))
            best = scores.argmax(-1).cpu().numpy()
            for place, row in enumerate(rows):
                found[row] = self._collapsed(best[place, : int(frames[place])])
        self.train(was_training)
        return found

    def _collapsed(self, path: NDArray[np.int_]) -> list[str]:
        kept = path[np.concatenate(([True], path[1:] != path[:-1]))] if len(path) else path
        return [self.symbols[index - 1] for index in kept if index != BLANK]


class _Block(nn.Module):
    """Each channel looks along time, then each moment across channels (Liu et al. 2022, "A ConvNet for the 2020s")."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.along = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        inner = self.norm(self.along(hidden).transpose(1, 2))
        inner = self.narrow(functional.gelu(self.widen(inner))) * self.scale
        mixed: Tensor = (hidden + inner.transpose(1, 2)) * mask
        return mixed


def train(
    data: Recordings,
    *,
    time_limit_s: float,
    device: str | torch.device = "cpu",
    seed: int = 0,
    settings: RecogniserSettings | None = None,
    max_steps: int | None = None,
    log: Callable[[str], None] = print,
    log_steps: int = 100,
) -> Recogniser:
    """Train until the time is over; the learning rate falls by the share of it that has passed.

    In 60 s an H100 makes some 2,000 steps. Nothing is cut out of the sound or masked, since that would teach the
    recogniser to fill in what it did not hear; it is blurred, which leaves less of everything.

    Args:
        data: moved to the device.
        time_limit_s: of the training alone; ``max_steps`` may end it earlier (then the schedule follows the steps).
        log: takes a line every ``log_steps`` steps.
    """
    settings = settings or RecogniserSettings()
    device = torch.device(device)
    torch.manual_seed(seed)
    source = np.random.default_rng(seed)
    data.to(device)
    model = Recogniser(data.symbols, settings).to(device)
    decayed = [value for value in model.parameters() if value.ndim > 1]
    plain = [value for value in model.parameters() if value.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        fused=device.type == "cuda",
    )
    count = sum(value.numel() for value in model.parameters())
    log(f"recogniser: {count / 1e6:.2f} M parameters, {len(model.symbols)} symbols, {len(data)} utterances")
    began = time.monotonic()
    step, losses = 0, torch.zeros((), device=device)
    while True:
        for rows in data.batches(settings.batch, source):
            done = (time.monotonic() - began) / time_limit_s
            if max_steps is not None:
                done = max(done, step / max_steps)
            if done >= 1.0:
                log(f"recogniser: {step} steps in {time.monotonic() - began:.1f} s")
                return model.eval()
            rate = settings.learning_rate * min(1.0, (step + 1) / settings.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = rate * max(0.01, 0.5 + 0.5 * math.cos(math.pi * done))
            loss = _loss(model, data, rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip, foreach=True)
            optimizer.step()
            losses += loss.detach()
            step += 1
            if step % log_steps == 0:
                # The only wait for the device; between two of them the steps are queued.
                mean = float(losses) / log_steps
                passed_s = time.monotonic() - began
                log(f"recogniser: step {step}, loss {mean:.4f}, {1000 * passed_s / step:.1f} ms a step")
                losses.zero_()


def _loss(model: Recogniser, data: Recordings, rows: NDArray[np.int_]) -> Tensor:
    waves, lengths = data.waves(rows)
    targets = data.texts(rows)
    with torch.autocast(waves.device.type, torch.bfloat16, enabled=waves.device.type == "cuda"):
        spectrum = model.spectrum(_with_noise(waves), lengths)
        mel = spectrum[:, :_BANDS]
        is_blurred = torch.rand(mel.shape[0], 1, 1, device=mel.device) < _BLURRED
        mel = torch.where(is_blurred, _blurred(mel), mel)
        worn = torch.cat((_worn(mel), spectrum[:, _BANDS:]), 1)
        scores, _ = model.of_spectrum(worn, lengths)
    # The loss wants both lengths on the CPU; from the device it would fetch them, and wait for all that is queued.
    frames, target_lengths = _frames(torch.from_numpy(data.lengths[rows])), torch.from_numpy(data.target_lengths[rows])
    per_row = functional.ctc_loss(
        scores.transpose(0, 1), targets, frames, target_lengths, BLANK, reduction="none", zero_infinity=True
    )
    return (per_row / target_lengths.to(per_row.device)).mean()


def _with_noise(waves: Tensor) -> Tensor:
    """White noise 20 to 60 dB below each utterance."""
    rows = waves.shape[0]
    below_db = torch.rand(rows, 1, device=waves.device) * 40 + 20
    level = waves.square().mean(1, keepdim=True).sqrt() * 10 ** (-below_db / 20)
    return waves + level * torch.randn_like(waves)


def _blurred(mel: Tensor) -> Tensor:
    """What a weak codec makes of log mel bands: neighbours run into one another, noise that has the long-term spectrum
    of the speech fills the gaps 6 to 30 dB below it, and patches of some bands and frames are too loud or too soft."""
    rows, bands, frames = mel.shape
    device = mel.device
    power = mel.exp()
    for _ in range(2):
        for axis, most in ((1, 1.0), (2, 0.6)):
            weight = torch.rand(rows, 1, 1, device=device) * most
            power = (power + weight * (power.roll(1, axis) + power.roll(-1, axis))) / (1 + 2 * weight)
    around = functional.avg_pool1d(power, 21, 1, 10, count_include_pad=False)
    around = functional.avg_pool1d(around.transpose(1, 2), 9, 1, 4, count_include_pad=False).transpose(1, 2)
    below_db = torch.rand(rows, 1, 1, device=device) * 24 + 6
    grain = -torch.rand(power.shape, device=device).clamp(min=1e-6).log()
    power = power + 10 ** (-below_db / 10) * around * (0.5 + 0.5 * grain)
    patches = torch.randn(rows, 1, -(-bands // 4), -(-frames // 6), device=device)
    patches = functional.interpolate(patches, size=(bands, frames), mode="bilinear")[:, 0]
    spread = 0.8 * torch.rand(rows, 1, 1, device=device)
    return (power * (spread * patches).exp() + _FLOOR).log()


def _worn(mel: Tensor) -> Tensor:
    """What a codec does to the mel bands: tilted by up to 6 dB, unsteady, and in a fifth of the rows without its top.

    The cut lies at 4 kHz or above, so that what tells one fricative from another is not all gone.
    """
    rows, bands, _ = mel.shape
    device = mel.device
    place = torch.linspace(-1.0, 1.0, bands, device=device)
    tilt = (torch.rand(rows, 2, 1, device=device) * 2 - 1) * 0.7
    curve = tilt[:, 0] * place + tilt[:, 1] * (place.square() - 1 / 3)
    worn = mel + curve[..., None] + torch.randn_like(mel) * (0.3 * torch.rand(rows, 1, 1, device=device))
    cutoff = torch.rand(rows, 1, device=device) + 0.8
    is_cut = (torch.arange(bands, device=device) / bands > cutoff)[..., None]
    return torch.where(is_cut, math.log(_FLOOR) + 0.3 * torch.rand_like(mel), worn).clamp(min=math.log(_FLOOR))


def save(model: Recogniser, path: str | Path) -> None:
    """Write a recogniser as safetensors; its symbols and sizes are in the metadata."""
    sizes = {name: getattr(model.settings, name) for name in ("width", "blocks", "kernel")}
    metadata = {"symbols": json.dumps(model.symbols, ensure_ascii=False), "sizes": json.dumps(sizes)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, str(path), metadata)


def load(path: str | Path, device: str | torch.device = "cpu") -> Recogniser:
    """Read what :func:`save` wrote, ready to recognise.

    Raises:
        ValueError: the file is no recogniser.
    """
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata() or {}
        if not {"symbols", "sizes"} <= set(metadata):
            raise ValueError(f"{Path(path).name} is no recogniser: its metadata name no symbols")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, the file is no dictionary
    model = Recogniser(json.loads(metadata["symbols"]), RecogniserSettings(**json.loads(metadata["sizes"])))
    model.load_state_dict(tensors)
    return model.to(device).eval()


def _as_int16(wave: NDArray[np.float32] | NDArray[np.int16]) -> NDArray[np.int16]:
    if wave.dtype == np.int16:
        return np.asarray(wave, np.int16)
    scaled = np.rint(np.asarray(wave, np.float32) * 32768.0)
    return np.asarray(np.clip(scaled, -32768, 32767), np.int16)


def _padded_lengths(lengths: NDArray[np.int_]) -> NDArray[np.int_]:
    unit = round(_PAD_S * SAMPLE_RATE_HZ)
    return np.asarray(-(-lengths // unit) * unit)


def _spectrum_frames(lengths: Tensor) -> Tensor:
    return lengths // _HOP + 1


def _frames(lengths: Tensor) -> Tensor:
    return (_spectrum_frames(lengths) - 1) // _STRIDE + 1


def _power(waves: Tensor, window: Tensor, size: int) -> Tensor:
    """Power of short stretches, ``[batch, size / 2 + 1, frames]``; 1 on the average for white noise of power 1."""
    padded = functional.pad(waves, (size // 2, size // 2))
    transformed = torch.stft(padded, size, _HOP, len(window), window, center=False, return_complex=True)
    return transformed.abs().square() / window.square().sum()
