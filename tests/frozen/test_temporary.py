"""A folder for temporary files in which the bootloader cannot unpack, or run what it has unpacked.

The plugin gives the bootloader another one then, and says which was the user's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("mount namespaces", allow_module_level=True)

from sidecar.host.frozen import USERS_TMPDIR
from tests.faults.direct import Direct
from tests.faults.test_system_surroundings import namespaces, within
from tests.frozen.test_bootloader import nobody
from tests.support.command import SIDECAR


def mounted(folder: Path, options: str) -> str:
    """The script that mounts a file system over the folder."""
    return f"mount -t tmpfs -o {options} none {folder}"


def temporary_folder(it: Direct) -> str | None:
    """The TMPDIR of a service."""
    code = "import os; print('TMPDIR:', os.environ.get('TMPDIR')); print(*[n for n in os.environ if 'USERS' in n])"
    it.client.hello({"child": {"type": "command", "command": [sys.executable, "-I", "-S", "-c", code]}})
    it.client.send("start", service="child")
    it.client.note("service/exited", service="child")
    [first, *rest] = [line for note in it.client.notes("service/log") for line in note["lines"]]
    assert rest in ([], [""])
    told = str(first).removeprefix("TMPDIR: ")
    return None if told == "None" else told


@pytest.mark.parametrize("own", ["/somewhere/else", ""], ids=["has one", "has none"])
def test_services_have_the_users_own_tmpdir(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USERS_TMPDIR, own)
    with Direct(tmp_path) as it:
        assert temporary_folder(it) == (own or None)
        assert len(list((tmp_path / "unpacked").iterdir())) == 1


@namespaces
@pytest.mark.parametrize(
    ("options", "failure"),
    [
        ("noexec", "failed to map segment from shared object"),
        ("size=300k", "decompress"),
        ("ro", "Could not create temporary directory"),
    ],
    ids=["noexec", "full", "read-only"],
)
def test_it_starts_where_the_users_temporary_folder_does_not_do(
    options: str, failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the bootloader says without another folder is asserted, too: the plugin's texts know it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    script = mounted(folder, options)
    alone = [*within(script), "env", f"TMPDIR={folder}", *SIDECAR, "--version"]
    failed = subprocess.run(alone, capture_output=True, text=True, check=False, timeout=60)
    if options != "ro":  # it has other folders to go to then: /tmp, /var/tmp, /usr/tmp
        assert failed.returncode != 0
        assert failure in failed.stderr
    monkeypatch.setenv(USERS_TMPDIR, str(folder))
    with Direct(tmp_path, prefix=within(script)) as it:
        assert temporary_folder(it) == str(folder)


def test_what_a_failed_unpacking_left_in_the_users_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    half, foreign = (folder / f"_MEI{nobody()}{name}" for name in ("halfun", "others"))
    half.mkdir(parents=True)
    (half / "base_library.zip").touch()
    foreign.mkdir()
    (foreign / "precious").touch()
    monkeypatch.setenv(USERS_TMPDIR, str(folder))
    with Direct(tmp_path) as it:
        it.client.hello({})
        assert it.client.note("supervisor/swept")["folders"] == 1
    assert list(folder.iterdir()) == [foreign]
