"""Trains talker and code predictor for a given time.

One step on CUDA is one CUDA graph: it picks its batch by a counter on the device, so that the host only launches it and
sets the learning rate. Arithmetic of a step with 64 rows of 512 positions, the shape POCKET and 4,096 frames for the
predictor (multiply-adds count two, backward twice forward): talker layers 5.5 M weights x 6 x 32,768 positions = 1.08
TFLOP, its attention 0.04, code tables as products 4,128 x 256 x 4 x 32,768 = 0.14, head 0.01; predictor 1.47 M x 6 x
65,536 = 0.58, its attention 0.09, its heads 0.02, the guide 0.01: 2.0 TFLOP, 3.3 ms at 600 TFLOP/s. Memory is what
counts at these widths: a layer writes and reads about 14 kB a position forward and 35 kB backward, which makes 22 GB
for 32,768 x 8 + 65,536 x 3 of them: 7 ms at 3.3 TB/s, 5 ms at 4.8 TB/s. So a step cannot take less than that.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.pocket.attention import AttentionKind, choose_attention
from training.pocket.sequences import Batches, Plan, Sequences, plan_epoch, segments_per_row
from training.pocket.shape import CODE_GROUPS, ModelShape
from training.pocket.talker_net import Losses, Operations, TalkerNet

__all__ = ["SMOKE_SETTINGS", "Log", "Settings", "load_checkpoint", "save_checkpoint", "train"]

Log = Callable[[str], None]

_FILE_NAME = "talker-{}.safetensors"
_FILE_BYTES = 14_000_000
_BETAS = (0.9, 0.98)
_EPS = 1e-8
_WARM_STEPS = 3  # before capture: compiles, and fills the caches of the libraries
_BANDS = ((1, 4), (4, 8), (8, 16))
_HELD_OUT_BATCHES = 4
_KEEP_S = 60.0
_ALIGNMENT = 64  # elements; compiled kernels read faster where a weight begins at such a place


@dataclass(frozen=True)
class Settings:
    """How the network is trained.

    Attributes:
        rows, row: rows of a batch, positions of a row.
        predictor_frames: frames of a batch that the predictor is trained on, a multiple of eight.
        drop, predictor_drop, noise: dropout in talker and predictor; share of the frames that are read wrongly.
        guide_weight: of the loss that pulls one head to the text being spoken.
        peak_rate, last_rate, warm_up: learning rate: rises over ``warm_up`` steps, then falls as a cosine of the time.
        weight_decay, clip: of AdamW, and of the norm of all gradients.
        average: decay of the moving average of the weights, which is the result.
        held_out: share of the sequences that are only listened to.
        attention: form of attention on CUDA.
        compiled, graph: compile the steps, and capture them in a CUDA graph; without effect on other devices.
    """

    rows: int = 64
    row: int = 512
    predictor_frames: int = 4096
    drop: float = 0.1
    predictor_drop: float = 0.05
    noise: float = 0.06
    guide_weight: float = 0.3
    peak_rate: float = 1.2e-3
    last_rate: float = 3e-5
    warm_up: int = 300
    weight_decay: float = 0.05
    clip: float = 1.0
    average: float = 0.999
    held_out: float = 0.01
    log_every: int = 200
    evaluate_every: int = 2000
    attention: AttentionKind = "auto"
    compiled: bool = True
    graph: bool = True

    def rate(self, step: int, progress: float) -> float:
        """Learning rate of a step when ``progress`` of the time has gone."""
        falling = self.last_rate + (self.peak_rate - self.last_rate) * (1 + math.cos(math.pi * min(1.0, progress))) / 2
        return falling * min(1.0, (step + 1) / max(1, self.warm_up))


SMOKE_SETTINGS = Settings(
    rows=2, predictor_frames=32, warm_up=10, peak_rate=5e-3, average=0.95, log_every=20, evaluate_every=1_000_000
)
"""For a few dozen steps on a CPU."""


def train(
    data: Sequences,
    shape: ModelShape,
    *,
    time_limit_s: float,
    device: torch.device | str,
    seed: int,
    log: Log,
    resume: Mapping[str, Tensor] | None = None,
    settings: Settings = Settings(),
    piece: tuple[float, float] = (0.0, 1.0),
    checkpoint: Path | None = None,
    most_steps: int | None = None,
) -> dict[str, Tensor]:
    """Train until the time is over, compiling included.

    Args:
        data: all sequences; a share of them is held out.
        resume: weights to go on from. The optimizer starts anew.
        piece: which part of the whole schedule this call is, for a training in pieces: (0, 0.5), then (0.5, 1).
        checkpoint: folder that receives the result, see :func:`save_checkpoint`; every minute what has been reached.
        most_steps: end after so many steps in any case.

    Returns:
        Averaged weights by their released names, float32 on the CPU.

    Raises:
        ValueError: a sequence is longer than a row.
    """
    if data.lengths.max(initial=1) > settings.row:
        raise ValueError(f"a sequence has {data.lengths.max()} positions, a row has {settings.row}")
    begin = time.monotonic()
    device = torch.device(device)
    torch.manual_seed(seed)
    run = _Run(data, shape, device, seed, settings, resume, log)
    with _matrix_products(device), _quick_switching(), ThreadPoolExecutor(1) as pool:
        run.loop(pool, begin, begin + time_limit_s, piece, most_steps or sys.maxsize, checkpoint)
    run.evaluate()
    state = run.weights.averaged()
    if checkpoint is not None:
        save_checkpoint(checkpoint, state)
    return state


def save_checkpoint(folder: Path, state: Mapping[str, Tensor]) -> None:
    """Write weights in BF16 into files of at most 14 MB."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Tensor]] = [{}]
    room = _FILE_BYTES
    for name in sorted(state):
        value = state[name].detach().to("cpu", torch.bfloat16).contiguous()
        if parts[-1] and 2 * value.numel() > room:
            parts.append({})
            room = _FILE_BYTES
        parts[-1][name] = value
        room -= 2 * value.numel()
    for stale in folder.glob(_FILE_NAME.format("*")):
        stale.unlink()
    for number, part in enumerate(parts, 1):
        save_file(part, folder / _FILE_NAME.format(number), metadata={"format": "pt"})


