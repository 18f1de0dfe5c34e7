"""The variables that a service's program gets, PATH included."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sidecar.config.references import fill
from sidecar.config.services import DevServer, Service, type_of
from sidecar.host.programs import name_of_path
from sidecar.services.frameworks import BY_TYPE
from sidecar.services.node import Node
from sidecar.services.package_json import read_package
from sidecar.services.paths import plain_path


def from_env_file(name: str, config: Service) -> dict[str, str]:
    """Read the variables of ``envFile``, except those in ``env`` and those that tell a dev server where to listen."""
    if config.env_file is None:
        return {}
    from sidecar.services.env_file import read_env_file

    told = dict(BY_TYPE[type_of(config)].env) if isinstance(config, DevServer) else {}
    found = read_env_file(name, plain_path(name, config.env_file))
    return {variable: value for variable, value in found.items() if variable not in config.env and variable not in told}


def filled(env: Mapping[str, str], known: Mapping[str, str], verbatim: frozenset[str]) -> dict[str, str]:
    """Return the variables with their references filled in from ``known``, except in ``verbatim`` ones and in PATH."""
    kept = {*verbatim, name_of_path(env)}  # a folder in PATH may have any name, also one like a reference
    return {name: value if name in kept else fill(value, known) for name, value in env.items()}


def told_by_npm(root: str) -> dict[str, str]:
    """Return the package's variables that every package manager sets for a script. Configurations read the version."""
    package = read_package(root)
    said = {f"npm_package_{field}": package.get(field) for field in ("name", "version")}
    return {name: text for name, text in said.items() if isinstance(text, str) and "\0" not in text}


def path_of(env: Mapping[str, str]) -> str:
    """Return the PATH of a program that gets ``env`` on top of ours."""
    return env.get(name_of_path(env), os.environ.get("PATH", os.defpath))


def with_node(env: Mapping[str, str], node: Node) -> dict[str, str]:
    """Return the environment in which a program finds ``node`` by its name."""
    return dict(env) if node.on_path else with_folder(env, os.path.dirname(node.program))


def with_folder(env: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return the environment with the folder in front of PATH."""
    return {**env, name_of_path(env): f"{folder}{os.pathsep}{path_of(env)}"}
