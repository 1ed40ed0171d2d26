"""From events to messages: choosing the wording, making what is missing, and failures that tell nothing of the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bus.event import Event
from bus.settings import BadSetting
from fanout import render as module
from fanout.channels.delivery import Mail, Push, Sms
from fanout.render import MAX_SOURCE, Rendered, Templates, Unrenderable
from fanout.wording import Content

EXAMPLES = Path(__file__).parents[2] / "templates"


def event(**fields: Any) -> Event:
    return Event(**{"id": "e1", "source": "shop", "type": "order.shipped", "created_at": 7.0, **fields})


def content(*events: Event, **fields: Any) -> Content:
    return Content(events or (event(**fields),), "alice", name="Alice", unsubscribe="https://x.example/u")


def folder(path: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        file = path / f"{name}.j2"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return path


def one(path: Path, source: str, **fields: Any) -> Rendered:
    """What an SMS of one template file says."""
    templates = Templates(folder(path, {"t/default/sms.text": source}))
    return templates.render("sms", content(**{"template": "t", "title": "T", **fields}), "en")


# Without a template ------------------------------------------------------------------------------------------------


def test_without_templates_the_events_speak() -> None:
    templates = Templates()
    sent = content(title="Sent", body="On its way", data={"url": "https://x.example/1", "n": 1})
    assert templates.render("email", sent, "en") == Mail("Sent", "On its way")
    assert templates.render("sms", sent, "en") == Sms("Sent\nOn its way")
    assert templates.render("push", sent, "en") == Push(
        "Sent", "On its way", "https://x.example/1", {"url": "https://x.example/1", "n": 1}
    )
    assert templates.render("email", content(title="Sent"), "en") == Mail("Sent", "Sent")
    several = content(event(title="One"), event(title="Two", data=[1]))
    assert templates.render("push", several, "en") == Push("Two (+1)", "- One\n- Two")


def test_a_title_cannot_begin_a_header() -> None:
    mail = Templates().render("email", content(title="Hi\r\nBcc: x@evil.example"), "en")
    assert mail == Mail("Hi Bcc: x@evil.example", "Hi Bcc: x@evil.example")


# Choosing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "text"),
    [("pt-BR", "BR"), ("pt-PT", "PT"), ("pt", "PT"), ("PT_br", "BR"), ("de", "all"), ("", "all"), ("../pt", "all")],
)
def test_the_wording_is_in_the_persons_language_as_far_as_there_is_one(tmp_path: Path, locale: str, text: str) -> None:
    files = {"t/pt-BR/sms.text": "BR", "t/pt/sms.text": "PT", "t/default/sms.text": "all"}
    templates = Templates(folder(tmp_path, files))
    assert templates.render("sms", content(template="t"), locale) == Sms(text)


def test_a_message_speaks_one_language(tmp_path: Path) -> None:
    files = {"t/pt/email.html": "<p>Olá", "t/default/email.subject": "Hello", "t/default/email.text": "Hi"}
    mail = Templates(folder(tmp_path, files)).render("email", content(template="t", title="Título"), "pt-BR")
    assert mail == Mail("Título", "Olá", "<p>Olá")


def test_a_channel_that_the_template_leaves_out_gets_the_default_one(tmp_path: Path) -> None:
    files = {"t/default/sms.text": "of t", "default/default/sms.text": "of all", "default/default/push.title": "title"}
    templates = Templates(folder(tmp_path, files))
    assert templates.render("sms", content(template="t"), "en") == Sms("of t")
    assert templates.render("sms", content(), "en") == Sms("of all")
    assert templates.render("push", content(template="t", body="b"), "en") == Push("title", "b")
    assert templates.render("email", content(template="t", title="T", body="b"), "en") == Mail("T", "b")


def test_a_digest_has_a_template_of_its_own(tmp_path: Path) -> None:
    several = content(event(title="One", template="t"), event(title="Two", template="t"))
    files = {"t/default/sms.text": "of t", "default/default/sms.text": "of all"}
    assert Templates(folder(tmp_path, files)).render("sms", several, "en") == Sms("Two (+1)\n- One\n- Two")
    source = "{{ count }}:{% for e in events %} {{ e.title }}{% endfor %}"
    templates = Templates(folder(tmp_path, {"digest/default/sms.text": source}))
    assert templates.render("sms", several, "en") == Sms("2: One Two")


def test_an_unknown_template_is_no_message(tmp_path: Path) -> None:
    found = Templates(tmp_path).render("sms", content(template="../../etc/passwd"), "en")
    assert found == Unrenderable("there is no template of the name that the event gives")


def test_one_can_be_asked_for_by_name(tmp_path: Path) -> None:
    templates = Templates(folder(tmp_path, {"t/default/sms.text": "of t", "t/pt_BR/push.body": "b"}))
    assert templates.render("sms", content(), "en", template="t") == Sms("of t")
    assert templates.names == ("t",)
    assert templates.locales("t") == ("default", "pt-br")
    assert templates.parts("t", "pt-BR", "push") == ("body",)
    assert templates.parts("t", "fr", "push") == ()


def test_folders_that_are_shared_are_no_templates(tmp_path: Path) -> None:
    files = {"_base/frame.html": "[{% block b %}{% endblock %}]", "t/default/email.html": HTML}
    templates = Templates(folder(tmp_path, files))
    assert templates.names == ("t",)
    mail = templates.render("email", content(template="t", title="a < b"), "en")
    assert mail == Mail("a < b", "[a < b]", "[a &lt; b]")


HTML = "{% extends '_base/frame.html.j2' %}{% block b %}{{ subject|default(title) }}{% endblock %}"


# Failing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\n{{ data.order }}", "line 2: order is missing"),
        ("{{ data[data.key] }}", "line 1: something it names is missing"),
        ("{{ data.key.private }}", "line 1: private is missing"),
        ("{{ ''.__class__ }}", "line 1: it takes too long, or does what templates may not"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "it takes too long"),
        ("{% for a in range(9999) %}{{ data.key }}{{ a * 'x' }}{% endfor %}", "it grows too large"),
        ("{{ 'x' * 300000 }}", "it grows too large"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "it grows too large"),
        ("{{ data.key * 1.5 }}", "line 1: a value is not of the kind that it needs (TypeError)"),
        ("{{ data.key|local_time }}", "line 1: a value is not of the kind that it needs (ValueError)"),
        ("{{ 1 / data.zero }}", "line 1: a value is not of the kind that it needs (ZeroDivisionError)"),
        ("\n{% for %}", "line 2: it is not of Jinja's form"),
        ("{% include data.key %}", "line 1: it includes what is not there"),
    ],
)
def test_a_failure_says_where_and_nothing_of_the_data(tmp_path: Path, source: str, reason: str) -> None:
    found = one(tmp_path, source, data={"key": "hunter2", "zero": 0})
    assert isinstance(found, Unrenderable)
    assert found.reason.startswith("template t/default/sms.text.j2")
    assert reason in found.reason
    assert "hunter2" not in found.reason


def test_one_failure_leaves_the_others_alone(tmp_path: Path) -> None:
    templates = Templates(folder(tmp_path, {"t/default/sms.text": "{{ data.order }}"}))
    for order in ("a", None, "b"):
        data = {} if order is None else {"order": order}
        found = templates.render("sms", content(template="t", data=data), "en")
        assert isinstance(found, Unrenderable) if order is None else found == Sms(order)


def test_data_is_no_template_and_no_markup(tmp_path: Path) -> None:
    files = {"t/default/email.subject": "{{ title }}", "t/default/email.html": "<p>{{ title }} {{ data.x }}"}
    evil = content(template="t", title="{{ 7*7 }}\r\nBcc: a\r\n\r\n<b>", data={"x": "{% include 'x' %}"})
    mail = Templates(folder(tmp_path, files)).render("email", evil, "en")
    assert isinstance(mail, Mail)
    assert mail.subject == "{{ 7*7 }} Bcc: a <b>"
    assert mail.html == "<p>{{ 7*7 }}\nBcc: a\n\n&lt;b&gt; {% include &#39;x&#39; %}"
    assert "7*7" in mail.text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"email.text": "x"}, "not of the form"),
        ({"t/email.text": "x"}, "not of the form"),
        ({"t/default/fax.text": "x"}, "not of the form"),
        ({"t/default/deep/sms.text": "x"}, "not of the form"),
        ({"t/default/sms.text": "x" * (MAX_SOURCE + 1)}, "more than"),
    ],
)
def test_a_file_that_is_nothing_is_told_at_the_start(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        Templates(folder(tmp_path, files))


def test_a_folder_or_file_that_cannot_be_read_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="is not a folder"):
        Templates(tmp_path / "nowhere")
    folder(tmp_path, {"t/default/sms.text": ""})
    (tmp_path / "t/default/sms.text.j2").write_bytes(b"\xff")
    with pytest.raises(BadSetting, match="cannot be read"):
        Templates(tmp_path)


def test_each_template_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = 0

    class Counting(module.Sandbox):
        def compile(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal compiled
            compiled += 1
            return super().compile(*args, **kwargs)

    monkeypatch.setattr(module, "Sandbox", Counting)
    templates = Templates(folder(tmp_path, {"t/default/sms.text": "{{ title }}"}))
    for n in range(3):
        assert templates.render("sms", content(template="t", title=f"{n}"), "en") == Sms(f"{n}")
    assert compiled == 1


# The examples ------------------------------------------------------------------------------------------------------


def test_the_examples_escape_what_they_are_given() -> None:
    evil = "<script>x()</script>"
    data = {"order": evil, "carrier": evil, "arrives": 0, "items": [{"name": evil, "price": evil}], "total": evil}
    sent = content(
        template="order-shipped", title=evil, body=evil, data=data | {"currency": evil, "url": "https://x/'>"}
    )
    for name in ("order-shipped", "default"):
        mail = Templates(EXAMPLES).render("email", sent, "en", template=name)
        assert isinstance(mail, Mail)
        assert mail.html is not None
        assert "<script" not in mail.html
        assert "'>\"" not in mail.html
