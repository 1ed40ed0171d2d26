"""`tocsin template`: what it lists, what it shows, and what it finds wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tocsin.test_cli import run
from tocsin.templates import EXAMPLES
from tocsin.trouble import CONFIG, FAILED, USAGE


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_CONFIG", "TOCSIN_TEMPLATES"):
        monkeypatch.delenv(name, raising=False)


def folder(files: dict[str, Any]) -> list[str]:
    """A folder of templates, as an option."""
    for name, content in files.items():
        file = Path("own") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return ["--folder", "own"]


HELLO = {
    "hello/default/sms.text.j2": "Hello {{ user.name }}: {{ title }}",
    "hello/pt/sms.text.j2": "Olá {{ user.name }}: {{ title }}",
    "hello/samples.json": {"one": {"event": {"title": "Hi"}, "name": "Alice"}},
}


def test_every_example_renders_with_its_samples(capsys: pytest.CaptureFixture[str]) -> None:
    assert EXAMPLES.is_dir()
    code, out, _ = run(capsys, "template", "test", "--json")
    tried = json.loads(out)
    assert code == 0
    assert {row["template"] for row in tried} >= {"default", "digest", "order-shipped"}
    assert all(row["fault"] == "" for row in tried)


def test_the_folder_comes_from_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(HELLO)
    monkeypatch.setenv("TOCSIN_TEMPLATES", "own")
    _, out, _ = run(capsys, "template", "ls")
    assert [line.split() for line in out.splitlines()] == [
        ["hello", "default", "sms", "text"],
        ["hello", "pt", "sms", "text"],
    ]
    assert json.loads(run(capsys, "template", "ls", "--json")[1])[0]["parts"] == ["text"]


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        ([], "Hello Alice: Hi\n"),
        (["--locale", "pt-BR"], "Olá Alice: Hi\n"),
        (["--data", '{"title": "There"}'], "Hello : There\n"),
        (["--data", '{"event": {"title": "There"}, "name": "Bob"}'], "Hello Bob: There\n"),
        (["--data", "sample.json"], "Hello : From a file\n"),
        (["--json"], '{"text": "Hello Alice: Hi"}\n'),
    ],
)
def test_render_shows_one_message(capsys: pytest.CaptureFixture[str], argv: list[str], out: str) -> None:
    Path("sample.json").write_text('{"title": "From a file"}')
    found = run(capsys, "template", "render", "hello", "--channel", "sms", *argv, *folder(HELLO))
    assert found == (0, out, "")


def test_render_shows_all_parts_of_a_mail_and_of_a_push(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "template", "render", "order-shipped")
    assert out.startswith("Subject: Your order A-1042 is on its way\n\nOn its way, Alice\n")
    assert "<!DOCTYPE html>" in out
    _, out, _ = run(capsys, "template", "render", "order-shipped", "--channel", "push", "--locale", "pt")
    assert out.splitlines()[0] == "O pedido A-1042 está a caminho"
    assert out.splitlines()[2] == "https://shop.example/orders/A-1042"
    _, out, _ = run(capsys, "template", "render", "default", "--channel", "push", "--data", '{"title": "T"}')
    assert out == "T\n\n"


@pytest.mark.parametrize(
    ("files", "argv", "code", "said"),
    [
        (HELLO, ["render", "nope"], USAGE, "it has: hello"),
        (HELLO, ["render"], USAGE, "there is no template None"),
        (HELLO, ["render", "hello", "--data", "{"], USAGE, "--data is not JSON"),
        (HELLO, ["render", "hello", "--data", "nowhere.json"], USAGE, "neither JSON nor a file"),
        (HELLO, ["render", "hello", "--data", "[]"], USAGE, "must be an object"),
        (HELLO, ["render", "hello", "--data", '{"title": 7}'], USAGE, "the event is at fault: /title"),
        (HELLO, ["render", "hello", "--data", '{"events": []}'], USAGE, "is not of the form of a sample"),
        (HELLO, ["render", "hello", "--data", '{"events": [7]}'], USAGE, "an event that is no object"),
        (HELLO, ["render", "hello", "--data", '{"event": {}, "usr": "x"}'], USAGE, "unknown member usr"),
        ({"t/default/sms.text.j2": "{{ data.x }}"}, ["render", "t", "--channel", "sms", "--data", "{}"], FAILED,
         "template t/default/sms.text.j2 line 1: x is missing"),
        ({"t/default/sms.text.j2": ""}, ["render", "t"], FAILED, "samples.json cannot be read"),
        ({"t/default/sms.text.j2": "", "t/samples.json": []}, ["render", "t"], FAILED, "must be an object"),
        ({"t/default/sms.text.j2": "", "t/samples.json": "{"}, ["render", "t"], USAGE, "samples.json is not JSON"),
        ({"t/sms.text.j2": ""}, ["ls"], CONFIG, "is not of the form"),
        ({}, ["ls"], CONFIG, "is not a folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    capsys: pytest.CaptureFixture[str], files: dict[str, Any], argv: list[str], code: int, said: str
) -> None:
    found, out, err = run(capsys, "template", *argv, *folder(files))
    assert (found, out) == (code, "")
    assert said in err


def test_test_tells_every_failure(capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "a/default/sms.text.j2": "{{ title }}{{ data.missing }}",
        "a/default/push.body.j2": "fine",
        "a/samples.json": {"s": {"title": "T"}},
        "b/default/sms.text.j2": "no samples",
        "c/default/email.html.j2": "<p></p>",
        "c/samples.json": {"s": {"title": "T"}},
    }
    code, out, err = run(capsys, "template", "test", *folder(files))
    assert (code, err) == (FAILED, "")
    *bad, summary = out.splitlines()
    assert summary == "4 renderings, 3 failed"
    assert [line.split(":")[0] for line in bad] == ["a default sms, s", "b, samples.json", "c default email, s"]
