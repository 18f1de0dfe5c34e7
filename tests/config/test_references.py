"""References in texts: which are filled in, and which stay as they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.references import address_values, fill, is_foreign, keys_in, split_key

KNOWN = {
    **address_values("::1", 80, "http://[::1]:80/"),
    "token": "secret",
    "services.api.v2.url": "https://127.0.0.1:8000/app/",
}


def test_what_is_known_is_filled_in_and_other_braces_stay() -> None:
    text = "{port} {host} {url} {origin} {token} {services.api.v2.url}"
    assert fill(text, KNOWN) == "80 ::1 http://[::1]:80/ http://[::1]:80 secret https://127.0.0.1:8000/app/"
    assert fill("{PORT} {} ${port} {other} {services}", KNOWN) == "{PORT} {} $80 {other} {services}"


def test_json_and_variables_of_a_shell_may_be_written_as_they_are() -> None:
    text = '{"a": {"port": 1, "b": []}} ${X} $(x) {"url"}'
    assert fill(text, KNOWN) == text
    assert list(keys_in(text)) == []


def test_two_braces_stand_for_one_and_refer_to_nothing() -> None:
    text = "{{port}} {{services.api.url}} {{{port}}}"
    assert fill(text, KNOWN) == "{port} {services.api.url} {{port}}"
    assert list(keys_in("{{port}} {{services.api.url}}")) == []


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    assert fill("{host}", {"host": "{port}", "port": "1"}) == "{port}"


def test_a_reference_that_is_not_known_stays() -> None:
    assert fill("{port} {services.db.url}", {}) == "{port} {services.db.url}"


def test_a_key_is_taken_apart_at_its_last_dot() -> None:
    assert split_key("services.my.api.url") == ("my.api", "url")
    assert split_key("services.api") == ("api", "")
    assert is_foreign("services.api.url")
    assert not is_foreign("url")


def test_an_origin_has_no_slash_and_no_path() -> None:
    assert address_values("h", 1, "https://h:1/app/")["origin"] == "https://h:1"


@given(st.text())
def test_a_text_without_a_key_is_never_changed(text: str) -> None:
    if not list(keys_in(text)) and "{{" not in text:
        assert fill(text, KNOWN) == text
