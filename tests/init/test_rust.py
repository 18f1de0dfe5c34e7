from __future__ import annotations

import shutil
import subprocess

import pytest

from sidecar.init import rust
from sidecar.init.rust import RustShapeError, add_plugin, commands, declare_commands, mode_of
from tests.init.support import BUILD, MAIN

BUILDER = """\
/* a /* nested */ tauri::generate_context!() */
pub fn run() {
    let mut builder = tauri::Builder::default();
    #[cfg(desktop)]
    {
        builder = builder.plugin(single::init(|_, _, _| {}));
    }
    // it is "built { here
    builder
        .setup(|app| {
            let raw = r#"} "quoted" {"#;
            let brace: char = '{';
            let kept: &'static str = "}}";
            println!("{raw}{brace}{kept}");
            Ok(())
        })
        .run(tauri::generate_context!())
        .expect("it could not be run");
}
"""
BOUND = """\
fn main() {
    let context = tauri::generate_context!();
    println!("{}", context.package_info().name);
    tauri::Builder::default()
        .run(context)
        .expect("it could not be run");
}
"""
BUILT = """\
fn main() {
    let app = tauri::Builder::default()
        .build(generate_context!())
        .expect("it could not be built");
    app.run(|_, _| {});
}
"""
NAME_IS_TAKEN = """\
fn main() {
    let context = 1;
    tauri::Builder::default()
        .manage(context)
        .run(tauri::generate_context!())
        .expect("it could not be run");
}
"""
SHAPES = {"plain": MAIN, "builder": BUILDER, "bound": BOUND, "built": BUILT, "taken": NAME_IS_TAKEN}


def added(before: str, after: str) -> list[str]:
    old = before.splitlines()
    return [line.strip() for line in after.splitlines() if line not in old]


@pytest.mark.parametrize(
    ("shape", "lines"),
    [
        (
            "plain",
            [
                "let mut context = tauri::generate_context!();",
                ".plugin(tauri_plugin_sidecar::launch(&mut context))",
                ".run(context)",
            ],
        ),
        (
            "builder",
            [
                "let mut context = tauri::generate_context!();",
                ".plugin(tauri_plugin_sidecar::launch(&mut context))",
                ".run(context)",
            ],
        ),
        (
            "bound",
            [
                "let mut context = tauri::generate_context!();",
                ".plugin(tauri_plugin_sidecar::launch(&mut context))",
            ],
        ),
        (
            "built",
            [
                "let mut context = generate_context!();",
                ".plugin(tauri_plugin_sidecar::launch(&mut context))",
                ".build(context)",
            ],
        ),
        (
            "taken",
            [
                "let mut tauri_context = tauri::generate_context!();",
                ".plugin(tauri_plugin_sidecar::launch(&mut tauri_context))",
                ".run(tauri_context)",
            ],
        ),
    ],
)
def test_in_early_mode_the_context_gets_a_name_and_the_plugin_borrows_it(shape: str, lines: list[str]) -> None:
    before = SHAPES[shape]
    after = add_plugin(before, "early")
    assert added(before, after) == lines
    assert mode_of(after) == "early"


@pytest.mark.parametrize("shape", SHAPES)
def test_in_setup_mode_one_line_is_added(shape: str) -> None:
    before = SHAPES[shape]
    after = add_plugin(before, "setup")
    assert added(before, after) == [".plugin(tauri_plugin_sidecar::init())"]
    assert mode_of(after) == "setup"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["early", "setup"])
def test_a_second_time_there_is_nothing_to_do(shape: str, mode: rust.Mode) -> None:
    after = add_plugin(SHAPES[shape], mode)
    assert add_plugin(after, mode) == after


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["early", "setup"])
def test_lines_end_as_the_file_s_do(shape: str, mode: rust.Mode) -> None:
    before = SHAPES[shape]
    assert add_plugin(before.replace("\n", "\r\n"), mode) == add_plugin(before, mode).replace("\n", "\r\n")


