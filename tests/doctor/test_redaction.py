"""Redaction: no known secret survives, a version does, and doing it twice changes nothing."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toolkit.doctor.redaction import NOT_REDACTED, LedgerLine, Redactor

LETTERS = string.ascii_letters + string.digits
RANDOM = st.text(LETTERS, min_size=40, max_size=40)
# Words as they stand in logs, around which secrets are planted.
PIECES = [
    *(LETTERS + " \t\n-_=:/.,;'\"()[]{}<>@#%&+\\|"),
    "显",
    "é",
    "ERROR ",
    "torch ",
    "/home/",
    "token: ",
    "://",
    "Users\\",
]
AROUND = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
TOKENS = {
    "Hugging Face": "hf_{}",
    "OpenAI": "sk-{}",
    "OpenAI project": "sk-proj-{}",
    "GitHub": "ghp_{}",
    "GitHub fine-grained": "github_pat_{}",
    "GitLab": "glpat-{}",
    "Slack": "xoxb-{}",
    "NVIDIA": "nvapi-{}",
    "npm": "npm_{}",
    "Replicate": "r8_{}",
    "Groq": "gsk_{}",
    "Google": "AIza{}",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.{}.sig-nature",
}


def redactor() -> Redactor:
    return Redactor(names=("ann", "ann-laptop"), home="/home/ann")


@pytest.mark.parametrize("kind", TOKENS)
@settings(max_examples=25, deadline=None)
@given(body=RANDOM, before=AROUND, after=AROUND)
def test_a_known_token_does_not_survive(kind: str, body: str, before: str, after: str) -> None:
    token = TOKENS[kind].format(body)
    assert body not in redactor().text(f"{before} {token} {after}")


@pytest.mark.parametrize(
    "template",
    [
        "HF_TOKEN={}",
        "export OPENAI_API_KEY={}",
        "token: {}",
        "'secret': '{}'",
        '"client_secret": "{}"',
        "password = {}",
        "DB_PASSWORD: '{}'",
        "--api-key {}",
        "--password {}",
        "--token={}",
        "Authorization: Bearer {}",
        "authorization: Basic {}",
        "X-Auth-Token: {}",
        "Cookie: {}",
        "GET /v1/speech?access_token={}&voice=anna",
        "https://user:{}@example.org/simple",
        "https://{}@example.org/repo.git",
        "private_key={}",
        "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n{}",
        "ACCESS_KEY_VALUE={}",
        'passphrase="{} with spaces"',
    ],
)
@settings(max_examples=10, deadline=None)
@given(secret=RANDOM)
def test_a_secret_that_its_name_betrays_does_not_survive(template: str, secret: str) -> None:
    assert secret not in redactor().text(template.format(secret))


@pytest.mark.parametrize(
    "path",
    [
        "/home/ann/tts/app.py",
        "/Users/ann/tts/app.py",
        "/export/home/ann/tts",
        r"C:\Users\ann\tts\app.py",
        "C:/Users/ann/tts",
        r"C:\Users\Ann Smith\tts",
        r'"C:\\Users\\ann\\tts"',
        "/mnt/c/Users/ann/tts",
        "/c/Users/ann/tts",
        "file:///home/ann/tts",
        r"\\wsl$\Ubuntu\home\ann\tts",
        r"\\wsl.localhost\Ubuntu-24.04\home\ann\tts",
        "PATH=/usr/bin:/home/ann/bin",
        "'/home/ann'",
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_home_folder_does_not_survive(path: str, known: bool) -> None:
    shown = (redactor() if known else Redactor(names=(), home="/home/other")).text(f"in {path} there is")
    assert "ann" not in shown.lower()
    assert "smith" not in shown.lower()
    assert "~" in shown


def test_a_home_folder_in_an_unusual_place_does_not_survive() -> None:
    own = Redactor(names=(), home=r"D:\Profiles\ann")
    assert own.text(r"D:\Profiles\ann\tts D:\\Profiles\\ann D:/Profiles/ann/x") == r"~\tts ~ ~/x"
    assert Redactor(names=(), home="/data/ann").text("/data/ann/tts /data/anna /data/ann.") == "~/tts /data/anna ~."


@pytest.mark.parametrize(
    "text",
    [
        "user ann logged in",
        "ann@host:~$",
        "/data/ann_models",
        "backup-ann.tar",
        "ANN",
        "host ann-laptop is up",
        "(ann)",
    ],
)
def test_the_own_name_does_not_survive_as_a_word(text: str) -> None:
    assert "ann" not in redactor().text(text).lower()


def test_a_name_inside_another_word_stays() -> None:
    assert redactor().text("annual planning in the channel") == "annual planning in the channel"


def test_a_chinese_name_does_not_survive() -> None:
    assert Redactor(names=("张三",), home="/home/x").text("用户张三的模型") == "用户<name>的模型"


@pytest.mark.parametrize("name", ["root", "user", "ubuntu", "docker", "ab", "qwen"])
def test_a_name_that_is_nobodys_own_stays(name: str) -> None:
    text = f"started by {name}, in {name}/models"
    assert Redactor(names=(name,), home="/root").text(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann.smith+tts@example.co.uk wrote", "<e-mail> wrote"),
        ("connect to 192.168.1.5:8000", "connect to <ip>:8000"),
        ("host=10.0.0.7", "host=<ip>"),
        ("peer 8.8.8.8.", "peer <ip>."),
        ("[2001:db8::42]:80 and fe80::1", "[<ip6>]:80 and <ip6>"),
        ("link 00:1a:2b:3c:4d:5e", "link <mac>"),
        ("card GPU-11111111-2222-3333-4444-555555555555", "card <gpu-id>"),
        ("https://ann:pw@example.org/x", "https://<credentials>@example.org/x"),
        ("https://user:p@ss@example.org/x", "https://<credentials>@example.org/x"),
    ],
)
def test_what_becomes_of_each_kind(text: str, expected: str) -> None:
    assert redactor().text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "torch 2.6.0+cu124, CUDA 12.1.105, cuDNN 9.1.0",
        "nvidia-cublas-cu12==12.8.4.1",
        "nvidia-cudnn-cu12        9.10.2.21",
        "Downloading nvidia_cudnn_cu12-9.1.0.70-py3-none-manylinux2014_x86_64.whl",
        "driver 31.0.15.5222",
        "Uvicorn running on http://127.0.0.1:5000 (0.0.0.0:5000, netmask 255.255.255.0)",
        "[::1]:8000 and ::",
        "at 12:30:45.123 in c10::Error and ::add(int)",
        "Setting `pad_token_id` to `eos_token_id`:151643 for open-end generation.",
        "eos_token: <|im_end|>, tokenizer_class: Qwen2TokenizerFast, speech_tokenizer: ok",
        "max_new_tokens=2048, use_auth_token=True, eos_token_id: [151670, 151645]",
        "author: nobody; authentication: none; tokenizer=fast",
        "0000:01:00.0 VGA compatible controller",
        "git clone https://github.com/QwenLM/Qwen3-TTS",
        "foo@1.2.3",
    ],
)
def test_what_a_diagnosis_needs_survives(text: str) -> None:
    own = redactor()
    assert own.text(text) == text
    assert own.ledger() == ()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(AROUND, st.sampled_from([form.format("Ab1" * 14) for form in TOKENS.values()])), max_size=6))
def test_twice_is_as_once(parts: list[str]) -> None:
    text = "".join(parts)
    once = redactor().text(text)
    again = redactor()
    assert again.text(once) == once
    assert again.ledger() == ()


@settings(max_examples=100, deadline=None)
@given(st.text(LETTERS, min_size=3, max_size=12).map(lambda name: f"zq{name}"), st.text(max_size=40))
def test_any_name_of_the_machine_is_hidden(name: str, around: str) -> None:
    assume(name.lower() not in around.lower())
    own = Redactor(names=(name,), home="/home/somebody")
    assert name.lower() not in own.text(f"{around} {name} {around}").lower().replace("<name>", "").replace(
        "<secret>", ""
    )


def test_json_is_redacted_in_values_and_keys_and_by_the_name_of_the_key() -> None:
    data = {
        "password": "hunter2",
        "api_key": "abc",
        "list": ["/home/ann/x", {"hf_token": "short"}, 7, None, True],
        "/home/ann/key": "value",
        "torch.version": "2.6.0+cu124",
        "token": "<token>",
        "pad_token_id": 151643,
    }
    assert redactor().value(data) == {
        "password": "<secret>",
        "api_key": "<secret>",
        "list": ["~/x", {"hf_token": "<secret>"}, 7, None, True],
        "~/key": "value",
        "torch.version": "2.6.0+cu124",
        "token": "<token>",
        "pad_token_id": 151643,
    }


@settings(max_examples=50, deadline=None)
@given(RANDOM)
def test_a_json_text_stays_json(secret: str) -> None:
    text = json.dumps(
        {"hf_token": secret, "url": f"https://u:{secret}@h/", "home": "C:\\Users\\ann\\x", "n": 1}, indent=1
    )
    shown = redactor().text(text)
    assert secret not in shown
    assert json.loads(shown)["n"] == 1


def test_the_ledger_counts_over_all_texts() -> None:
    own = redactor()
    own.text("10.0.0.7 and 10.0.0.8, mail a@b.org")
    own.value({"peer": "10.0.0.9", "password": "hunter2"})
    assert own.ledger() == (
        LedgerLine("ip address", 3, 24),
        LedgerLine("e-mail address", 1, 7),
        LedgerLine("named secret", 1, 7),
    )


def test_a_long_line_takes_no_long_time() -> None:
    import time

    for hostile in (
        "a" * 200_000,
        "a@" * 60_000,
        "token" * 40_000,
        "1." * 80_000,
        "C:\\Users\\" * 20_000,
        ":" * 100_000,
    ):
        begun = time.monotonic()
        redactor().text(hostile)
        assert time.monotonic() - begun < 5.0, hostile[:10]


def test_what_is_not_redacted_is_said() -> None:
    assert any("spoken" in line for line in NOT_REDACTED)
