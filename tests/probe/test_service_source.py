"""What a service's code does is read from its text: cleanup, dtypes, casts and addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.probe.service_source import SourceReport, read_sources
from toolkit.probe.source_tree import Module, parse_module


def report_of(folder: Path, *sources: str) -> SourceReport:
    modules = []
    for number, source in enumerate(sources):
        path = folder / f"m{number}.py"
        path.write_text(source)
        module = parse_module(path, path.name)
        assert isinstance(module, Module), module
        modules.append(module)
    return read_sources(modules)


def synthesize(*lines: str) -> str:
    """A function of these lines, in which EMPTY stands for the call that empties the cache."""
    body = "\n".join("    " + line for line in lines)
    return "import torch\ndef synthesize(model, text, args):\n" + body.replace("EMPTY", "torch.cuda.empty_cache()")


@pytest.mark.parametrize(
    ("lines", "placement"),
    [
        (("wav = model.generate(text)", "EMPTY", "return wav"), "after-generation"),
        (("EMPTY", "return model.generate(text)"), "before-generation"),
        (("wav = model.generate(text)", "return wav", "EMPTY"), "unreachable"),
        (("with torch.no_grad():", "    return model(text)", "EMPTY"), "unreachable"),
        (("if text:", "    return model(text)", "else:", "    raise ValueError", "EMPTY"), "unreachable"),
        (("if text:", "    return model(text)", "EMPTY"), "after-generation"),
        (("try:", "    return model.generate(text)", "finally:", "    EMPTY"), "after-generation"),
        (("try:", "    return model(text)", "finally:", "    pass", "EMPTY"), "unreachable"),
        (("try:", "    return model.generate(text)", "except RuntimeError:", "    EMPTY"), "absent"),
        (("for part in text:", "    wav = model.generate(part)", "    EMPTY"), "after-generation"),
        (("for part in text:", "    wav = model(part)", "    continue", "    EMPTY"), "unreachable"),
        (("while True:", "    model.generate(text)", "EMPTY"), "unreachable"),
        (("wav = model(text)", "sys.exit(0)", "EMPTY"), "unreachable"),
        (("return model.generate(text)",), "absent"),
        (("wav = model.generate(text)", "if args.enable_cleanup:", "    EMPTY", "return wav"), "after-generation"),
        (("if args.enable_cleanup:", "    EMPTY", "return model(text)"), "before-generation"),
    ],
)
def test_the_place_of_the_cleanup_is_found(tmp_path: Path, lines: tuple[str, ...], placement: str) -> None:
    assert report_of(tmp_path, synthesize(*lines)).cleanup_placement == placement


def test_the_finding_names_the_loop_and_the_switch(tmp_path: Path) -> None:
    lines = ("for part in text:", "    model.generate(part)", "    if args.enable_cleanup:", "        EMPTY")
    report = report_of(tmp_path, synthesize(*lines))
    assert [(finding.line, finding.what) for finding in report.findings] == [
        (6, "empty_cache() is called after the generation, if args.enable_cleanup, inside the loop of line 3")
    ]


def test_the_best_of_several_places_counts(tmp_path: Path) -> None:
    before = synthesize("EMPTY", "return model(text)")
    after = synthesize("wav = model(text)", "EMPTY", "return wav")
    assert report_of(tmp_path, before, after).cleanup_placement == "after-generation"


HELPER = "import torch\ndef cleanup():\n    torch.cuda.empty_cache()\n"


@pytest.mark.parametrize(
    ("rest", "placement"),
    [
        ("def synthesize(model):\n    wav = model.generate(1)\n    cleanup()\n    return wav", "after-generation"),
        ("def synthesize(model):\n    wav = model.generate(1)\n    return wav\n    cleanup()", "unreachable"),
        ("def synthesize(model):\n    return model.generate(1)", "unreachable"),
        ("def serve(tasks):\n    tasks.add_task(cleanup)", "after-generation"),
        ("def serve(names):\n    names.cleanup_all()\n    names.clear()", "unreachable"),
    ],
)
def test_a_helper_counts_where_it_is_called(tmp_path: Path, rest: str, placement: str) -> None:
    assert report_of(tmp_path, HELPER, rest).cleanup_placement == placement


def test_a_helper_of_a_framework_counts_and_an_address_of_its_own_does_not(tmp_path: Path) -> None:
    assert report_of(tmp_path, HELPER.replace("def", "@app.after_request\ndef")).cleanup_placement == "after-generation"
    assert report_of(tmp_path, HELPER.replace("def", '@app.post("/x")\ndef')).cleanup_placement == "absent"


def test_the_switch_is_declared_and_read_or_not(tmp_path: Path) -> None:
    declared = 'p.add_argument("--enable-cleanup", action="store_true")\n'
    report = report_of(tmp_path, declared)
    assert (report.cleanup_declared, report.cleanup_read) == (True, False)
    for use in ("f(args.enable_cleanup)", 'f(getattr(args, "enable_cleanup"))', "f(enable_cleanup)"):
        assert report_of(tmp_path, declared + use).cleanup_read
    assert not report_of(tmp_path, "args.enable_cleanup = True").cleanup_declared


def test_dtypes_attention_and_device_of_the_loading_are_read(tmp_path: Path) -> None:
    report = report_of(
        tmp_path,
        "import torch\nDTYPE = torch.bfloat16\n"
        "m = X.from_pretrained('a', torch_dtype=DTYPE, device_map='cuda:0', attn_implementation='sdpa')\n"
        "a = np.zeros(3, dtype='float32')\n",
    )
    assert set(report.dtypes | report.attentions | report.devices) == {"bfloat16", "sdpa", "cuda"}
    assert not report.half_call


def test_half_and_float16_are_reported(tmp_path: Path) -> None:
    report = report_of(tmp_path, "m = X.from_pretrained('a', dtype='fp16')\nm.half()\nm.to(torch.float16)\n")
    assert report.half_call
    assert report.dtypes == {"float16"}
    assert [finding.line for finding in report.findings] == [1, 2, 3]


BF16 = "import soundfile as sf, torch\nfrom scipy.io import wavfile\nm = X.from_pretrained('a', dtype=torch.bfloat16)\n"


@pytest.mark.parametrize(
    ("code", "is_uncast"),
    [
        ("sf.write('x', audio.cpu().numpy(), 24000)", True),
        ("sf.write('x', audio.cpu().float().numpy(), 24000)", False),
        ("sf.write('x', audio.float().cpu().numpy(), 24000)", False),
        ("sf.write('x', audio.to(torch.float32).numpy(), 24000)", False),
        ("sf.write('x', audio.to('cpu').numpy(), 24000)", True),
        ("sf.write('x', audio.cpu().numpy().astype('float32'), 24000)", True),
        ("sf.write(file='x', data=audio.detach().cpu(), samplerate=24000)", True),
        ("audio = out.squeeze()\naudio = audio.cpu().numpy()\nsf.write('x', audio, 24000)", True),
        ("audio = out.float()\naudio = audio.cpu().numpy()\nsf.write('x', audio, 24000)", False),
        ("wavs, rate = m.generate_custom_voice(t)\nsf.write('x', wavs[0], rate)", False),
        ("sf.write('x', np.concatenate([a.cpu().numpy()]), 24000)", True),
        ("wavfile.write('x', 24000, audio.cpu().numpy())", True),
        ("handle.write(audio.cpu().numpy())", False),
    ],
)
def test_a_tensor_written_without_a_cast_is_found(tmp_path: Path, code: str, is_uncast: bool) -> None:
    assert report_of(tmp_path, BF16 + code).bf16_write_uncast is is_uncast


def test_without_bfloat16_a_missing_cast_does_no_harm(tmp_path: Path) -> None:
    code = "import soundfile\nsoundfile.write('x', audio.cpu().numpy(), 24000)"
    assert not report_of(tmp_path, code).bf16_write_uncast


def test_addresses_are_read_from_defaults_and_literals(tmp_path: Path) -> None:
    report = report_of(
        tmp_path,
        'p.add_argument("--host", default="127.0.0.1")\np.add_argument("--port", type=int, default=5000)\n'
        'HOST = "localhost"\nuvicorn.run(app, host=HOST, port=7860)\n',
    )
    assert (report.hosts, report.ports, report.fixed_host) == (("127.0.0.1", "localhost"), (5000, 7860), "localhost")
    assert report_of(tmp_path, "app.run(host=args.host, port=args.port)").fixed_host is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"def f(:\n", "is not Python that can be parsed (line 1"),
        (b"x = 1\0", "is not Python"),
        (b"(" * 100_000, "is not Python"),
        (b"\xff\xfe\xfa", "is not Python"),
        (b"#" * 1_000_001, "is over 1 MB"),
    ],
)
def test_what_cannot_be_parsed_is_told(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "x.py"
    path.write_bytes(content)
    told = parse_module(path, "x.py")
    assert isinstance(told, str)
    assert told.startswith(sentence)


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "+".join(["a.numpy()"] * 2_000),
        "sf" + ".x" * 900 + ".write(1, 2)",
        "def f(x):\n if x: return 1\n" + " elif x: return 2\n" * 900 + " else: return 3\n f2 = torch.cuda.empty_cache",
        "def f(x):\n if x: return 1\n" + " elif x: return 2\n" * 900 + " else: return 3\n torch.cuda.empty_caches()",
    ],
)
def test_a_file_of_deep_code_is_survived(tmp_path: Path, source: str) -> None:
    path = tmp_path / "x.py"
    path.write_text(source + "\n")
    module = parse_module(path, "x.py")
    if isinstance(module, Module):
        assert read_sources([module]).cleanup_placement == "absent"
