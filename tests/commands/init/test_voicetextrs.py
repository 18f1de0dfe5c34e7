"""The first user's project: its own script finds a port, writes it to a file, and starts Vite through a shell.

``tests/projects/voicetextrs/before`` is the original project. ``after`` is the result of ``init`` and of the manual
edits that it names.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sidecar.commands.init import obsolete, write
from sidecar.commands.init.plan import Plan, make_plan
from tests.commands.init.support import ROOT

PROJECT = ROOT / "tests" / "projects" / "voicetextrs"
CRATE = str(ROOT / "tauri-integration" / "plugin")
PLACE = re.compile(r"(?P<file>[\w./\\-]+):(?P<line>\d+): ")
MADE = {"binaries", "gen", "node_modules", "dist", "target", "Cargo.lock"}
"""What a build or ``npm install`` leaves in it, which git does not see."""


def texts(folder: Path) -> dict[str, str]:
    """Return all files of a project that git has."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode("utf-8", "replace")
        for path in folder.rglob("*")
        if path.is_file() and not MADE & set(path.relative_to(folder).parts)
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the original project."""
    shutil.copytree(PROJECT / "before", tmp_path / "before", ignore=shutil.ignore_patterns(*MADE))
    return tmp_path / "before" / "tauri"


def changed(project: Path) -> Plan:
    plan = make_plan(project, CRATE)
    write.write(plan.edits, plan.home)
    return plan


def places(plan: Plan) -> list[tuple[str, int]]:
    """Return each file and line that the user is told to edit."""
    found = (PLACE.match(note) for note in plan.notes)
    return [(each["file"].replace("\\", "/"), int(each["line"])) for each in found if each]


def test_the_service_takes_the_place_of_the_script(project: Path) -> None:
    plan = changed(project)
    made, after = texts(project), texts(PROJECT / "after" / "tauri")
    assert made["src-tauri/tauri.conf.json"] == after["src-tauri/tauri.conf.json"]
    assert "beforeDevCommand" not in made["src-tauri/tauri.conf.json"]
    assert plan.start == "npm run tauri:dev"


def test_with_the_edits_that_are_named_it_is_the_project_after(project: Path) -> None:
    before = texts(project)
    plan = changed(project)
    made, after = texts(project), texts(PROJECT / "after" / "tauri")
    manifest = "src-tauri/Cargo.toml"  # from there the plugin has another relative path
    made[manifest], after[manifest] = (re.sub(r"path = .*", "", each[manifest]) for each in (made, after))
    different = {name for name in {*made, *after} if made.get(name) != after.get(name)}
    named = {name for name, _ in places(plan)}
    script = "start-dev-server.js"
    assert any(note.startswith(f"{script}: delete it") for note in plan.notes)
    assert different == named | {script}
    assert script not in after
    assert set(made["package.json"].splitlines()) - set(after["package.json"].splitlines()) == {
        f'    "dev:tauri": "node {script}",'
    }
    for name, line in places(plan):
        assert before[name].splitlines()[line - 1] not in after[name].splitlines(), (name, line)


def test_every_place_that_reads_the_port_or_ends_node_by_name_is_named(project: Path) -> None:
    notes = "\n".join(changed(project).notes).replace("\\", "/")
    source = (project / "src-tauri" / "src" / "lib.rs").read_text().splitlines()
    kill = next(at for at, line in enumerate(source, 1) if "taskkill" in line)
    port = next(at for at, line in enumerate(source, 1) if "const PORT_FILE" in line)
    use = next(at for at, line in enumerate(source, 1) if "join(PORT_FILE)" in line)
    for line in (port, use):
        told = f"src-tauri/src/lib.rs:{line}: nothing writes .vite-port any more. The page's address is app.sidecar()"
        assert told in notes
    compiled = (PROJECT / "after" / "tauri" / "src-tauri" / "src" / "lib.rs").read_text()
    assert obsolete.RUST.partition(",")[0] in compiled, "what init says is what the built app has"
    assert f"src-tauri/src/lib.rs:{kill}: remove taskkill: it ends every program of that name" in notes
    assert "vite.config.js:5: nothing writes .vite-port any more. Remove it" in notes
    assert ".gitignore:3: nothing writes .vite-port" in notes


def test_a_second_run_finds_nothing_to_do(project: Path) -> None:
    changed(project)
    assert make_plan(project, CRATE).edits == []
    assert make_plan(PROJECT / "after" / "tauri", CRATE).edits[1:] == []  # the binary is not in git


def test_a_script_that_does_more_leaves_it_untouched(project: Path) -> None:
    from sidecar.commands.init.found import NotUnderstoodError

    script = project / "start-dev-server.js"
    script.write_text(script.read_text().replace("main();\n", 'spawn("node", ["api.js"]);\nmain();\n'))
    before = texts(project)
    with pytest.raises(NotUnderstoodError) as caught:
        changed(project)
    assert "start-dev-server.js does more than start Vite: it starts 'node api.js'" in "\n".join(caught.value.reasons)
    assert texts(project) == before


def test_only_some_places_are_named_and_none_in_generated_files(project: Path) -> None:
    (project / "src" / "many.js").write_text('read(".vite-port");\n' * (obsolete.LINES_MOST + 5))
    (project / "src" / "long.js").write_text('read(".vite-port");\n' * 10_000)
    (project / "dist").mkdir()
    (project / "dist" / "made.js").write_text('read(".vite-port");\n')
    notes = changed(project).notes
    named = [note for note in notes if PLACE.match(note)]
    assert len(named) == obsolete.LINES_MOST
    assert not any("long.js" in note or "made.js" in note for note in named)
    assert any("more such places" in note for note in notes)


def test_a_script_that_tells_no_port_leaves_no_place_to_edit(project: Path) -> None:
    (project / "start-dev-server.js").write_text('require("child_process").spawn("npx", ["vite"]);\n')
    source = project / "src-tauri" / "src" / "lib.rs"
    source.write_text(source.read_text().replace("taskkill", "other"))
    plan = changed(project)
    assert places(plan) == [("package.json", 7)]
    assert any("start-dev-server.js: delete it" in note for note in plan.notes)


def test_what_the_file_says_is_no_other_name_for_it(project: Path) -> None:
    """Names such as ``port`` occur in too many lines, so only the script's file name is searched for."""
    source = project / "src-tauri" / "src" / "lib.rs"
    text = source.read_text().replace("fs::read_to_string(file)", 'fs::read_to_string("../.vite-port")')
    source.write_text(text)
    line = next(at for at, each in enumerate(text.splitlines(), 1) if "../.vite-port" in each)
    named = {at for name, at in places(changed(project)) if name == "src-tauri/src/lib.rs"}
    assert line in named
    assert line + 1 not in named


