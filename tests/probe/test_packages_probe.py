"""What is installed beside PyTorch, what contradicts what, and what cannot be imported."""

from __future__ import annotations

from typing import Any

import pytest

from toolkit.probe.conflicts import Distribution, find_conflicts
from toolkit.probe.contract import ProbeReport
from toolkit.probe.packages import probe_packages
from troubleshoot.facts import NA

LINUX = {
    "implementation_name": "cpython", "implementation_version": "3.10.12", "os_name": "posix",
    "platform_machine": "x86_64", "platform_python_implementation": "CPython", "platform_release": "6.1",
    "platform_system": "Linux", "platform_version": "#1", "python_full_version": "3.10.12", "python_version": "3.10",
    "sys_platform": "linux",
}  # fmt: skip
AROUND = {"transformers", "numpy", "torch", "qwen-tts"}


def probe(fakes: Any, **more: object) -> ProbeReport:
    return probe_packages(fakes.target(known={"python.markers": LINUX}, **more))


def conflicts(*owners: Distribution) -> list[str]:
    return find_conflicts({owner.name.lower(): owner for owner in owners}, LINUX, around=AROUND)[0]


def test_versions_come_from_metadata_without_any_import(fakes: Any) -> None:
    fakes.distribution("transformers", "4.57.3")
    fakes.distribution("qwen-tts", "0.1.1", "transformers==4.57.3")
    fakes.distribution("onnxruntime-gpu", "1.22.0")
    fakes.distribution("torchaudio", "2.8.0+cu126")
    fakes.module("transformers/__init__.py", "raise RuntimeError('must not be imported')")
    report = probe(fakes)
    assert report.state == "ok"
    for name, version in (
        ("transformers", "4.57.3"), ("qwen_tts", "0.1.1"), ("onnxruntime", "1.22.0"), ("torchaudio", "2.8.0"),
        ("vllm", NA("not installed in this interpreter")),
    ):  # fmt: skip
        assert report.facts[f"{name}.version"] == version
    assert report.facts["packages.conflicts"] == ""
    assert report.facts["transformers.file"] == str(fakes.site / "transformers" / "__init__.py")


def test_conflicts_are_told_as_pip_check_tells_them(fakes: Any) -> None:
    fakes.distribution("transformers", "5.2.0")
    fakes.distribution("qwen-tts", "0.1.1", "transformers==4.57.3", "accelerate==1.12.0", 'winloop; os_name == "nt"')
    report = probe(fakes)
    assert report.facts["packages.conflicts"] == (
        "qwen-tts 0.1.1 requires transformers==4.57.3, but 5.2.0 is installed; "
        "qwen-tts 0.1.1 requires accelerate==1.12.0, which is not installed"
    )


def test_a_stranger_counts_only_when_it_is_about_a_known_package() -> None:
    numpy = Distribution("numpy", "2.1.0")
    assert conflicts(Distribution("app", "1.0", ("numpy<2", "requests")), numpy) == [
        "app 1.0 requires numpy<2, but 2.1.0 is installed"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "transformers>=4.50,<5",
        "Transformers ~= 4.57",
        "transformers (==4.57.*)",
        'transformers<4; extra == "old"',
        'transformers<4; python_version < "3.9"',
        "transformers @ https://example.org/transformers.whl",
    ],
)
def test_met_and_inapplicable_requirements_are_silent(line: str) -> None:
    installed = Distribution("transformers", "4.57.3")
    assert conflicts(Distribution("qwen-tts", "0.1.1", (line,)), installed) == []


def test_prereleases_and_local_builds_are_judged_by_their_version() -> None:
    torch = Distribution("torch", "2.9.0.dev20250801+cu130")
    assert conflicts(Distribution("qwen-tts", "1", ("torch>=2.4",)), torch) == []
    assert conflicts(Distribution("qwen-tts", "1", ("torch==2.8.0",)), Distribution("torch", "2.8.0+cu126")) == []


