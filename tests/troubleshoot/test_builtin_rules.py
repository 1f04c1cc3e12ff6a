"""The rules of the project: all of them load, link, and lead from their samples to themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from troubleshoot.catalogue import BUILTIN_FOLDER, Catalogue, load_rule, load_samples
from troubleshoot.evidence import Matcher
from troubleshoot.rule import Rule
from troubleshoot.samples import SampleOutcome, check_samples

# Causes that labelled reports of the field name.
REPORTED = (
    "audio-format-unsupported", "aux-files-missing", "bad-reference-input", "batch-padding-artifacts",
    "bf16-emulated-slow-turing", "bf16-unsupported-arch", "bind-loopback-remote-browser", "browsing-0.0.0.0",
    "check-model-inputs-signature-drift", "chunk-edge-discontinuity", "client-playback-gap",
    "codec-lowprec-nan-silence", "container-toolkit-missing", "cpu-only-device", "cpu-only-torch-wheel",
    "ct2-compute-type-unsupported", "cuda-graph-capture-failure", "cuda-graph-wrong-device", "cudnn-nvrtc-not-found",
    "cudnn-version-mismatch-ct2", "device-map-auto-split", "device-map-cpu-meta", "device-map-offload-meta",
    "driver-too-old-for-wheel", "dtype-mismatch-mixed-modules", "empty-or-filtered-input", "extension-arch-missing",
    "fake-cuda-layer", "feature-not-in-model", "finetune-pipeline-mismatch", "flash-attn-abi-mismatch",
    "flash-attn-build-failure", "flash-attn-metadata-missing", "flash-attn-requested-not-installed",
    "flash-attn2-needs-ampere", "fp16-overflow-nan", "gpu-idle-clock-ramp", "gradio-major-version",
    "gradio-pydantic-mismatch", "harmless-warning", "hub-download-slow-or-stalled", "hub-revision-check-stall",
    "hub-unreachable", "icl-reference-bleed", "import-error-masked", "instruct-unsupported-0.6b",
    "instruct-unsupported-base", "instruct-weak-or-seed-bound", "lengths-tensor-device-old-torch",
    "long-text-degradation", "long-text-memory", "mic-needs-https", "mic-os-permission", "model-too-big-for-gpu",
    "mps-unsupported-dtype-or-op", "no-eos-runaway", "no-wheel-for-platform", "numpy-abi", "numpy-no-bf16",
    "onnxruntime-cuda-libs-missing", "op-missing-bf16-old-torch", "other-process-occupies-vram", "output-truncated",
    "pin-conflict-coinstall", "port-in-use-or-reserved", "progressive-slowdown", "proxy-blocks-localhost",
    "ptxas-too-old-for-gpu", "python-launch-bound-decode", "rocm-slow-kernel-search", "rocm-stack-problem",
    "rtf-convention-inverted", "runtime-kernel-bug", "sample-rate-mismatch", "sampling-variance",
    "server-not-running-or-wrong-port", "silent-dtype-promotion", "sox-binary-missing", "sox-python-module-missing",
    "stereo-reference-tuple-bug", "stream-codec-left-context", "stream-header-as-audio",
    "streaming-text-pacing-drift", "sysmem-spill", "thermal-power-throttle", "token-id-out-of-range",
    "torch-companions-mismatch", "torch26-weights-only", "torchaudio-io-backend-missing", "torchcodec-torch-mismatch",
    "training-nan", "transformers-too-new-v5", "transformers-too-old", "transformers-version-other",
    "triton-gpu-too-old", "triton-missing-or-mismatched", "unsupported-language", "user-site-shadows-env",
    "vllm-memory-fraction", "vram-growth-across-runs", "weights-incomplete", "wheel-arch-dropped-old-gpu",
    "wheel-arch-missing-new-gpu", "windows-runtime-dll-missing", "wrong-binary-for-platform", "wrong-local-path",
    "wrong-model-type", "wsl-docker-gpu-passthrough", "wsl-libcuda-shadowed",
)  # fmt: skip
# Causes that the original tutorial's readers meet, and those that the doctor's rows need.
OWN = (
    "bf16-operation-fails", "bf16-waveform-written-uncast", "cleanup-switch-ineffective",
    "cuda-build-older-than-12-1", "disk-too-full-for-weights", "driver-older-than-wheel-minor", "host-flag-missing",
    "low-gpu-utilization", "no-nvidia-gpu-visible", "soundfile-or-libsndfile-missing", "torch-import-broken",
    "torch-not-installed", "torch-too-old-for-bf16", "torch-too-old-for-cuda-graphs",
)  # fmt: skip
RULE_FILES = sorted(path for path in BUILTIN_FOLDER.glob("*/*.yaml") if not path.name.endswith(".samples.yaml"))
RULE_IDS = [path.stem for path in RULE_FILES]
Outcomes = Callable[[str], list[SampleOutcome]]


@pytest.fixture(scope="session")
def outcomes(builtin_matcher: Matcher) -> Outcomes:
    """Outcomes of a rule's samples, each rule run once."""

    @cache
    def run(rule_id: str) -> list[SampleOutcome]:
        rule = builtin_matcher.catalogue.by_id[rule_id]
        path = builtin_matcher.catalogue.paths[rule_id].with_name(f"{rule_id}.samples.yaml")
        return list(check_samples(builtin_matcher, rule, load_samples(path, rule_id)))

    return run


