"""A watch gives whole samples from cards that answer badly, and its summary says what utilisation means."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import GpuUnavailable, UsageError
from toolkit.probe import gpu_sample
from toolkit.probe.gpu_sample import NvmlReader, Sample, SmiReader, open_nvml, open_reader, sample
from toolkit.probe.watch import (
    CsvWriter,
    UtilizationVerdict,
    WatchSummary,
    format_line,
    summarise,
    to_dataframe,
    watch,
    write_csv,
)
from troubleshoot.facts import NA


class NVMLError(Exception):
    """The fake's own error class, as pynvml has one."""


class FakeNvml:
    """A card; ``broken`` names the functions that it refuses."""

    NVMLError = NVMLError

    def __init__(self, *broken: str, utilization: Sequence[int] = (87,)) -> None:
        self.broken = broken
        self.utilization = list(utilization)
        self.closed = False

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return f"card {index}"

    def nvmlShutdown(self) -> None:
        self.closed = True

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=6 * 2**30, total=12 * 2**30),
            "nvmlDeviceGetClockInfo": 1740,
            "nvmlDeviceGetPowerUsage": 168_400,
            "nvmlDeviceGetEnforcedPowerLimit": 170_000,
            "nvmlDeviceGetTemperature": 71,
            "nvmlDeviceGetPerformanceState": 2,
            "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x2,
        }
        if name == "nvmlDeviceGetUtilizationRates":
            value = self.utilization.pop(0) if len(self.utilization) > 1 else self.utilization[0]
            answers[name] = SimpleNamespace(gpu=value, memory=40)
        if name not in answers:
            raise AttributeError(name)

        def call(*arguments: object) -> object:
            if name in self.broken:
                raise NVMLError("Not Supported")
            return answers[name]

        return call


def take(nvml: object, **given: Any) -> Sample:
    return sample(nvml, clock=lambda: 5.0, **given)  # type: ignore[arg-type]


WHOLE = take(FakeNvml())


def test_a_sample_holds_every_sensor_in_its_unit() -> None:
    expected = Sample(
        time_s=5.0, utc=WHOLE.utc, gpu_index=0, utilization_percent=87.0, memory_busy_percent=40.0,
        memory_used_bytes=6 * 2**30, memory_total_bytes=12 * 2**30, sm_clock_mhz=1740.0, memory_clock_mhz=1740.0,
        power_w=168.4, power_limit_w=170.0, temperature_c=71.0, pstate="P2",
        throttle_reasons=("application-clocks", "power-cap"),
    )  # fmt: skip
    assert expected == WHOLE
    assert WHOLE.throttled is True


def test_a_sensor_that_is_refused_is_na_and_the_others_stay() -> None:
    taken = take(FakeNvml("nvmlDeviceGetPowerUsage", "nvmlDeviceGetCurrentClocksEventReasons"))
    assert taken.power_w == NA("NVML: Not Supported")
    assert taken.throttle_reasons == NA("NVML: Not Supported")
    assert taken.throttled == taken.throttle_reasons
    assert taken.utilization_percent == 87.0


def test_a_lost_card_gives_a_sample_of_reasons() -> None:
    nvml = FakeNvml()
    nvml.nvmlDeviceGetCount = lambda: (_ for _ in ()).throw(NVMLError("GPU is lost"))  # type: ignore[method-assign]
    taken = take(nvml)
    assert taken.utilization_percent == NA("NVML: GPU is lost")
    assert taken.throttle_reasons == NA("NVML: GPU is lost")
    assert format_line(taken) == "    5.0 s  GPU N/A %  mem N/A/N/A GiB   N/A MHz  N/A/N/A W  N/A C"


def test_a_card_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="there is no card 3: NVML lists 1, counted from 0"):
        take(FakeNvml(), gpu_index=3)


def test_an_old_pynvml_knows_throttle_reasons_by_their_old_name() -> None:
    functions = {name: getattr(FakeNvml(), name) for name in dir(FakeNvml) if name.startswith("nvml")}
    old = SimpleNamespace(**functions, nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x40)
    assert take(old).throttle_reasons == ("hardware-thermal",)
    assert take(SimpleNamespace(**functions)).throttle_reasons == NA("this pynvml does not know throttle reasons")


