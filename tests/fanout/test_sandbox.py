"""What templates can do, what they cannot reach, and that none of them runs for long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, TemplateError, TemplateNotFound, UndefinedError
from jinja2.sandbox import SecurityError

from fanout.sandbox import BUDGET, DEADLINE, Sandbox, Spent


class Steps:
    """A clock that goes forward by `step` each time it is looked at."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def render(source: str, *, name: str = "mail.text.j2", step: float = 0.0, **data: Any) -> str:
    sandbox = Sandbox(DictLoader({name: source, "other.j2": "other"}), Steps(step))
    template = sandbox.get_template(name)
    sandbox.begin()
    return template.render(data)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ data.name }}", "{{7*7}}"),
        ("{{ data.items }}/{{ data.keys()|length }}", "3/4"),
        ("{% for n in data.list if n > 1 %}{{ n }},{% endfor %}", "2,3,"),
        ("{% for n in data.list %}{{ loop.index }}{{ n }} {% else %}none{% endfor %}", "11 22 33 "),
        ("{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(1) }}{{ m(2) }}", "[1][2]"),
        ("{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{% endcall %}", "<in>"),
        ("{{ 'a' ~ 1 ~ ('b' ~ 'c') }}", "a1bc"),
        ("{% if ('a' ~ 'b') in ['ab'] %}yes{% endif %}", "yes"),
        ("{{ 7 * 6 }} {{ 'ab' * 2 }} {{ 2 * [1] }} {{ 1.5 * 2 }} {{ 1 + 2 }} {{ 'a' + 'b' }} {{ [1] + [2] }}",
         "42 abab [1, 1] 3.0 3 ab [1, 2]"),
        ("{{ 7 % 4 }}", "3"),
        ("{{ none }}{{ true }}", "True"),
        ("{{ ['a', 'b']|join(', ') }} {{ [data]|join(attribute='name') }}", "a, b {{7*7}}"),
        ("{{ 'aXb'|replace('X', '-') }} {{ 2.345|round(2) }} {{ 2.5|round }} {{ data.list|tojson }}",
         "a-b 2.35 2.0 [1, 2, 3]"),
        ("{{ ' A b '.strip().lower() }} {{ [1, 1].count(1) }}", "a b 2"),
        ("{{ 0|local_time }} {{ '2027-01-15T08:00:00Z'|local_time('%d.%m. %H:%M') }}",
         "1970-01-01 01:00 15.01. 09:00"),
        ("{{ 'https://x.example/'|web_link }}{{ 'javascript:x'|web_link }}{{ 7|web_link }}", "https://x.example/"),
        ("{{ missing|default('there') }}{{ data.no is defined }}", "thereFalse"),
        ("{% include 'other.j2' %}", "other"),
        ("{% set ns = namespace(n=0) %}{% for x in range(3) %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}", "3"),
        ("<b>{{ data.html }}", "<b><i>&"),
    ],
)  # fmt: skip
def test_what_templates_are_for(source: str, text: str) -> None:
    data = {"name": "{{7*7}}", "items": 3, "list": [1, 2, 3], "html": "<i>&"}
    assert render(source, data=data, timezone="Europe/Berlin") == text


def test_a_time_without_a_zone_is_universal() -> None:
    assert render("{{ 0|local_time }}") == "1970-01-01 00:00"