def test_the_causes_of_the_field_and_our_own_all_have_a_rule(builtin_catalogue: Catalogue) -> None:
    assert len(set(REPORTED)) == 109
    assert set(builtin_catalogue.by_id) >= {*REPORTED, *OWN}


def test_every_file_in_the_folder_is_a_rule_or_its_samples() -> None:
    known = {
        path for rule_path in RULE_FILES for path in (rule_path, rule_path.with_name(f"{rule_path.stem}.samples.yaml"))
    }
    assert {path for path in BUILTIN_FOLDER.rglob("*") if path.is_file()} == known


@pytest.mark.parametrize("path", RULE_FILES, ids=RULE_IDS)
def test_a_rule_loads_and_is_of_a_length_that_a_person_reads(path: object) -> None:
    assert load_rule(path).schema_version == 1  # type: ignore[arg-type]
    assert len(path.read_text(encoding="utf-8").splitlines()) < 350  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule_id", RULE_IDS)
def test_every_sample_of_a_rule_holds(outcomes: Outcomes, rule_id: str) -> None:
    failing = [f"{each.wanted} {each.name!r}: found {each.found}" for each in outcomes(rule_id) if not each.holds]
    assert not failing


@pytest.mark.parametrize("rule_id", RULE_IDS)
def test_a_rule_has_samples_enough(outcomes: Outcomes, rule_id: str) -> None:
    wanted = [each.wanted for each in outcomes(rule_id)]
    assert wanted.count("hit") >= 3
    assert len(wanted) - wanted.count("hit") >= 2


@pytest.mark.parametrize("rule_id", RULE_IDS)
def test_a_rule_speaks_both_languages_in_which_people_report(builtin_catalogue: Catalogue, rule_id: str) -> None:
    rule = builtin_catalogue.by_id[rule_id]
    assert len(rule.says.en) >= 5
    assert len(rule.says.zh) >= 3
    for text in (rule.title_zh, rule.symptom.zh, *(question.ask_zh for question in rule.questions)):
        assert any("\u4e00" <= char <= "\u9fff" for char in text), text


def test_answers_masks_and_look_alikes_name_rules_that_exist(builtin_catalogue: Catalogue) -> None:
    for rule in builtin_catalogue:
        named = {*rule.masks, *(other.rule for other in rule.lookalikes)}
        named |= {target for question in rule.questions for answer in question.answers for target in answer.weights}
        assert named <= set(builtin_catalogue.by_id), rule.id


def test_every_question_weighs_the_rule_that_asks_it(builtin_catalogue: Catalogue) -> None:
    for rule in builtin_catalogue:
        for question in rule.questions:
            assert any(rule.id in answer.weights for answer in question.answers), question.id


def test_masks_do_not_run_in_a_circle(builtin_catalogue: Catalogue) -> None:
    def roots(rule: Rule, path: tuple[str, ...]) -> None:
        assert rule.id not in path, " -> ".join((*path, rule.id))
        for masked in rule.masks:
            if rule.id not in builtin_catalogue.by_id[masked].masks:  # two rules may mask each other: the likelier wins
                roots(builtin_catalogue.by_id[masked], (*path, rule.id))

    for rule in builtin_catalogue:
        roots(rule, ())


def test_no_command_runs_a_pipe_from_the_net_or_deletes_blindly(builtin_catalogue: Catalogue) -> None:
    for rule in builtin_catalogue:
        for fix in rule.fixes:
            commands = [
                line for name in ("any", "linux", "windows", "macos", "wsl") for line in getattr(fix.commands, name)
            ]
            for command in commands:
                assert "| sh" not in command, rule.id
                assert "| bash" not in command, rule.id
                assert "rm -rf /" not in command.replace("rm -rf /tmp/", ""), rule.id


def test_priors_leave_room_for_what_no_rule_knows(builtin_catalogue: Catalogue) -> None:
    assert sum(rule.prior for rule in builtin_catalogue) <= 1.3