def test_without_nvml_and_nvidia_smi_the_error_names_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    monkeypatch.setattr(gpu_sample, "find_nvidia_smi", lambda environment: None)
    with pytest.raises(GpuUnavailable, match="install it with `python -m pip install nvidia-ml-py`"):
        open_nvml()
    with pytest.raises(GpuUnavailable, match="nvidia-smi is not here either"):
        open_reader(0)
    monkeypatch.setattr(gpu_sample, "find_nvidia_smi", lambda environment: "/usr/bin/nvidia-smi")
    assert isinstance(open_reader(0), SmiReader)


def test_a_foreign_pynvml_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", SimpleNamespace())
    with pytest.raises(GpuUnavailable, match="is not nvidia-ml-py"):
        open_nvml()


def smi(folder: Path, body: str) -> SmiReader:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return SmiReader(str(program), clock=lambda: 5.0)


def test_nvidia_smi_gives_the_same_sample(tmp_path: Path) -> None:
    row = "87, 40, 6144, 12288, 1740, 1740, 168.40, 170.00, 71, P2, 0x0000000000000006"
    taken = smi(tmp_path, f"echo '{row}'").read()
    assert replace(taken, utc=WHOLE.utc, power_w=WHOLE.power_w) == WHOLE


def test_nvidia_smi_of_an_old_driver_and_missing_sensors(tmp_path: Path) -> None:
    reader = smi(
        tmp_path,
        'case "$3" in *throttle*) echo \'Field "clocks_throttle_reasons.active" is not a valid field\'; exit 2;; esac'
        "\necho '12, [N/A], 6144, 12288, 300, 405, [Not Supported], 170.00, 40, P8'",
    )
    taken = reader.read()
    assert taken.utilization_percent == 12.0
    assert taken.power_w == NA("nvidia-smi: Not Supported")
    assert taken.throttle_reasons == NA("nvidia-smi: not told")