def test_html_is_escaped() -> None:
    html = "{{ x }}{{ x|safe }}{{ '<' ~ x }}{{ ['<', x]|join('') }}{{ x|web_link }}"
    assert render(html, name="mail.html.j2", x="<i>") == "&lt;i&gt;<i>&lt;&lt;i&gt;&lt;&lt;i&gt;"
    assert render("<a href='{{ x|web_link }}'>", name="mail.html.j2", x="https://x/'onclick='") == (
        "<a href='https://x/&#39;onclick=&#39;'>"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ data['__class__']['__init__'] }}",
        "{{ data|attr('__class__') }}",
        "{{ ''['__class__'] }}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ namespace.__init__ }}",
        "{{ range.__self__ }}",
        "{{ (data.get).__globals__ }}",
        "{{ 'a'.format_map(data) }}",
        "{{ '{:99999999d}'.format(1) }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '%99999999d' % 1 }}",
        "{{ ''|format(1) }}",
        "{{ 'a'.ljust(99999999) }}",
        "{{ 'a'|center(99999999) }}",
        "{{ (1).to_bytes(99999999) }}",
        "{{ data.update({'a': 1}) }}",
        "{{ data.clear() }}",
        "{{ [].append(1) }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ lipsum() }}",
        "{{ dict() }}",
        "{{ environment.spend(-99999999) }}",
        "{{ missing }}",
        "{{ data.missing.deeper }}",
        "{% for x in missing %}{% endfor %}",
        "{% if missing %}{% endif %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_what_templates_cannot_reach(source: str) -> None:
    data: dict[str, Any] = {"a": 1}
    with pytest.raises((SecurityError, UndefinedError, TemplateError, RecursionError)):
        print(render(source, data=data))
    assert data == {"a": 1}


BIG = "a" * 60_000


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% set x = range(99999)|list|length %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for a in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for a in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for a in range(64) %}{% set n.x = n.x * 2 %}{% endfor %}",
        "{% set n = namespace(x=[1]) %}{% for a in range(64) %}{% set n.x = 2 * n.x %}{% endfor %}",
        "{% set n = namespace(x=9) %}{% for a in range(64) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for a in range(64) %}"
        "{% set t %}{{ n.x }}{{ n.x }}{% endset %}{% set n.x = t %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for a in range(64) %}{% set n.x = [n.x, n.x]|join(n.x) %}{% endfor %}",
        "{% set n = namespace(x='aaaa') %}{% for a in range(64) %}{% set n.x = n.x|replace('a', n.x) %}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(64) }}",
        "{% for x in [[[1]]] recursive %}{{ loop(x) }}{% endfor %}" * 2 + "{{ 'a' * 99999999 }}",
        "{{ big|replace('a', big) }}",
        "{{ big * 70 }}",
    ],
)
def test_nothing_runs_or_grows_for_long(source: str) -> None:
    with pytest.raises((SecurityError, TypeError)):
        render(source, big=BIG)


def test_the_text_of_a_loop_is_charged_too() -> None:
    assert render("{% for a in range(10) %}" + BIG + "{% endfor %}").startswith("aaa")
    with pytest.raises(Spent):
        render("{% for a in range(100) %}" + BIG + "{% endfor %}")
    with pytest.raises(Spent):
        render("{% macro m() %}" + BIG + "{% endmacro %}{% for a in range(100) %}{% set x = m() %}{% endfor %}")


def test_a_rendering_ends_at_its_deadline() -> None:
    assert render("{% for a in range(9) %}{{ a }}{% endfor %}", step=DEADLINE / 1000) == "012345678"
    with pytest.raises(Spent):
        render("{% for a in range(9) %}{{ a }}{% endfor %}", step=DEADLINE / 4)


def test_each_rendering_has_its_own_budget() -> None:
    sandbox = Sandbox(DictLoader({"a": "{{ x }}"}), Steps())
    template = sandbox.get_template("a")
    for _ in range(3):
        sandbox.begin()
        assert len(template.render(x="a" * (BUDGET - 1000))) == BUDGET - 1000


def test_constants_that_cost_too_much_end_when_rendered() -> None:
    with pytest.raises(SecurityError):
        render("{{ 'a' * 99999999 }}")


def test_a_syntax_error_and_a_missing_template_are_told_apart() -> None:
    with pytest.raises(TemplateNotFound):
        render("{% include 'elsewhere.j2' %}")
    with pytest.raises(TemplateError):
        render("{% for %}")


@given(st.text(max_size=60))
def test_data_is_printed_as_it_is(text: str) -> None:
    assert render("{{ x }}", x=text) == text
