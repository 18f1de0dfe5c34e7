"""Which node is used: from PATH, from a version manager by its own rules, from the login shell, or bun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Windows finds programs in another way", allow_module_level=True)

from sidecar.services.managers import TEXT_MOST, WISH_MOST
from sidecar.services.node import Missing, Node, find
from tests.services.support import Machine, machine, program

__all__ = ["machine"]

VERSIONS = {
    "nvm": "{home}/.nvm/versions/node/v{version}/bin/node",
    "fnm": "{home}/.local/share/fnm/node-versions/v{version}/installation/bin/node",
    "nodenv": "{home}/.nodenv/versions/{version}/bin/node",
    "asdf": "{home}/.asdf/installs/nodejs/{version}/bin/node",
    "mise": "{home}/.local/share/mise/installs/node/{version}/bin/node",
    "volta": "{home}/.volta/tools/image/node/{version}/bin/node",
    "n": "{system}/usr/local/n/versions/node/{version}/bin/node",
}
"""The folder of a version, by manager."""


def install(machine: Machine, manager: str, version: str) -> Path:
    """Install a node of this version as the manager would."""
    return program(Path(VERSIONS[manager].format(home=machine.home, system=machine.system, version=version)))


def brew(machine: Machine, formula: str, version: str, prefix: str = "opt/homebrew") -> Path:
    """Install a node as Homebrew would, with its link; return the program's path through the link."""
    root = machine.system / prefix
    program(root / "Cellar" / formula / version / "bin" / "node")
    (root / "opt").mkdir(exist_ok=True)
    (root / "opt" / formula).symlink_to(root / "Cellar" / formula / version)
    return root / "opt" / formula / "bin" / "node"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def found(machine: Machine) -> Node:
    """Return what is found for the project."""
    node = find(str(machine.project), os.environ["PATH"])
    assert isinstance(node, Node), node
    return node


def not_found(machine: Machine) -> str:
    node = find(str(machine.project), os.environ["PATH"])
    assert isinstance(node, Missing), node
    return node.looked


# ── PATH ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_node_on_path_is_taken_before_any_manager_s(machine: Machine) -> None:
    install(machine, "nvm", "22.1.0")
    write(machine.project / ".nvmrc", "22")
    here = program(machine.path / "node")
    assert found(machine) == Node(str(here), "on PATH", on_path=True)


