"""Apps of ``create-tauri-app``, changed by ``npx tauri-sidecar init``, built, and run in a real window."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "linux":
    pytest.skip("apps are built and shown on Linux only, so far", allow_module_level=True)

from build.version import version
from tests.commands.init.scaffold import BUILD_S, NETWORK_S, Workshop, missing, opened
from tests.dist.support import build, must

pytestmark = pytest.mark.timeout(2 * BUILD_S)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """The packages of the binary under test, or of a new one, and everything that is needed to show an app."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    dist = build(tmp_path_factory.mktemp("dist"), crates=True)
    with opened(dist, tmp_path_factory.mktemp("apps")) as workshop:
        yield workshop


TEMPLATES: list[tuple[str, tuple[str, ...]]] = [("vanilla-ts", ("npm", "run", "tauri:dev")), ("svelte-ts", ())]
"""The two that differ most. One is plain Vite, and Tauri's CLI starts it. The other is SvelteKit, with its page in
another file. Each takes half a minute. ``SIDECAR_ALL_TEMPLATES=1`` tries all, as the workflow does."""
if "SIDECAR_ALL_TEMPLATES" in os.environ:
    TEMPLATES += [("react-ts", ()), ("vue-ts", ())]


@pytest.mark.parametrize(("template", "start"), TEMPLATES)
def test_a_scaffolded_app_is_changed_runs_and_leaves_nothing(
    workshop: Workshop, template: str, start: tuple[str, ...]
) -> None:
    """Without the words of ``start``, start the app's binary itself."""
    project = workshop.scaffold(template, template)
    assert workshop.npx(project, "init", "--yes").splitlines()[-1] == "Done. Start the app with: npm run tauri:dev"
    assert workshop.npx(project, "init", "--yes").startswith("Nothing to do: ")
    inner = project / "src-tauri"
    must(inner, "rustfmt", "--check", "--edition=2021", "src/lib.rs", "build.rs", timeout=NETWORK_S)
    assert f'tauri-plugin-sidecar = "{version()}"' in (inner / "Cargo.toml").read_text()
    assert "externalBin" not in (inner / "tauri.conf.json").read_text(), "its release starts nothing"
    package = json.loads((project / "package.json").read_text())
    assert package["scripts"]["tauri:dev"]
    assert package["devDependencies"]["tauri-sidecar"] == f"^{version()}"

    workshop.npm_install(project)
    workshop.show_and_kill(project, *start)
