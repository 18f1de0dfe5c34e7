use std::{env, fs, path::Path};

fn main() {
    if let Some(missing) = placeholder() {
        println!("cargo:warning={missing} is a placeholder: `python3 build/dev.py freeze` makes the sidecar's binary");
    }
    // A command that is named here needs a permission; without this, every page of the app's own may call it.
    let manifest = tauri_build::AppManifest::new().commands(&["greet", "relaunch"]);
    tauri_build::try_build(tauri_build::Attributes::new().app_manifest(manifest)).expect("tauri-build failed");
}

/// `cargo check` has to work in a fresh clone: Tauri wants the binary and the built page to be there.
/// The plugin says what to do if the app is then run with an empty binary.
fn placeholder() -> Option<String> {
    fs::create_dir_all("../dist").expect("../dist cannot be made");
    let suffix = if env::var("CARGO_CFG_WINDOWS").is_ok() {
        ".exe"
    } else {
        ""
    };
    let target = env::var("TARGET").expect("cargo tells the target");
    let binary = format!("binaries/sidecar-{target}{suffix}");
    println!("cargo:rerun-if-changed={binary}");
    if !Path::new(&binary).exists() {
        fs::create_dir_all("binaries").expect("binaries/ cannot be made");
        fs::write(&binary, "").expect("the placeholder cannot be written");
    }
    fs::metadata(&binary)
        .is_ok_and(|found| found.len() == 0)
        .then_some(binary)
}
