"""An env file: which variables are read from it, and the errors for lines that are not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import ConfigurationError
from sidecar.files import FILE_BYTES_MOST
from sidecar.services.env_file import read_env_file


def read(folder: Path, text: str | bytes) -> dict[str, str]:
    file = folder / ".env"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_env_file("api", str(file))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("A=", ""),
        ("  export A = 1  ", "1"),
        ("A=1 # a comment", "1"),
        ("A=1#2", "1#2"),
        ("A= # a comment", ""),
        ("A='1 # $B' # a comment", "1 # $B"),
        (r"A='\n'", r"\n"),
        (r'A="a\nb\t\"c\" \$D \\"', 'a\nb\t"c" $D \\'),
        ('A="first\nsecond"', "first\nsecond"),
        ("A='first\nsecond'", "first\nsecond"),
        ("A=$B ${C} {port}", "$B ${C} {port}"),
        ("A=a b  c", "a b  c"),
        ("A=b=c", "b=c"),
        ("A=it's", "it's"),
        ("A=1\nA=2", "2"),
    ],
)
def test_a_line_gives_its_value(line: str, value: str, tmp_path: Path) -> None:
    assert read(tmp_path, line) == {"A": value}
    assert read(tmp_path, f"B=before\n{line}\nC=after") == {"B": "before", "A": value, "C": "after"}


def test_comments_blank_lines_a_mark_and_windows_line_ends_are_no_variables(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf# a comment\r\n\r\n  # more\r\nA=1\r\nB='x'\r\n") == {"A": "1", "B": "x"}
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nsecret", "line 2 is no NAME=value"),
        ("\n=secret", "line 2 is no NAME=value"),
        ("A='secret", "the value of 'A' in line 1 is not understood"),
        ('A=1\nB="secret', "the value of 'B' in line 2 is not understood"),
        ("A='secret' more", "the value of 'A' in line 1 is not understood"),
        ("A=secret\0", "the value of 'A' in line 1 is not understood"),
        (b"A=1\nB=\xffsecret", "it is not UTF-8 in line 2"),
        (b"#" * (FILE_BYTES_MOST + 1), "it is larger than"),
    ],
)
def test_what_is_not_understood_is_named_by_its_line_and_not_shown(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    assert said in caught.value.message
    assert "secret" not in str(caught.value.data) + caught.value.message


def test_a_file_that_is_missing_or_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"api: .*\.env cannot be read: it does not exist\."):
        read_env_file("api", str(tmp_path / ".env"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_env_file("api", str(tmp_path))
