"""Debian's packages: decide whether to install them, and call apt-get."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from build.jobs.tools import say

INSTALL, NO_INSTALL = "--install", "--no-install"


class Consent:
    """Whether this run may install packages. An option or CI decides it; else a person is asked, once for all.

    Without a terminal, root installs and other users do not. The two commands of the README must work on a fresh
    machine, and in a bare container they run as root, without a terminal and without CI=true.
    """

    def __init__(self) -> None:
        self.word: bool | None = None
        """The option of the command line; None without one."""
        self.answer: bool | None = None
        """The answer of the person at the terminal."""
        self.updated = False
        """Whether apt-get has read its lists in this run."""

    def given(self, packages: str, what: str) -> bool:
        """Tell whether these packages, which provide ``what``, may be installed."""
        if self.word is not None:
            return self.word
        if os.environ.get("CI") == "true":
            return True
        if not attended():
            return is_root()
        if self.answer is None:
            say(f"{what}: not here. It comes with Debian's packages: {packages}")
            question = "Install them now, with whatever else this job needs from Debian? [y/N] "
            self.answer = input(question).strip().lower() in {"y", "yes"}
        return self.answer


CONSENT = Consent()


def take_words(arguments: Sequence[str]) -> list[str]:
    """Take --install and --no-install out of a job's arguments. The last one decides."""
    for word in arguments:
        if word in {INSTALL, NO_INSTALL}:
            CONSENT.word = word == INSTALL
    return [word for word in arguments if word not in {INSTALL, NO_INSTALL}]


def install(packages: str, what: str) -> bool:
    """Install packages, which provide ``what``, if this run may; return whether they are installed now."""
    if not shutil.which("apt-get"):
        return False
    as_root = root_prefix()
    if as_root is None or not CONSENT.given(packages, what):
        return False
    say(f"{what}: installing from Debian: {packages} ...")
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    if not CONSENT.updated:
        # An update that fails for one source still leaves the others usable, so only the install counts.
        subprocess.run([*apt, "update"], stdin=subprocess.DEVNULL, check=False)
        CONSENT.updated = True
    words = [*apt, "install", "-y", "--no-install-recommends", *packages.split()]
    return subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode == 0


def root_prefix() -> list[str] | None:
    """Return what to put before a command to run it as root, or None. At a terminal sudo may ask for a password."""
    if is_root():
        return []
    if not shutil.which("sudo"):
        return None
    if attended():
        return ["sudo"]
    asked = subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL, check=False)
    return None if asked.returncode else ["sudo", "-n"]


def is_root() -> bool:
    """Tell whether this process is root, and so needs no sudo."""
    return sys.platform != "win32" and os.geteuid() == 0


def attended() -> bool:
    """Tell whether a person can see a question and answer it."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def command(packages: str) -> str:
    """Return the line that a person runs to install packages."""
    return f"sudo apt-get update && sudo apt-get install -y {packages}"


def completes_python() -> bool:
    """Tell whether this Python is one that Debian's packages can complete."""
    return sys.base_prefix == "/usr" and shutil.which("apt-get") is not None