def test_nvidia_smi_that_fails_is_na_and_a_wrong_index_an_error(tmp_path: Path) -> None:
    failed = smi(tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9").read()
    assert failed.utilization_percent == NA("nvidia-smi: NVIDIA-SMI has failed")
    with pytest.raises(UsageError, match="there is no card 0"):
        smi(tmp_path, "echo 'No devices were found'; exit 6").read()


class Clock:
    """A clock that only sleeping and reading move on."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        self.now += 0.001
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def watched(nvml: FakeNvml, interval_s: float, duration_s: float | None, clock: Clock) -> Iterable[Sample]:
    reader = NvmlReader(nvml, clock=clock)  # type: ignore[arg-type]
    return watch(interval_s, duration_s, reader=reader, clock=clock, sleep=clock.sleep)


def test_a_watch_keeps_its_beat_and_ends_in_time() -> None:
    nvml, clock = FakeNvml(), Clock()
    taken = list(watched(nvml, 0.5, 2.0, clock))
    assert [round(one.time_s, 1) for one in taken] == [0.0, 0.5, 1.0, 1.5]
    assert nvml.closed


def test_a_suspended_machine_leaves_a_gap_and_no_burst() -> None:
    clock = Clock()
    stream = iter(watched(FakeNvml(), 1.0, None, clock))
    first = next(stream)
    clock.now += 60
    times = [first.time_s, *(next(stream).time_s for _ in range(3))]
    assert times[1] > 60
    assert [round(after - before) for before, after in pairwise(times[1:])] == [1, 1]


@pytest.mark.parametrize(("interval_s", "duration_s"), [(0.0, 1.0), (float("nan"), 1.0), (1.0, 0.0), (1.0, 1e9)])
def test_beats_out_of_range_are_refused(interval_s: float, duration_s: float) -> None:
    with pytest.raises(UsageError):
        next(iter(watch(interval_s, duration_s)))


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(UsageError, match="GPU index -1"):
        open_reader(-1)


def test_csv_has_one_header_and_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "watch.csv"
    assert write_csv([WHOLE, WHOLE], path) == 2
    with path.open("a") as file:
        file.write("7.0,2026-")
    lost = replace(WHOLE, power_w=NA("gone"))
    with CsvWriter(path) as writer:
        writer.write(lost)
        flushed = path.read_text().splitlines()
    rows = list(csv.DictReader([flushed[0], flushed[1], flushed[-1]]))
    assert len(flushed) == 5
    assert rows[0]["throttle_reasons"] == "application-clocks power-cap"
    assert rows[1]["power_w"] == ""
    assert flushed[3] == "7.0,2026-"


def test_a_strange_file_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="is not a file of this watch"):
        write_csv([WHOLE], path)
    assert path.read_text() == "a,b\n1,2\n"
    with pytest.raises(UsageError, match="cannot be written"):
        write_csv([WHOLE], tmp_path / "absent" / "x.csv")


def test_a_table_has_a_column_for_each_field() -> None:
    table = to_dataframe([WHOLE, replace(WHOLE, power_w=NA("gone"))])
    assert list(table["utilization_percent"]) == [87.0, 87.0]
    assert table["power_w"].isna().tolist() == [False, True]
    assert to_dataframe([]).columns.tolist() == table.columns.tolist()


def test_a_line_fits_eighty_columns() -> None:
    assert format_line(WHOLE) == "    5.0 s  GPU  87 %  mem 6.0/12.0 GiB  1740 MHz  168/170 W  71 C  power-cap"
    crowded = replace(WHOLE, time_s=99_999.9, memory_used_bytes=141 * 2**30, throttle_reasons=("thermal",) * 5)
    assert len(format_line(crowded)) <= 80


def series(values: Sequence[float | NA], step_s: float = 1.0) -> WatchSummary:
    taken = [
        replace(WHOLE, time_s=index * step_s, utilization_percent=value) for index, value in enumerate(values)
    ]  # fmt: skip
    return summarise(taken)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([80.0] * 30, "steady"),
        ([99.0] * 30, "steady"),
        ([20.0] * 30, "low"),
        ([80.0] * 20 + [20.0] * 9 + [80.0] * 40, "steady"),
        ([80.0] * 20 + [20.0] * 12 + [80.0] * 90, "low"),
        ([80.0, 40.0] * 15, "uneven"),
        ([0.0] * 30, "idle"),
        ([0.0] * 30 + [80.0] * 10 + [1.0] * 30, "steady"),
    ],
)
def test_the_verdict_on_utilisation(values: list[float], verdict: str) -> None:
    found = series(values).verdict
    assert isinstance(found, UtilizationVerdict)
    assert found.value == verdict


def test_shares_are_of_time_and_pauses_do_not_count() -> None:
    found = series([0.0] * 10 + [70.0] * 6 + [97.0] * 2 + [20.0] * 2)
    assert (found.share_working, found.share_healthy, found.share_low) == (0.5, 0.6, 0.2)
    assert found.longest_low_s == 2.0
    assert found.duration_s == 19.0


def test_a_gap_counts_as_three_beats_at_most() -> None:
    times = [0.0, 1.0, 2.0, 3600.0, 3601.0]
    taken = [replace(WHOLE, time_s=at, utilization_percent=20.0) for at in times]
    assert summarise(taken).longest_low_s == 7.0


def test_facts_of_a_watch() -> None:
    facts = series([20.0] * 12).as_facts()
    assert facts["gpu.low_utilization"] is True
    assert facts["gpu.utilization_verdict"] == "low"
    assert facts["gpu.low_spell_s"] == 12.0
    assert facts["gpu.throttled"] is True
    assert facts["gpu.throttle_reasons"] == "power-cap"
    assert facts["gpu.memory_peak_gb"] == 6.0
    assert facts["gpu.temperature_c"] == 71.0
    idle = series([0.0] * 12).as_facts()
    assert isinstance(idle["gpu.low_utilization"], NA)


def test_a_watch_without_sensors_or_samples_claims_nothing() -> None:
    for found in (series([NA("not supported")] * 5), summarise([])):
        assert isinstance(found.verdict, NA)
        assert isinstance(found.as_facts()["gpu.low_utilization"], NA)
        assert isinstance(found.utilization_mean_percent, NA)


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(0, 100), st.just(NA("gone"))), max_size=50), st.floats(0.05, 10))
def test_shares_stay_shares(values: list[float | NA], step_s: float) -> None:
    found = series(values, step_s)
    for share in (found.share_working, found.share_healthy, found.share_low, found.throttled_share):
        assert isinstance(share, NA) or 0 <= share <= 1
