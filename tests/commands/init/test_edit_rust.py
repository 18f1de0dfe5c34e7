from __future__ import annotations

import shutil
import subprocess

import pytest

from sidecar.commands.init.edit.rust import RustShapeError, add_plugin, tokenize
from tests.commands.init.support import MAIN

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
                ".plugin(tauri_plugin_sidecar::init(&mut context))",
                ".run(context)",
            ],
        ),
        (
            "builder",
            [
                "let mut context = tauri::generate_context!();",
                ".plugin(tauri_plugin_sidecar::init(&mut context))",
                ".run(context)",
            ],
        ),
        (
            "bound",
            [
                "let mut context = tauri::generate_context!();",
                ".plugin(tauri_plugin_sidecar::init(&mut context))",
            ],
        ),
        (
            "built",
            [
                "let mut context = generate_context!();",
                ".plugin(tauri_plugin_sidecar::init(&mut context))",
                ".build(context)",
            ],
        ),
        (
            "taken",
            [
                "let mut tauri_context = tauri::generate_context!();",
                ".plugin(tauri_plugin_sidecar::init(&mut tauri_context))",
                ".run(tauri_context)",
            ],
        ),
    ],
)
def test_the_context_gets_a_name_and_the_plugin_borrows_it(shape: str, lines: list[str]) -> None:
    before = SHAPES[shape]
    assert added(before, add_plugin(before)) == lines


@pytest.mark.parametrize("shape", SHAPES)
def test_a_second_time_there_is_nothing_to_do(shape: str) -> None:
    after = add_plugin(SHAPES[shape])
    assert add_plugin(after) == after


@pytest.mark.parametrize("shape", SHAPES)
def test_lines_end_as_the_file_s_do(shape: str) -> None:
    before = SHAPES[shape]
    assert add_plugin(before.replace("\n", "\r\n")) == add_plugin(before).replace("\n", "\r\n")


@pytest.mark.skipif(shutil.which("rustfmt") is None, reason="there is no rustfmt on PATH")
@pytest.mark.parametrize("shape", SHAPES)
def test_rustfmt_has_nothing_to_say(shape: str) -> None:
    assert_formatted(add_plugin(SHAPES[shape]))


def assert_formatted(source: str) -> None:
    words = ["rustfmt", "--check", "--edition=2021"]
    done = subprocess.run(words, input=source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("fn main() {}", "is called 0 times instead of once"),
        (f"{MAIN}{MAIN}", "is called 2 times instead of once"),
        ("fn main() {\n  tauri::Builder::default().run(tauri::generate_context!());\n}", "on one line"),
        ("fn main() { tauri::Builder::default()\n  .run(tauri::generate_context!());\n}", "on one line"),
        ("fn main() {\n  start(tauri::Builder::default()\n  .run(tauri::generate_context!()));\n}", "inside another"),
        ("fn main() {\n  match 1 {\n  _ =>\n  b\n  .run(tauri::generate_context!()),\n  }\n}", "inside another"),
        ("fn main() {\n  let run = ||\n  b\n  .run(tauri::generate_context!());\n}", "inside another"),
        ("fn main() {\n  start(tauri::generate_context!());\n}", "neither inside .run(…) nor in a plain let"),
        ("fn main() {\n  let c: C = tauri::generate_context!();\n  b\n  .run(c);\n}", "nor in a plain let"),
        ("fn main() {\n  let c = tauri::generate_context!();\n  start(c);\n}", ".run(c) is called 0 times"),
        ("/* /* */ fn main() {}", "a comment is never closed"),
    ],
)
def test_any_other_shape_is_refused_with_its_reason(source: str, reason: str) -> None:
    with pytest.raises(RustShapeError) as caught:
        add_plugin(source)
    assert reason in str(caught.value)


@pytest.mark.parametrize("text", ['r#"never', 'r"', 'br##"x"#', '"never', '"\\" still', 'b"x'])
def test_a_text_that_is_never_closed_is_refused(text: str) -> None:
    """Searching for its end anew at every quote after it would take quadratic time."""
    with pytest.raises(RustShapeError, match="a string is never closed"):
        tokenize(f"fn main() {{}}\n{text}")


def test_raw_texts_are_one_token_with_all_their_hashes() -> None:
    code = """r#"a "quoted" text"# r"x\\" br##"y"#"## c"z" b'\\'' '\\u{1F600}' 'life r#type"""
    assert [it.text for it in tokenize(code)] == [
        *('r#"a "quoted" text"#', 'r"x\\"', 'br##"y"#"##', 'c"z"', "b'\\''", "'\\u{1F600}'", "'life", "r#type"),
    ]


@pytest.mark.parametrize("text", ['r#"' * 300_000, "'\\u{" * 200_000, "/* " * 300_000])
def test_code_that_never_closes_is_read_in_a_moment(text: str) -> None:
    """A test that hangs is ended by pytest's timeout."""
    try:
        tokenize(text)
    except RustShapeError as error:
        assert "never closed" in str(error)  # noqa: PT017  some of them are code
