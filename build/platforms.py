"""Each registry's name for the platform of a frozen binary, and the glibc that the binary really needs.

A one-file binary is PyInstaller's bootloader, followed by libpython and extension modules. The wheel's tag must hold
for all of them, so each is unpacked and read.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Platform:
    """A platform that has packages."""

    npm: str
    """The name of its npm package, without the scope."""
    wheel: str
    """The wheel's platform tag; on Linux and macOS the machine at its end."""

    @property
    def manifest(self) -> dict[str, list[str]]:
        """The fields by which npm installs the package on this platform only."""
        system, machine, *libc = self.npm.split("-")
        fields = {"os": [system], "cpu": [machine]}
        return fields | ({"libc": ["glibc"]} if libc == ["gnu"] else {})


PLATFORMS = {
    "x86_64-unknown-linux-gnu": Platform("linux-x64-gnu", "x86_64"),
    "aarch64-unknown-linux-gnu": Platform("linux-arm64-gnu", "aarch64"),
    "x86_64-pc-windows-msvc": Platform("win32-x64-msvc", "win_amd64"),
    "aarch64-pc-windows-msvc": Platform("win32-arm64-msvc", "win_arm64"),
    "x86_64-apple-darwin": Platform("darwin-x64", "x86_64"),
    "aarch64-apple-darwin": Platform("darwin-arm64", "arm64"),
}
"""rustc's name of a platform → its names in the registries."""

OLDEST_GLIBC = (2, 17)
"""Older ones have manylinux tags of another form, and no current Python runs with them."""

SYSTEM_LIBRARIES = re.compile(
    r"(?:ld-linux[\w-]*|libc|libdl|libgcc_s|libm|libpthread|librt|libstdc\+\+|libutil|libz)\.so\.\d+"
)
"""The system libraries that PEP 600 lets a wheel use, as far as our binary needs them."""

_NEEDED = re.compile(r"^  NEEDED +(\S+)$", re.MULTILINE)
_GLIBC = re.compile(r" GLIBC_(\d+)\.(\d+)(?:\.\d+)?$", re.MULTILINE)
_RELATIVE_RELOCATIONS = (2, 36)
"""A library with compact relocations (GLIBC_ABI_DT_RELR) needs this glibc, whatever functions it uses."""


class UnsupportedError(Exception):
    """There is no package for this binary; the message says why."""


def platform_of(triple: str) -> Platform:
    """Return the platform of this target. Raises UnsupportedError."""
    if triple not in PLATFORMS:
        raise UnsupportedError(f"there are no packages for {triple}; there are for {', '.join(PLATFORMS)}")
    return PLATFORMS[triple]


def wheel_tag(triple: str, binary: Path) -> str:
    """Return the platform tag of a wheel with this binary, which was frozen here. Raises UnsupportedError."""
    platform = platform_of(triple)
    if "linux" in triple:
        major, minor = glibc_of(binary)
        return f"manylinux_{major}_{minor}_{platform.wheel}"
    if "darwin" in triple:
        # a framework's Python may be universal2; the binary runs only on the machine that it was frozen for
        _, oldest, _ = sysconfig.get_platform().split("-")
        return f"macosx_{oldest.replace('.', '_')}_{platform.wheel}"
    return platform.wheel


def glibc_of(binary: Path) -> tuple[int, int]:
    """Return the oldest glibc that has every function the binary and its libraries use. Raises UnsupportedError."""
    with tempfile.TemporaryDirectory(prefix="sidecar-elf-") as folder:
        files = [binary, *unpack(binary, Path(folder))]
        told = subprocess.run(["objdump", "-p", *files], text=True, capture_output=True, check=True).stdout
    missing = foreign_libraries(told, {file.name for file in files})
    if missing:
        raise UnsupportedError(f"the binary needs libraries that not every Linux has: {', '.join(missing)}")
    return max(OLDEST_GLIBC, newest_glibc(told))


def newest_glibc(told: str) -> tuple[int, int]:
    """Return the newest glibc that objdump's version references name."""
    found = [(int(major), int(minor)) for major, minor in _GLIBC.findall(told)]
    if " GLIBC_ABI_DT_RELR\n" in told:
        found.append(_RELATIVE_RELOCATIONS)
    return max(found, default=(0, 0))


def foreign_libraries(told: str, bundled: set[str]) -> list[str]:
    """Return the libraries of objdump's dynamic sections that are neither bundled nor on every system."""
    needed = set(_NEEDED.findall(told)) - bundled
    return sorted(name for name in needed if not SYSTEM_LIBRARIES.fullmatch(name))


def unpack(binary: Path, folder: Path) -> list[Path]:
    """Write the libraries that PyInstaller packed into the binary to the folder."""
    if sys.platform == "win32":
        raise UnsupportedError("only a Linux binary is unpacked")
    # imported here because most jobs read no binary; the package with its types is months behind
    from PyInstaller.archive.readers import CArchiveReader  # type: ignore[import-untyped]  # noqa: PLC0415

    archive = CArchiveReader(str(binary))
    files = []
    for name, (*_, kind) in archive.toc.items():
        if kind == "b":
            file = folder / Path(name).name
            file.write_bytes(archive.extract(name))
            files.append(file)
    return files