def test_lines_that_cannot_be_read_are_named_not_guessed() -> None:
    owner = Distribution("qwen-tts", "0.1", ("numpy >= two", "transformers==4.57.3"))
    told, unreadable = find_conflicts({"qwen-tts": owner}, LINUX, around=AROUND)
    assert unreadable == ["qwen-tts: numpy >= two (InvalidRequirement)"]
    assert told == ["qwen-tts 0.1 requires transformers==4.57.3, which is not installed"]
    strange = {"qwen-tts": owner, "transformers": Distribution("transformers", "not a version")}
    assert find_conflicts(strange, LINUX, around=AROUND)[0] == []


def test_leftovers_and_rivals_are_listed(fakes: Any) -> None:
    other = fakes.root / "other"
    fakes.distribution("transformers", "4.40.0", site=other)
    fakes.distribution("transformers", "4.57.3")
    fakes.distribution("onnxruntime", "1.20.0")
    fakes.distribution("onnxruntime-gpu", "1.20.0")
    report = probe(fakes, environment=fakes.environment(PYTHONPATH=f"{other}:{fakes.site}:{fakes.site}"))
    assert report.facts["transformers.version"] == "4.40.0"
    leftovers: Any = report.facts["packages.leftovers"]
    assert leftovers[:2] == [
        "transformers: 4.40.0 hides 4.57.3",
        "onnxruntime and onnxruntime-gpu are both installed",
    ]


def test_broken_metadata_is_passed_over(fakes: Any) -> None:
    fakes.module("half-1.0.dist-info/METADATA", "")
    fakes.module("binary-1.0.dist-info/METADATA", "").write_bytes(b"Name: \xff\xfe\nVersion: 1\n\n")
    (fakes.site / "empty-1.0.dist-info").mkdir()
    fakes.distribution("transformers", "4.57.3")
    report = probe(fakes)
    assert (report.state, report.facts["transformers.version"]) == ("ok", "4.57.3")


def test_a_stub_of_flash_attn_has_a_file_but_no_metadata(fakes: Any) -> None:
    fakes.module("flash_attn/__init__.py", "")
    report = probe(fakes)
    assert report.facts["flash_attn.metadata"] is False
    assert report.facts["flash_attn.version"] == NA("not installed in this interpreter")


def test_soundfile_and_numpy_are_really_imported(fakes: Any) -> None:
    fakes.borrow("numpy", "soundfile", "_soundfile", "cffi", "_cffi_backend", "typing_extensions")
    report = probe(fakes)
    assert (report.facts["soundfile.state"], report.facts["numpy.state"]) == ("ok", "ok")
    assert str(report.facts["soundfile.libsndfile"]).startswith("1.")


@pytest.mark.parametrize(
    ("source", "state", "told"),
    [
        ("raise OSError('sndfile library not found')", "error", "sndfile library not found"),
        ("import ctypes; ctypes.string_at(0)", "crashed", "SIGSEGV"),
    ],
)
def test_a_broken_soundfile_is_a_fact_beside_the_others(fakes: Any, source: str, state: str, told: str) -> None:
    fakes.module("soundfile.py", source)
    fakes.distribution("soundfile", "0.13.1")
    report = probe(fakes)
    assert report.facts["soundfile.state"] == state
    assert told in str(report.facts["soundfile.error"])
    assert report.facts["soundfile.version"] == "0.13.1"
    assert report.facts["packages.conflicts"] == ""
    assert report.state == ("crashed" if state == "crashed" else "ok")


def test_the_sox_module_is_found_without_running_it(fakes: Any) -> None:
    assert probe(fakes).facts["sox.module"] is False
    fakes.module("sox/__init__.py", "raise SystemExit('SoX could not be found!')")
    assert probe(fakes).facts["sox.module"] is True


def test_an_interpreter_that_does_not_answer_leaves_reasons(fakes: Any) -> None:
    from toolkit.probe.interpreter import resolve_interpreter

    mute = fakes.program("python", "raise SystemExit('no')")
    report = probe(fakes, interpreter=resolve_interpreter(str(mute)))
    assert report.state == "failed"
    assert report.facts["transformers.version"] == NA("ended with exit code 1: no")