@pytest.mark.parametrize("entry", ["", ".", "node_modules/.bin", "./node_modules/.bin"])
def test_a_relative_entry_of_path_runs_nothing_of_the_project(
    machine: Machine, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(machine.project / "node")
    program(machine.project / "node_modules/.bin/node")
    program(machine.project / "node_modules/.bin/bun")
    monkeypatch.chdir(machine.project)
    machine.variable("PATH", f"{entry}{os.pathsep}{machine.path}")
    not_found(machine)
    machine.shell(f'PATH={entry}:/usr/bin:/bin; [ $1 = -ilc ] && eval "$2"')
    looked = find(str(machine.project), os.environ["PATH"])
    assert isinstance(looked, Missing) or Path(looked.program).parent in {Path("/usr/bin"), Path("/bin")}


# ── each manager ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("manager", VERSIONS)
def test_the_newest_of_each_manager_is_found_off_path(machine: Machine, manager: str) -> None:
    for version in ("20.9.0", "18.20.8", "9.11.2"):
        install(machine, manager, version)
    newest = install(machine, manager, "20.19.1")
    assert found(machine) == Node(str(newest), f"the newest of {manager}, not on PATH")


@pytest.mark.parametrize("manager", VERSIONS)
@pytest.mark.parametrize("file", [".nvmrc", ".node-version"])
def test_the_version_that_a_project_asks_for_is_found_in_each_manager(
    machine: Machine, manager: str, file: str
) -> None:
    wanted = install(machine, manager, "20.9.0")
    install(machine, manager, "20.8.10")
    install(machine, manager, "22.3.0")
    write(machine.project / file, "v20\n")
    assert found(machine) == Node(str(wanted), f"the one of {manager} that {file} asks for (v20), not on PATH")


@pytest.mark.parametrize(
    ("variable", "manager", "root", "version"),
    [
        ("NVM_DIR", "nvm", "", "versions/node/v20.19.1/bin/node"),
        ("XDG_CONFIG_HOME", "nvm", "", "nvm/versions/node/v20.19.1/bin/node"),
        ("FNM_DIR", "fnm", "", "node-versions/v20.19.1/installation/bin/node"),
        ("XDG_DATA_HOME", "fnm", "", "fnm/node-versions/v20.19.1/installation/bin/node"),
        ("NODENV_ROOT", "nodenv", "", "versions/20.19.1/bin/node"),
        ("ASDF_DATA_DIR", "asdf", "", "installs/nodejs/20.19.1/bin/node"),
        ("MISE_DATA_DIR", "mise", "", "installs/node/20.19.1/bin/node"),
        ("XDG_DATA_HOME", "mise", "", "mise/installs/node/20.19.1/bin/node"),
        ("VOLTA_HOME", "volta", "", "tools/image/node/20.19.1/bin/node"),
        ("N_PREFIX", "n", "", "n/versions/node/20.19.1/bin/node"),
        ("HOMEBREW_PREFIX", "Homebrew", "", "opt/node@20/bin/node"),
    ],
)
def test_a_manager_s_variable_says_where_it_is(
    machine: Machine, variable: str, manager: str, root: str, version: str
) -> None:
    moved = program(machine.home / "moved" / version)
    machine.variable(variable, machine.home / "moved")
    assert found(machine) == Node(str(moved), f"the newest of {manager}, not on PATH")
    machine.variable(variable, "moved")
    os.chdir(machine.home)
    not_found(machine)


@pytest.mark.parametrize(
    ("place", "manager"),
    [
        ("{system}/opt/local/bin/node", "MacPorts"),
        ("{home}/.nix-profile/bin/node", "Nix"),
        ("{home}/.local/state/nix/profile/bin/node", "Nix"),
        ("{system}/nix/var/nix/profiles/default/bin/node", "Nix"),
        ("{system}/run/current-system/sw/bin/node", "Nix"),
        ("{system}/usr/local/bin/node", "the installer"),
    ],
)
def test_a_package_manager_s_node_is_found_off_path(machine: Machine, place: str, manager: str) -> None:
    there = program(Path(place.format(home=machine.home, system=machine.system)))
    assert found(machine) == Node(str(there), f"the default of {manager}, not on PATH")


@pytest.mark.parametrize("prefix", ["opt/homebrew", "usr/local", "home/linuxbrew/.linuxbrew"])
def test_homebrew_s_node_is_found_by_its_link_and_by_its_version(machine: Machine, prefix: str) -> None:
    newest = brew(machine, "node", "24.1.0_1", prefix)
    older = brew(machine, "node@20", "20.19.1", prefix)
    assert found(machine) == Node(str(newest), "the newest of Homebrew, not on PATH")
    linked = program(machine.system / prefix / "bin/node")
    assert found(machine) == Node(str(linked), "the default of Homebrew, not on PATH")
    write(machine.project / ".nvmrc", "20")
    assert found(machine).program == str(older)


@pytest.mark.parametrize("manager", ["nodenv", "asdf", "mise", "volta"])
def test_a_shim_is_taken_only_where_there_is_no_node(machine: Machine, manager: str) -> None:
    data = {"nodenv": ".nodenv/shims", "asdf": ".asdf/shims", "mise": ".local/share/mise/shims", "volta": ".volta/bin"}
    shim = program(machine.home / data[manager] / "node")
    assert found(machine) == Node(str(shim), f"the shim of {manager}, not on PATH")
    elsewhere = program(machine.system / "opt/local/bin/node")
    assert found(machine).program == str(elsewhere)
    own = install(machine, manager, "20.19.1")
    assert found(machine).program == str(own)


# ── what a manager uses by default ────────────────────────────────────────────────────────────────────────────────────


def test_nvm_s_default_is_followed_from_alias_to_alias(machine: Machine) -> None:
    wanted = install(machine, "nvm", "20.19.1")
    install(machine, "nvm", "22.1.0")
    alias = machine.home / ".nvm/alias"
    write(alias / "default", "work\n")
    write(alias / "work", "old\n")
    write(alias / "old", "v20.19.1\n")
    assert found(machine) == Node(str(wanted), "the default of nvm, not on PATH")


@pytest.mark.parametrize(
    ("default", "version"),
    [
        ("20", "20.19.1"),
        ("v20.9.0", "20.9.0"),
        ("lts/iron", "20.19.1"),
        ("lts/*", "22.1.0"),
        ("node", "23.2.0"),
        ("stable", "23.2.0"),
        ("system", "23.2.0"),
        ("round", "23.2.0"),
        ("gone", "23.2.0"),
        ("../../elsewhere", "23.2.0"),
        ("18", "23.2.0"),
    ],
)
def test_nvm_s_default_may_be_any_of_its_words(machine: Machine, default: str, version: str) -> None:
    made = {it: install(machine, "nvm", it) for it in ("20.9.0", "20.19.1", "22.1.0", "23.2.0")}
    write(machine.home / ".nvm/alias/default", default)
    write(machine.home / ".nvm/alias/round", "default")
    write(machine.home / "elsewhere", "20")
    assert found(machine).program == str(made[version])


def test_nvm_s_default_of_the_system_leaves_the_choice_to_the_next_manager(machine: Machine) -> None:
    install(machine, "nvm", "22.1.0")
    write(machine.home / ".nvm/alias/default", "system")
    ports = program(machine.system / "opt/local/bin/node")
    assert found(machine).program == str(ports)


def test_fnm_s_default_is_the_one_that_its_alias_links(machine: Machine) -> None:
    older = install(machine, "fnm", "20.19.1")
    install(machine, "fnm", "22.1.0")
    alias = machine.home / ".local/share/fnm/aliases/default"
    alias.parent.mkdir()
    alias.symlink_to(older.parents[1])
    assert found(machine) == Node(str(alias / "bin/node"), "the default of fnm, not on PATH")


@pytest.mark.parametrize(
    ("manager", "file", "text"),
    [
        ("nodenv", ".nodenv/version", "20.19.1\n"),
        ("asdf", ".tool-versions", "python 3.12.1\nnodejs 20.19.1 18.0.0\n"),
        ("mise", ".config/mise/config.toml", '[tools]\npython = "3.12"\nnode = "20"\n'),
        ("mise", ".config/mise/config.toml", '[tools]\nnode = ["20", "22"]\n'),
        ("mise", ".config/mise/config.toml", "[tools]\nnode = { version = '20' }\n"),
        ("volta", ".volta/tools/user/platform.json", '{"node": {"runtime": "20.19.1", "npm": null}, "yarn": null}'),
    ],
)
def test_the_default_of_a_manager_is_read_from_its_own_file(
    machine: Machine, manager: str, file: str, text: str
) -> None:
    wanted = install(machine, manager, "20.19.1")
    newest = install(machine, manager, "22.1.0")
    write(machine.home / file, text)
    assert found(machine) == Node(str(wanted), f"the default of {manager}, not on PATH")
    write(machine.home / file, "\0 [ {")
    assert found(machine) == Node(str(newest), f"the newest of {manager}, not on PATH")


def test_the_default_of_n_is_the_one_in_its_prefix(machine: Machine) -> None:
    install(machine, "n", "22.1.0")
    active = program(machine.system / "usr/local/bin/node")
    assert found(machine) == Node(str(active), "the default of n, not on PATH")


# ── what a project asks for ───────────────────────────────────────────────────────────────────────────────────────────

ALL = ("18.20.8", "20.9.0", "20.19.1", "22.1.0", "23.2.0")


@pytest.mark.parametrize(
    ("wish", "version"),
    [
        ("20", "20.19.1"),
        ("20.x", "20.19.1"),
        ("20.9", "20.9.0"),
        ("v20.9.0", "20.9.0"),
        ("lts/*", "22.1.0"),
        ("lts", "22.1.0"),
        ("lts/iron", "20.19.1"),
        ("lts/Hydrogen", "18.20.8"),
        ("node", "23.2.0"),
        ("latest", "23.2.0"),
        (">=20", "23.2.0"),
        (">= 20 < 23", "22.1.0"),
        (">20 <=22", "22.1.0"),
        ("^20.10", "20.19.1"),
        ("~20.9", "20.9.0"),
        ("18 || 20", "20.19.1"),
        ("=20.9.0", "20.9.0"),
        ("# which?\n\n20 # this", "20.19.1"),
        ("20\r\n", "20.19.1"),
    ],
)
def test_a_partial_wish_is_met_by_the_newest_that_fits(machine: Machine, wish: str, version: str) -> None:
    made = {it: install(machine, "nvm", it) for it in ALL}
    write(machine.project / ".nvmrc", wish)
    node = found(machine)
    assert (node.program, node.problem) == (str(made[version]), "")


def test_a_wish_is_heeded_from_the_folders_above_up_to_the_repository(machine: Machine) -> None:
    older, newest = install(machine, "nvm", "20.19.1"), install(machine, "nvm", "22.1.0")
    write(machine.project.parent / ".nvmrc", "20")
    assert found(machine).program == str(older)
    (machine.project / ".git").mkdir()
    assert found(machine).program == str(newest)


def test_the_nearest_wish_counts(machine: Machine) -> None:
    older = install(machine, "nvm", "20.19.1")
    install(machine, "nvm", "22.1.0")
    write(machine.project.parent / ".nvmrc", "22")
    write(machine.project / ".tool-versions", "ruby 3.3.0\nnodejs 20.19.1\n")
    assert found(machine).why == "the one of nvm that .tool-versions asks for (20.19.1), not on PATH"
    assert found(machine).program == str(older)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mise.toml", '[tools]\nnode = "20"\n'),
        (".mise.toml", '[tools]\nnode = "20"\n'),
        ("package.json", '{"name": "x", "volta": {"node": "20.19.1", "npm": "10.0.0"}}'),
    ],
)
def test_a_manager_s_own_file_in_the_project_is_a_wish(machine: Machine, file: str, text: str) -> None:
    older = install(machine, "volta", "20.19.1")
    install(machine, "volta", "22.1.0")
    write(machine.project / file, text)
    assert found(machine).program == str(older)
    assert f"that {file} asks for" in found(machine).why