def load_checkpoint(folder: Path) -> dict[str, Tensor]:
    """What :func:`save_checkpoint` wrote, in float32.

    Raises:
        FileNotFoundError: nothing of that kind in the folder.
    """
    files = sorted(folder.glob(_FILE_NAME.format("*")))
    if not files:
        raise FileNotFoundError(f"no {_FILE_NAME.format('*')} in {folder}")
    return {name: value.float() for file in files for name, value in load_file(file).items()}


@contextmanager
def _matrix_products(device: torch.device) -> Iterator[None]:
    """Products of float32 matrices may use TF32 meanwhile."""
    usual = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(usual)


@contextmanager
def _quick_switching() -> Iterator[None]:
    """Let the thread that launches steps interrupt the one that plans batches within half a millisecond."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _update(
    values: Tensor,
    gradients: Tensor,
    mean: Tensor,
    square: Tensor,
    average: Tensor,
    norm: Tensor,
    rate: Tensor,
    tick: Tensor,
    clip: float,
    weight_decay: float,
    average_decay: float,
) -> None:
    """AdamW on flat arrays, with clipping before and the moving average after it; a step that is not finite is left
    out. ``tick`` counts the steps before this one."""
    step = tick.float() + 1.0
    finite = torch.isfinite(norm)
    gradient = torch.where(finite, gradients * (clip / (norm + 1e-6)).clamp(max=1.0), 0.0)
    first = mean + (1 - _BETAS[0]) * (gradient - mean)
    second = square + (1 - _BETAS[1]) * (gradient * gradient - square)
    away = (first / (1 - _BETAS[0] ** step)) / ((second / (1 - _BETAS[1] ** step)).sqrt() + _EPS)
    moved = values - torch.where(finite, rate, 0.0) * (away + weight_decay * values)
    kept = torch.clamp((1.0 + step) / (10.0 + step), max=average_decay)
    mean.copy_(first)
    square.copy_(second)
    average.copy_(moved + kept * (average - moved))
    values.copy_(moved)


class _FlatWeights:
    """All weights of a network in one array, those with weight decay first, and the optimizer's state beside it."""

    def __init__(self, net: TalkerNet) -> None:
        decayed = net.matrices()
        named = sorted(net.named_parameters(), key=lambda item: item[0] not in decayed)
        self.parameters: list[nn.Parameter] = [value for _, value in named]
        self._spans: dict[str, tuple[int, torch.Size]] = {}
        size = self.split = 0
        for name, value in named:
            self._spans[name] = (size, value.shape)
            size += -(-value.numel() // _ALIGNMENT) * _ALIGNMENT
            if name in decayed:
                self.split = size
        device = self.parameters[0].device
        self.values, self.gradients, self.mean, self.square = (torch.zeros(size, device=device) for _ in range(4))
        for value, view in zip(self.parameters, self.views(self.values), strict=True):
            view.copy_(value.detach())
            value.data = view
        self.average = self.values.clone()
        self._gradient_views = self.views(self.gradients)

    def views(self, flat: Tensor) -> list[Tensor]:
        """The parts of an array as the weights are shaped."""
        return [flat[start : start + shape.numel()].view(shape) for start, shape in self._spans.values()]

    def take_gradients(self, gradients: Sequence[Tensor]) -> Tensor:
        """Collect the gradients of all parameters; returns their norm."""
        torch._foreach_copy_(self._gradient_views, list(gradients))
        norm: Tensor = torch.linalg.vector_norm(self.gradients)
        return norm

    def sections(self) -> Iterator[tuple[bool, tuple[Tensor, ...]]]:
        """The part with weight decay and the one without."""
        for decays, part in ((True, slice(0, self.split)), (False, slice(self.split, None))):
            arrays = (self.values, self.gradients, self.mean, self.square, self.average)
            yield decays, tuple(array[part] for array in arrays)

    @contextmanager
    def using_average(self) -> Iterator[None]:
        """The network has its averaged weights meanwhile."""
        usual = self.values.clone()
        self.values.copy_(self.average)
        try:
            yield
        finally:
            self.values.copy_(usual)

    def averaged(self) -> dict[str, Tensor]:
        """Averaged weights by name, on the CPU."""
        average = self.average.cpu()
        return {name: view.clone() for name, view in zip(self._spans, self.views(average), strict=True)}


class _Run:
    """A network, its data and its optimizer."""

    def __init__(
        self,
        data: Sequences,
        shape: ModelShape,
        device: torch.device,
        seed: int,
        settings: Settings,
        resume: Mapping[str, Tensor] | None,
        log: Log,
    ) -> None:
        self.settings, self.device, self._log = settings, device, log
        self._cuda = device.type == "cuda"
        self._net = TalkerNet(shape, data.text_rows, data.pad)
        if resume is not None:
            self._net.load_state_dict(dict(resume))
        self._net.to(device)
        self.weights = _FlatWeights(self._net)
        compiled = self._cuda and settings.compiled
        self._steps = Operations.compiled() if compiled else Operations()
        self._update: Callable[..., object] = torch.compile(_update, dynamic=False) if compiled else _update
        self._dtype = torch.bfloat16 if self._cuda else torch.float32
        kind, reason = choose_attention(settings.attention, device)
        log(f"attention: {kind}, since {reason}" if reason != "asked for" else f"attention: {kind}, as asked for")

        order = np.random.default_rng(seed).permutation(len(data))
        held = max(1, round(settings.held_out * len(data))) if len(data) > 1 else 0
        self._data, self._seed = data, seed
        self._segments = segments_per_row(data.lengths, settings.row)
        self._members = np.sort(order[held:])
        plan = self.plan(0)
        flat = Batches.on_device(data, device)

        def batches(plan: Plan, noise: float) -> Batches:
            return Batches(
                flat,
                plan,
                rows=settings.rows,
                row=settings.row,
                frames=settings.predictor_frames,
                flash=kind == "flash",
                # The empty end of a row is a sequence as well, and may be longer than all others.
                longest=settings.row,
                noise=noise,
            )

        # A later plan may have a batch or two less; what is left out of an epoch is as likely in the next one.
        self._batches = batches(plan.first(len(plan) - len(plan) // 50), settings.noise)
        held_plan = self._planned(np.sort(order[:held]) if held else self._members, 0)
        self._held_out = batches(held_plan, 0.0)
        log(
            f"{len(data)} sequences ({data.dropped} too long), {held} held out; {len(plan)} batches an epoch, "
            f"{plan.fill:.1%} filled; {self.weights.values.numel() / 1e6:.2f} M weights"
        )
        self._rate = torch.zeros((), device=device)
        self._tick = torch.zeros(1, dtype=torch.int64, device=device)
        self._sums = torch.zeros(CODE_GROUPS + 4, device=device)

    def plan(self, epoch: int) -> Plan:
        """Batches of an epoch."""
        return self._planned(self._members, epoch)

    def _planned(self, members: np.typing.NDArray[np.int64], epoch: int) -> Plan:
        settings = self.settings
        return plan_epoch(
            self._data,
            members,
            rows=settings.rows,
            row=settings.row,
            segments=self._segments,
            source=np.random.default_rng((self._seed, epoch)),
        )

    def step(self) -> None:
        """One step; nothing in it waits for the device."""
        settings = self.settings
        losses = self._losses(self._batches, self._tick % len(self._batches), learning=True)
        norm = self.weights.take_gradients(torch.autograd.grad(losses.total, self.weights.parameters))
        for decays, arrays in self.weights.sections():
            decay = settings.weight_decay if decays else 0.0
            self._update(*arrays, norm, self._rate, self._tick, settings.clip, decay, settings.average)
        self._tick.add_(1)
        self._sums.add_(_measures(losses, norm))

    def evaluate(self) -> None:
        """Log the losses of the averaged weights on what is held out."""
        count = min(_HELD_OUT_BATCHES, len(self._held_out))
        with torch.no_grad(), self.weights.using_average():
            found = [
                _measures(
                    self._losses(self._held_out, torch.tensor([number], device=self.device), learning=False),
                    self._sums.new_zeros(()),
                )
                for number in range(count)
            ]
        self._log("  held out: " + _describe(torch.stack(found).sum(0).tolist(), with_norm=False))

    def loop(
        self,
        pool: ThreadPoolExecutor,
        begin: float,
        end: float,
        piece: tuple[float, float],
        most_steps: int,
        checkpoint: Path | None,
    ) -> None:
        """Step until the time is over."""
        settings = self.settings
        epoch, done = 1, 0
        coming = pool.submit(self.plan, epoch)
        step, done = self._prepared_step()
        self._log(f"ready after {time.monotonic() - begin:.1f} s")
        first = kept = time.monotonic()
        reports = _Reports(self._log, self.device, first)
        pending: deque[torch.cuda.Event] = deque()
        while done < most_steps and (now := time.monotonic()) < end:
            if done and done % len(self._batches) == 0:
                self._batches.replace_plan(coming.result())
                epoch += 1
                coming = pool.submit(self.plan, epoch)
            share = (now - first) / max(1e-9, end - first)
            progress = piece[0] + (piece[1] - piece[0]) * share
            rate = settings.rate(done, progress)
            self._rate.fill_(rate)
            step()
            done += 1
            if self._cuda and done % 10 == 0:  # let the host be forty steps ahead at most
                pending.append(_marked())
                if len(pending) > 4:
                    pending.popleft().synchronize()
            if done % settings.log_every == 0:
                reports.add(done, progress, rate, self._sums)
            reports.print_finished()
            if checkpoint is not None and now - kept > _KEEP_S:
                save_checkpoint(checkpoint, self.weights.averaged())
                kept = now
            if done % settings.evaluate_every == 0:
                self.evaluate()
        if self._cuda:
            torch.cuda.synchronize(self.device)
        reports.print_finished()
        spent = time.monotonic() - first
        self._log(f"{done} steps, {done / len(self._batches):.1f} epochs, {1000 * spent / max(1, done):.2f} ms a step")

    def _losses(self, batches: Batches, number: Tensor, *, learning: bool) -> Losses:
        settings = self.settings
        return self._net.losses(
            batches.take(number),
            # Compiled steps are for one dropout only; plain ones are fast enough for what is held out.
            steps=self._steps if learning else Operations(),
            dtype=self._dtype,
            drop=settings.drop if learning else 0.0,
            predictor_drop=settings.predictor_drop if learning else 0.0,
            guide_weight=settings.guide_weight,
        )

    def _prepared_step(self) -> tuple[Callable[[], None], int]:
        """The step as it is run, and how many steps preparing it took."""
        if not self._cuda or not self.settings.graph:
            return self.step, 0
        self._rate.fill_(self.settings.rate(0, 0.0))
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_STEPS):
                self.step()
        torch.cuda.current_stream(self.device).wait_stream(side)
        torch.cuda.synchronize(self.device)
        self._sums.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        return graph.replay, _WARM_STEPS


def _marked() -> torch.cuda.Event:
    """An event at the present end of the work given to the device."""
    event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    return event


def _is_over(event: torch.cuda.Event | None) -> bool:
    return event is None or bool(event.query())  # type: ignore[no-untyped-call]


def _measures(losses: Losses, norm: Tensor) -> Tensor:
    """What is logged of a step: losses of the groups, guide, accuracy, norm of the gradients, and 1."""
    rest = (losses.guide, losses.accuracy, norm, torch.ones_like(norm))
    return torch.cat((losses.groups, torch.stack([value.float() for value in rest])))


def _describe(sums: Sequence[float], *, with_norm: bool) -> str:
    *groups, guide, accuracy, norm, _ = (value / max(1.0, sums[-1]) for value in sums)
    bands = ", ".join(f"{low}-{high - 1} {sum(groups[low:high]) / (high - low):.3f}" for low, high in _BANDS)
    tail = f", gradient {norm:.2f}" if with_norm else ""
    return f"code 0 {groups[0]:.4f} ({accuracy:.1%} right), {bands}, guide {guide:.3f}{tail}"


class _Reports:
    """Log lines whose numbers are still being computed: copied to the host in the background, printed when there."""

    def __init__(self, log: Log, device: torch.device, begin: float) -> None:
        self._log, self._cuda = log, device.type == "cuda"
        self._last_time, self._last_step = begin, 0
        self._waiting: deque[tuple[str, Tensor, torch.cuda.Event | None]] = deque()

    def add(self, step: int, progress: float, rate: float, sums: Tensor) -> None:
        """Report the sums over the steps since the last report, and begin new ones."""
        now = time.monotonic()
        pace = 1000 * (now - self._last_time) / max(1, step - self._last_step)
        self._last_time, self._last_step = now, step
        head = f"step {step}, {progress:.1%}, {pace:.2f} ms, rate {rate:.2e}: "
        if self._cuda:
            copy = torch.empty(sums.shape, pin_memory=True)
            copy.copy_(sums, non_blocking=True)
            self._waiting.append((head, copy, _marked()))
        else:
            self._waiting.append((head, sums.clone(), None))
        sums.zero_()

    def print_finished(self) -> None:
        """Log what has arrived."""
        while self._waiting and _is_over(self._waiting[0][2]):
            head, sums, _ = self._waiting.popleft()
            self._log(head + _describe(sums.tolist(), with_norm=True))