def test_a_file_for_dotenv_becomes_a_variable(project: Path) -> None:
    script = project / "start-dev-server.js"
    text = script.read_text().replace('".vite-port"', '".env.local"').replace("String(port)", "`VITE_PORT=${port}\\n`")
    script.write_text(text)
    (project / ".gitignore").write_text(".env.local\n")
    plan = changed(project)
    config = (project / "src-tauri" / "tauri.conf.json").read_text()
    assert '"VITE_PORT": "{port}"' in config
    assert not any(note.startswith(".gitignore") for note in plan.notes)


def test_a_file_for_dotenv_with_more_in_it_leaves_it_untouched(project: Path) -> None:
    from sidecar.commands.init.found import NotUnderstoodError

    script = project / "start-dev-server.js"
    text = script.read_text().replace('".vite-port"', '".env.local"').replace("String(port)", "`KEY=${port}\\n`")
    script.write_text(text.replace("PORT_FILE", "TARGET"))
    with pytest.raises(NotUnderstoodError, match=r"it writes '\.env\.local'"):
        changed(project)


def test_readers_of_the_port_file_outside_vite_are_told_of_the_address(project: Path) -> None:
    (project / "open.sh").write_text("\nxdg-open http://localhost:$(cat .vite-port)\n")
    notes = changed(project).notes
    assert "open.sh:2: nothing writes .vite-port any more. 'sidecar ps' shows the page's address" in notes