@pytest.mark.skipif(shutil.which("rustfmt") is None, reason="there is no rustfmt on PATH")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["early", "setup"])
def test_rustfmt_has_nothing_to_say(shape: str, mode: rust.Mode) -> None:
    assert_formatted(add_plugin(SHAPES[shape], mode))


def assert_formatted(source: str) -> None:
    words = ["rustfmt", "--check", "--edition=2021"]
    done = subprocess.run(words, input=source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("fn main() {}", "is called 0 times, and not once"),
        (f"{MAIN}{MAIN}", "is called 2 times, and not once"),
        ("fn main() {\n  tauri::Builder::default().run(tauri::generate_context!());\n}", "on one line"),
        ("fn main() { tauri::Builder::default()\n  .run(tauri::generate_context!());\n}", "on one line"),
        ("fn main() {\n  start(tauri::Builder::default()\n  .run(tauri::generate_context!()));\n}", "inside another"),
        ("fn main() {\n  match 1 {\n  _ =>\n  b\n  .run(tauri::generate_context!()),\n  }\n}", "inside another"),
        ("fn main() {\n  let run = ||\n  b\n  .run(tauri::generate_context!());\n}", "inside another"),
        ("fn main() {\n  start(tauri::generate_context!());\n}", "neither .run(…) nor a plain let"),
        ("fn main() {\n  let c: C = tauri::generate_context!();\n  b\n  .run(c);\n}", "nor a plain let"),
        ("fn main() {\n  let c = tauri::generate_context!();\n  start(c);\n}", ".run(c) is there 0 times"),
        ("/* /* */ fn main() {}", "a comment is never closed"),
    ],
)
def test_any_other_shape_is_refused_with_its_reason(source: str, reason: str) -> None:
    with pytest.raises(RustShapeError) as caught:
        add_plugin(source, "early")
    assert reason in str(caught.value)


def test_commands_are_found_by_their_last_names() -> None:
    source = "x![tauri::generate_handler![say, app::files::open_file,]]; // generate_handler![not_this]"
    assert commands(source) == ["say", "open_file"]
    assert commands(MAIN) == ["say_hello"]
    assert commands("fn main() {}") == []


@pytest.mark.parametrize("inside", ["#[cfg(desktop)] say", "say::<R>", "say"])
def test_commands_that_are_more_than_names_are_refused(inside: str) -> None:
    source = f"generate_handler![{inside}" + ("" if inside == "say" else "]")
    with pytest.raises(RustShapeError):
        commands(source)


LISTS = [["greet"], ["a_rather_long_name_of_it", "another_long_name_here", "third"], [f"abc{n}" for n in range(30)]]


@pytest.mark.skipif(shutil.which("rustfmt") is None, reason="there is no rustfmt on PATH")
@pytest.mark.parametrize("names", LISTS)
def test_a_build_script_declares_them_as_rustfmt_would(names: list[str]) -> None:
    after = declare_commands(BUILD, names)
    assert_formatted(after)
    assert all(f'"{name}"' in after for name in names)
    assert declare_commands(after, names) == after


def test_a_call_with_a_semicolon_is_replaced_as_a_whole() -> None:
    assert declare_commands(BUILD.replace("build()", "build();"), ["a"]) == declare_commands(BUILD, ["a"])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("fn main() {\n    tauri_build::build();\n    tauri_build::build()\n}", "more than a call"),
        ("fn main() {\n    other()\n}", "more than a call"),
        ("fn main() { tauri_build::build() }", "more than a call"),
        ('fn main() {\n    x(AppManifest::new().commands(&["b"]))\n}', "but not a"),
    ],
)
def test_another_build_script_is_refused(script: str, reason: str) -> None:
    with pytest.raises(RustShapeError) as caught:
        declare_commands(script, ["a"])
    assert reason in str(caught.value)
