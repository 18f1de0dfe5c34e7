"""The wheel's platform tag matches the libraries that the binary needs, as objdump prints them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from build.platforms import PLATFORMS, UnsupportedError, foreign_libraries, newest_glibc, platform_of, wheel_tag
from tests.support.command import BINARY

ROOT = Path(__file__).resolve().parents[2]
TOLD = """\
/tmp/sidecar:     file format elf64-x86-64
Dynamic Section:
  NEEDED               libz.so.1
  NEEDED               libc.so.6
  RUNPATH              $ORIGIN
Version References:
  required from libc.so.6:
    0x09691a75 0x00 03 GLIBC_2.2.5
    0x06969194 0x00 02 GLIBC_2.14

/tmp/libpython3.11.so.1.0:     file format elf64-x86-64
Dynamic Section:
  NEEDED               libpython3.so
  NEEDED               libfoo.so.2
Version References:
  required from libm.so.6:
    0x069691b5 0x00 08 GLIBC_2.35
    0x06969189 0x00 07 GLIBC_2.9
"""


def test_the_newest_glibc_is_found_by_number() -> None:
    assert newest_glibc(TOLD) == (2, 35)
    assert newest_glibc("nothing") == (0, 0)


def test_compact_relocations_need_a_glibc_of_their_own() -> None:
    assert newest_glibc(f"{TOLD}    0x0963cf85 0x00 02 GLIBC_ABI_DT_RELR\n") == (2, 36)


def test_a_library_that_is_neither_bundled_nor_everywhere_is_named() -> None:
    assert foreign_libraries(TOLD, {"libpython3.so"}) == ["libfoo.so.2"]


def test_a_target_without_packages_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no packages for x86_64-unknown-linux-musl"):
        platform_of("x86_64-unknown-linux-musl")


def test_npm_installs_a_package_on_its_own_platform_only() -> None:
    fields = [each.manifest for each in PLATFORMS.values()]
    assert {"os": ["linux"], "cpu": ["arm64"], "libc": ["glibc"]} in fields
    assert {"os": ["win32"], "cpu": ["x64"]} in fields
    assert {"os": ["darwin"], "cpu": ["arm64"]} in fields
    assert len({str(each) for each in fields}) == len(PLATFORMS)


@pytest.mark.skipif(sys.platform != "linux" or BINARY is None, reason="no frozen Linux binary to read")
def test_the_frozen_binary_has_a_tag_that_pip_takes_here() -> None:
    tag = wheel_tag("x86_64-unknown-linux-gnu", Path(BINARY or ""))
    assert tag.startswith("manylinux_2_")
    major, minor = tag.removeprefix("manylinux_").split("_")[:2]
    assert (2, 17) <= (int(major), int(minor)) < (3, 0)


def test_the_build_helper_knows_the_platforms_by_the_same_names() -> None:
    source = ROOT / "tauri-integration" / "plugin-build" / "src" / "lib.rs"
    told = re.findall(r'"([\w-]+)" => "([\w-]+)",', source.read_text(encoding="utf-8"))
    assert dict(told) == {triple: each.npm for triple, each in PLATFORMS.items()}
