"""The cards are known by NVML, else by nvidia-smi, else by PyTorch; what cannot be had has a reason."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.probe.contract import ProbeReport
from toolkit.probe.gpu import card_facts, choose_card, complete_gpu_facts, probe_gpu
from troubleshoot.facts import NA

Card = dict[str, object]

SMI = """
import sys
ANSWERS = {answers!r}
asked = " ".join(sys.argv[1:])
if "--query-gpu" in asked:
    fields = asked.split("--query-gpu=")[1].split(" ")[0].split(",")
    for field in fields:
        if field not in ANSWERS:
            print('Field "%s" is not a valid field to query.' % field)
            raise SystemExit(2)
    for card in range({cards}):
        print(", ".join(ANSWERS[field] for field in fields))
elif "--query-compute-apps" in asked:
    print("GPU-1, 4242, /opt/game, with comma, 100")
    print("GPU-1, 4243, /opt/ollama, 2048")
else:
    print("| NVIDIA-SMI 550.54.14    Driver Version: 550.54.14    CUDA Version: 12.4 |")
"""
ANSWERS = {
    "index": "0", "name": "NVIDIA GeForce RTX 3060", "uuid": "GPU-1", "pci.bus_id": "00000000:01:00.0",
    "driver_version": "550.54.14", "compute_cap": "8.6", "memory.total": "12288", "memory.used": "2200",
    "memory.free": "10088", "utilization.gpu": "12", "temperature.gpu": "55", "clocks.sm": "1777",
    "clocks.max.sm": "2100", "clocks.mem": "7501", "power.draw": "44.20", "power.limit": "170.00",
    "power.default_limit": "170.00", "pstate": "P2", "pcie.link.gen.current": "3", "pcie.link.width.current": "8",
    "pcie.link.gen.max": "4", "pcie.link.width.max": "16", "persistence_mode": "Enabled", "mig.mode.current": "[N/A]",
    "display_active": "Enabled", "driver_model.current": "[N/A]",
    "clocks_throttle_reasons.active": "0x0000000000000024",
}  # fmt: skip


def probe(fakes: Any, **more: object) -> ProbeReport:
    return probe_gpu(fakes.target(**more))


def of(report: ProbeReport, *names: str) -> tuple[object, ...]:
    return tuple(report.facts[f"gpu.{name}"] for name in names)


def without_nvml(fakes: Any) -> None:
    fakes.nvml(init={"error": 12})


def smi(fakes: Any, *, drop: tuple[str, ...] = (), cards: int = 1, **change: str) -> None:
    answers = {name: value for name, value in {**ANSWERS, **change}.items() if name not in drop}
    fakes.program("nvidia-smi", SMI.format(answers=answers, cards=cards))


def test_nvml_tells_all_of_a_4090(fakes: Any, rtx_4090: Card) -> None:
    fakes.nvml(rtx_4090)
    report = probe(fakes)
    assert report.state == "ok"
    assert of(report, "source", "nvml", "count", "vendor") == ("nvml", "ok", 1, "nvidia")
    assert of(report, "name", "cc", "architecture") == ("NVIDIA GeForce RTX 4090", "8.9", "ada")
    assert of(report, "memory_gb", "free_gb", "other_gb") == (23.99, 22.52, 1.46)
    assert of(report, "throttled", "throttle_reasons", "pstate") == (False, "idle", "P8")
    assert of(report, "power_draw_w", "power_limit_w") == (61.5, 450.0)
    assert of(report, "display", "persistence", "mig") == (True, False, False)
    assert of(report, "pcie") == ({"generation": 4, "width": 16, "generation_max": 4, "width_max": 16},)
    assert of(report, "driver_model") == (NA("NVML: Not Supported"),)
    assert (report.facts["driver.version"], report.facts["driver.cuda"]) == ("550.54.14", "12.4")
    assert report.facts["driver.fake"] is False


@pytest.mark.parametrize(
    ("second", "used"),
    [({"total": 24564 * 2**20, "used": 1024 * 2**20, "free": 23064 * 2**20}, 1.0), ({"error": 13}, 1.46)],
)
def test_what_the_driver_reserves_is_nobody_elses_where_nvml_can_tell(
    fakes: Any, rtx_4090: Card, second: dict[str, int], used: float
) -> None:
    fakes.nvml({**rtx_4090, "MemoryInfo_v2": second})
    assert of(probe(fakes), "other_gb", "free_gb") == (used, 22.52)


def test_processes_are_listed_with_what_is_known_of_them(fakes: Any, rtx_4090: Card) -> None:
    fakes.nvml(rtx_4090)
    (listed,) = of(probe(fakes), "processes")
    assert listed == [
        {"pid": 4242, "name": "/opt/ollama/ollama", "kind": "compute", "used_gb": 0.88},
        {
            "pid": 77,
            "name": NA("NVML: Not Supported"),
            "kind": "graphics",
            "used_gb": NA("the driver does not tell it (WDDM)"),
        },
    ]


def test_a_throttled_t4(fakes: Any, tesla_t4: Card) -> None:
    fakes.nvml(tesla_t4)
    report = probe(fakes)
    assert of(report, "cc", "architecture", "throttled") == ("7.5", "turing", True)
    assert of(report, "throttle_reasons", "display") == ("power-cap, thermal", False)


def test_fields_that_wsl_does_not_have_are_na_with_the_reason(fakes: Any, rtx_4090: Card) -> None:
    absent = (
        "UtilizationRates",
        "Temperature",
        "ClockInfo",
        "PowerUsage",
        "CurrentClocksEventReasons",
        "DisplayActive",
    )
    fakes.nvml({**rtx_4090, **{key: {"error": 3} for key in absent}, "ComputeRunningProcesses": {"error": 999}})
    report = probe(fakes)
    reason = NA("NVML: Not Supported")
    names = ("utilization_percent", "temperature_c", "sm_clock_mhz", "power_draw_w", "throttled", "display")
    assert of(report, *names) == (reason,) * 6
    assert of(report, "processes") == (NA("NVML: Unknown Error"),)
    assert of(report, "name", "memory_gb") == ("NVIDIA GeForce RTX 4090", 23.99)


def test_a_pynvml_from_before_a_field_loses_that_field_only(fakes: Any, rtx_4090: Card) -> None:
    del rtx_4090["PersistenceMode"]
    rtx_4090["CurrentClocksThrottleReasons"] = rtx_4090.pop("CurrentClocksEventReasons")
    fakes.nvml(rtx_4090)
    report = probe(fakes)
    assert "does not know it" in str(of(report, "persistence")[0])
    assert of(report, "throttle_reasons") == ("idle",)


@pytest.mark.parametrize(
    ("code", "state"),
    [(9, "driver-not-loaded"), (12, "library-not-found"), (18, "version-mismatch"), (15, "gpu-lost"), (999, "error")],
)
def test_each_way_in_which_nvml_fails_has_a_name(fakes: Any, code: int, state: str) -> None:
    fakes.nvml(init={"error": code})
    report = probe(fakes)
    assert report.state == "ok"
    assert of(report, "nvml", "source", "count", "nvidia_smi") == (state, "none", 0, "missing")
    assert "NVMLError" in report.reason
    assert "NVMLError" in str(report.facts["driver.version"])


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ("raise ImportError('broken')", "broken"),
        ("nvmlInit = None", "shadowed"),
        ("import ctypes; ctypes.string_at(0)", "crashed"),
    ],
)
def test_a_pynvml_that_is_not_nvidias_is_recognised(fakes: Any, source: str, state: str) -> None:
    fakes.module("pynvml.py", source)
    smi(fakes)
    report = probe(fakes)
    assert of(report, "nvml", "source", "name") == (state, "nvidia-smi", "NVIDIA GeForce RTX 3060")
    assert report.state == "ok"


def test_a_lost_card_does_not_hide_the_other(fakes: Any, rtx_4090: Card, tesla_t4: Card) -> None:
    fakes.nvml({**tesla_t4, "Handle": {"error": 15}}, rtx_4090)
    report = probe(fakes)
    assert of(report, "count", "name") == (1, "NVIDIA GeForce RTX 4090")
    assert "card 0: NVMLError: GPU is lost" in str(report.facts["gpu.problem"])


def test_a_hanging_nvml_ends_at_the_deadline_and_nvidia_smi_is_not_waited_for_too(fakes: Any, rtx_4090: Card) -> None:
    fakes.nvml(rtx_4090, init_s=60.0)
    smi(fakes)
    report = probe(fakes, deadlines_s={"gpu": 3.0})
    assert (report.state, report.elapsed_s < 4) == ("timed-out", True)
    assert of(report, "nvml", "nvidia_smi", "source") == ("timed-out", "not-asked", "none")
    assert "during 'nvmlInit'" in report.reason


def test_nvidia_smi_steps_in(fakes: Any) -> None:
    without_nvml(fakes)
    smi(fakes)
    report = probe(fakes)
    assert of(report, "source", "name", "cc", "cc_source") == (
        "nvidia-smi", "NVIDIA GeForce RTX 3060", "8.6", "nvidia-smi",
    )  # fmt: skip
    assert of(report, "memory_gb", "other_gb", "power_limit_w") == (12.0, 2.15, 170.0)
    assert of(report, "throttled", "throttle_reasons", "mig") == (True, "power-cap, thermal", False)
    assert of(report, "driver_model") == (NA("nvidia-smi: N/A"),)
    assert of(report, "processes") == (
        [
            {"pid": 4242, "name": "/opt/game, with comma", "kind": "compute", "used_gb": 0.1},
            {"pid": 4243, "name": "/opt/ollama", "kind": "compute", "used_gb": 2.0},
        ],
    )
    assert (report.facts["driver.version"], report.facts["driver.cuda"]) == ("550.54.14", "12.4")


def test_an_old_nvidia_smi_loses_only_the_fields_it_does_not_know(fakes: Any) -> None:
    without_nvml(fakes)
    smi(fakes, drop=("compute_cap", "mig.mode.current", "clocks_throttle_reasons.active"))
    report = probe(fakes)
    assert of(report, "cc", "cc_source", "source") == ("8.6", "name table", "nvidia-smi")
    assert of(report, "throttled") == (NA("nvidia-smi does not tell it"),)


@pytest.mark.parametrize(
    ("source", "state"),
    [
        ("print(\"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\"); exit(9)",
         "driver-not-loaded"),
        ("print('Failed to initialize NVML: Driver/library version mismatch'); exit(18)", "version-mismatch"),
        ("print('No devices were found'); raise SystemExit(6)", "no-devices"),
        ("print('Field \"index\" is not a valid field to query.'); raise SystemExit(2)", "error"),
        ("import ctypes; ctypes.string_at(0)", "crashed"),
        ("pass", "no-devices"),
    ],
)  # fmt: skip
def test_a_failing_nvidia_smi_says_how(fakes: Any, source: str, state: str) -> None:
    without_nvml(fakes)
    fakes.program("nvidia-smi", source)
    report = probe(fakes)
    assert of(report, "nvidia_smi", "count", "source") == (state, 0, "none")


def test_a_hanging_nvidia_smi_ends_at_the_deadline(fakes: Any) -> None:
    without_nvml(fakes)
    fakes.program("nvidia-smi", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    report = probe(fakes, deadlines_s={"gpu": 3.0})
    assert report.state == "timed-out"
    assert report.elapsed_s < 5
    assert "nvidia-smi: no answer within 1.5 s" in str(report.facts["gpu.problem"])


def test_a_layer_that_poses_as_the_driver_is_recognised(fakes: Any, rtx_4090: Card) -> None:
    fakes.nvml(rtx_4090, cuda=2147483647)
    assert probe(fakes).facts["driver.fake"] is True
    fakes.nvml({**rtx_4090, "Name": "AMD Radeon RX 7900 XTX [ZLUDA]"})
    assert probe(fakes).facts["driver.fake"] is True


def test_a_card_that_is_not_there_is_said(fakes: Any, rtx_4090: Card) -> None:
    fakes.nvml(rtx_4090)
    report = probe(fakes, gpu_index=3)
    assert report.facts["gpu.problem"] == "there is no card 3: 1 found"
    assert "gpu.name" not in report.facts


def test_with_several_cards_the_scalar_facts_are_those_of_cuda_0(fakes: Any, rtx_4090: Card, tesla_t4: Card) -> None:
    fakes.nvml(tesla_t4, rtx_4090)
    facts = probe(fakes).facts
    assert (facts["gpu.name"], facts["gpu.count"]) == ("Tesla T4", 2)
    by_torch: list[dict[str, object]] = [{"uuid": "11111111-2222-3333-4444-555555555555"}]
    completed = complete_gpu_facts(facts, by_torch, gpu_index=None, hip=False)
    assert (completed["gpu.name"], completed["gpu.index"]) == ("NVIDIA GeForce RTX 4090", 1)
    asked = complete_gpu_facts(facts, by_torch, gpu_index=0, hip=False)
    assert asked["gpu.name"] == "Tesla T4"
    assert "gpu.cards" not in completed
    assert [card["name"] for card in completed["gpu.list"]] == ["Tesla T4", "NVIDIA GeForce RTX 4090"]  # type: ignore[attr-defined]


def test_the_card_is_matched_by_name_when_torch_knows_no_uuid() -> None:
    cards: list[Card] = [{"name": "A", "uuid": "GPU-1"}, {"name": "B", "uuid": "GPU-2"}]
    assert choose_card(cards, [{"name": "B", "uuid": None}]) == 1
    assert choose_card(cards, [{"name": "C"}]) == 0
    assert choose_card(cards, []) == 0


def test_torch_is_asked_last() -> None:
    nothing = {"gpu.source": "none", "gpu.nvml": "missing", "gpu.nvidia_smi": "missing", "gpu.adapters": ["intel"]}
    device = {"name": "NVIDIA GeForce RTX 3060", "cc": "8.6", "memory_bytes": 12 * 2**30, "uuid": None}
    facts = complete_gpu_facts(nothing, [device], gpu_index=None, hip=False)
    assert [facts[f"gpu.{name}"] for name in ("source", "vendor", "cc", "memory_gb")] == [
        "torch",
        "nvidia",
        "8.6",
        12.0,
    ]
    assert facts["gpu.free_gb"] == NA("torch does not tell it")
    amd = complete_gpu_facts(nothing, [{**device, "name": "AMD Radeon RX 7900"}], gpu_index=None, hip=True)
    assert (amd["gpu.vendor"], amd["gpu.cc"]) == ("amd", NA("compute capability is NVIDIA's; this is an AMD card"))


@pytest.mark.parametrize(
    ("adapters", "vendor"),
    [(["intel", "nvidia"], "nvidia"), (["amd"], "amd"), ([], "none"), (["apple"], "apple")],
)
def test_without_any_answer_the_adapters_tell_the_vendor(adapters: list[str], vendor: str) -> None:
    given = {
        "gpu.source": "none",
        "gpu.nvml": "library-not-found",
        "gpu.nvidia_smi": "missing",
        "gpu.adapters": adapters,
    }
    facts = complete_gpu_facts(given, [], gpu_index=None, hip=False)
    assert facts["gpu.vendor"] == vendor
    assert facts["gpu.cc"] == NA("no card was found (NVML: library-not-found, nvidia-smi: missing)")


def test_a_card_without_a_known_capability_claims_none() -> None:
    facts = card_facts({"name": "Some new card"}, "nvidia-smi")
    assert facts["gpu.cc"] == NA("nvidia-smi does not tell it")
    assert facts["gpu.cc_source"] == "none"
