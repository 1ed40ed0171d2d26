"""Settings: the environment over the role's table over the file's top; nothing unknown, nothing secret shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.people.settings import PeopleSettings
from bus.settings import BadSetting, BusSettings, check_top_level, read, read_file, secret, shown


@dataclass(frozen=True, slots=True)
class Role(BusSettings):
    port: int = 1
    wait: float = 0.5
    dev: bool = False
    origins: tuple[str, ...] = ()
    password: str = secret("")
    table: Mapping[str, Any] = field(default_factory=dict)
    tables: tuple[Mapping[str, Any], ...] = ()


def load(file: Mapping[str, Any] | None = None, **environ: str) -> Role:
    return read(Role, file or {}, environ, table="role")


def test_nothing_set_is_all_defaults() -> None:
    assert load() == Role()


def test_who_wins() -> None:
    file = {"port": 2, "prefix": "p", "role": {"port": 3}, "other": {"port": 9}}
    assert load(file) == Role(port=3, prefix="p")
    assert load(file, TOCSIN_PORT="4") == Role(port=4, prefix="p")
    assert load({"port": 2}).port == 2


def test_variables_of_each_form() -> None:
    assert load(TOCSIN_WAIT="2", TOCSIN_ORIGINS=" a, b,,", TOCSIN_PASSWORD="x", TOCSIN_PORT="7") == Role(
        wait=2.0, origins=("a", "b"), password="x", port=7
    )
    for text in ("1", "true", "YES", "on"):
        assert load(TOCSIN_DEV=text).dev
    for text in ("0", "False", "no", "OFF"):
        assert not load(TOCSIN_DEV=text).dev


def test_the_file_of_each_form() -> None:
    own = {"wait": 2, "origins": ["a"], "dev": True, "table": {"x": {"y": 1}}, "password": "p", "tables": [{"z": 1}]}
    assert load({"role": own}) == Role(
        wait=2.0, origins=("a",), dev=True, table={"x": {"y": 1}}, password="p", tables=({"z": 1},)
    )


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"TOCSIN_DEV": "maybe"}, "TOCSIN_DEV must be true or false"),
        ({"TOCSIN_PORT": "x"}, "TOCSIN_PORT must be a whole number"),
        ({"TOCSIN_PORT": "1.5"}, "TOCSIN_PORT must be a whole number"),
        ({"TOCSIN_WAIT": "soon"}, "TOCSIN_WAIT must be a number"),
        ({"TOCSIN_WAIT": "nan"}, "TOCSIN_WAIT must be a number"),
        ({"TOCSIN_WAIT": "inf"}, "TOCSIN_WAIT must be a number"),
        ({"TOCSIN_TABLES": "[]"}, "TOCSIN_TABLES cannot be set by a variable; use tocsin.toml"),
        ({"TOCSIN_TABLE": "{}"}, "TOCSIN_TABLE cannot be set by a variable; use tocsin.toml"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load(**environ)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ({"role": {"prot": 1}}, "[role] has no setting prot; it has: dev, log_level"),
        ({"role": 7}, "[role] must be a table"),
        ({"role": {"port": "1"}}, "port must be of type int"),
        ({"role": {"port": True}}, "port must be of type int"),
        ({"role": {"port": 1.0}}, "port must be of type int"),
        ({"role": {"wait": True}}, "wait must be of type float"),
        ({"role": {"wait": float("nan")}}, "wait must be of type float"),
        ({"role": {"dev": 1}}, "dev must be of type bool"),
        ({"role": {"prefix": 1}}, "prefix must be of type str"),
        ({"role": {"origins": "a"}}, "origins must be a list of strings"),
        ({"role": {"origins": [1]}}, "origins must be a list of strings"),
        ({"role": {"table": "x"}}, "table must be a table"),
        ({"role": {"tables": {}}}, "tables must be a list of tables"),
        ({"role": {"tables": ["x"]}}, "tables must be a list of tables"),
    ],
)
def test_a_wrong_entry_of_the_file_is_named(file: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load(file)
    assert says in str(caught.value)


@given(
    st.sampled_from(["port", "wait", "dev", "origins", "password", "table", "tables", "prefix"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()) | st.just({}),
)
def test_what_is_read_has_the_type_it_should(name: str, value: Any) -> None:
    try:
        settings = load({"role": {name: value}})
    except BadSetting:
        return
    default = getattr(Role(), name)
    assert isinstance(getattr(settings, name), type(default))


def test_the_top_level_has_only_what_some_role_knows() -> None:
    check_top_level({"role": {"anything": 1}, "port": 1, "prefix": "x"}, {"role": Role})
    with pytest.raises(BadSetting, match="unknown setting prot; it may have: dev"):
        check_top_level({"prot": 1}, {"role": Role})


def test_secrets_are_not_shown() -> None:
    settings = load(TOCSIN_PASSWORD="hunter2", TOCSIN_REDIS_URL="redis://:hunter2@h/0")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(shown(settings))
    assert shown(settings)["password"] == "***"
    assert shown(Role())["password"] == ""
    assert shown(settings)["port"] == 1


def test_keys_of_the_directory_are_secret_and_the_same_for_all_roles() -> None:
    file = {"directory_keys": ["a:b"], "ladder": [{"via": "live"}], "role": {"directory_index_key": "c"}}
    settings = read(PeopleSettings, file, {"TOCSIN_DEFAULT_LOCALE": "de"}, table="role")
    assert settings == PeopleSettings(
        directory_keys=("a:b",), ladder=({"via": "live"},), directory_index_key="c", default_locale="de"
    )
    assert (shown(settings)["directory_keys"], shown(settings)["directory_index_key"]) == ("***", "***")
    assert "a:b" not in repr(settings)


def test_the_file_is_toml_in_utf8(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.toml"
    assert read_file(path) == {}
    path.write_bytes('prefix = "ü"\n[role]\nport = 2\n'.encode())
    assert read_file(path) == {"prefix": "ü", "role": {"port": 2}}
    for wrong in (b"prefix = ", b'prefix = "\xff"'):
        path.write_bytes(wrong)
        with pytest.raises(BadSetting, match=r"tocsin\.toml"):
            read_file(path)