@pytest.mark.parametrize("text", ["", "{", "[]", '{"volta": 1}', '{"volta": {"yarn": "1"}}', '{"name": "x"}'])
def test_a_package_json_without_a_pin_is_no_wish(machine: Machine, text: str) -> None:
    newest = install(machine, "volta", "22.1.0")
    write(machine.project / "package.json", text)
    assert found(machine) == Node(str(newest), "the newest of volta, not on PATH")


def test_a_wish_may_be_an_alias_of_nvm(machine: Machine) -> None:
    older = install(machine, "nvm", "20.19.1")
    install(machine, "fnm", "22.1.0")
    write(machine.home / ".nvm/alias/work", "20")
    write(machine.project / ".nvmrc", "work")
    assert found(machine).program == str(older)


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ("16", ".nvmrc asks for 16, which is not installed"),
        ("lts/argon", ".nvmrc asks for lts/argon, which is not installed"),
        ("lts/fantasy", ".nvmrc asks for lts/fantasy, which is not a known version"),
        ("../../../secret", ".nvmrc asks for ../../../secret, which is not a known version"),
        ("a\u202eb", ".nvmrc asks for 'a\\u202eb', which is not a known version"),
        ("9" * 5_000, f".nvmrc asks for {'9' * WISH_MOST}, which is not a known version"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told_and_the_newest_taken(machine: Machine, wish: str, problem: str) -> None:
    install(machine, "nvm", "20.19.1")
    newest = install(machine, "fnm", "22.1.0")
    write(machine.home.parent / "secret", "20")
    write(machine.project / ".nvmrc", wish)
    assert found(machine) == Node(str(newest), "the newest of fnm, not on PATH", problem=problem)


def test_a_wish_in_a_file_that_is_none_is_not_read(machine: Machine) -> None:
    """Reading a FIFO without a writer would block, and reading a device would never end."""
    newest = install(machine, "nvm", "22.1.0")
    os.mkfifo(machine.project / ".nvmrc")
    (machine.project / ".node-version").symlink_to("/dev/zero")
    (machine.project / ".tool-versions").mkdir()
    assert found(machine) == Node(str(newest), "the newest of nvm, not on PATH")


def test_of_a_huge_file_only_the_beginning_is_read(machine: Machine) -> None:
    newest = install(machine, "nvm", "22.1.0")
    write(machine.project / ".nvmrc", "\n" * TEXT_MOST + "20")
    assert found(machine) == Node(str(newest), "the newest of nvm, not on PATH")


# ── the login shell, and bun ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_node_on_the_login_shell_s_path_is_found(machine: Machine) -> None:
    there = program(machine.home / "tools/node")
    machine.shell(f'export PATH={there.parent}:/usr/bin:/bin; eval "$2"')
    assert found(machine) == Node(str(there), "on the login shell's PATH, not on ours")


@pytest.mark.parametrize("place", ["path", "home", "variable", "shell"])
def test_bun_is_found_where_there_is_no_node(machine: Machine, place: str) -> None:
    folders = {"path": machine.path, "home": machine.home / ".bun/bin"}
    there = program(folders.get(place, machine.home / "elsewhere/bin") / "bun")
    if place == "variable":
        machine.variable("BUN_INSTALL", machine.home / "elsewhere")
    if place == "shell":
        tools = program(machine.home / "tools/printenv", 'echo "$PATH"').parent
        machine.shell(f'export PATH={there.parent}:{tools}; eval "$2"')
    node = found(machine)
    assert (node.program, node.on_path, node.is_bun) == (str(there), place == "path", True)
    assert "as there is no node" in node.why


def test_a_node_is_no_bun(machine: Machine) -> None:
    program(machine.path / "node")
    assert not found(machine).is_bun


def test_what_was_looked_at_in_vain_is_named(machine: Machine) -> None:
    looked = not_found(machine)
    for place in ("PATH", "nvm", "fnm", "nodenv", "asdf", "mise", "volta", "Homebrew", "MacPorts", "Nix", "bun"):
        assert place in looked
    assert "the login shell shell does not say its PATH" in looked
