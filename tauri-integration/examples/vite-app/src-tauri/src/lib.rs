//! The Vite example as a Tauri app.

use std::env;

/// Greets from Rust.
#[tauri::command]
fn greet(name: &str) -> String {
    format!("Hello, {name}! Rust says so, process {}.", std::process::id())
}

/// Runs the app. Both ways to start are here to be tried; an app of your own has one of them.
pub fn run() {
    let mut context = tauri::generate_context!();
    let sidecar = match env::var("SIDECAR_EXAMPLE_START").as_deref() {
        Ok("setup") => tauri_plugin_sidecar::init(),
        _ => tauri_plugin_sidecar::launch(&mut context),
    };
    tauri::Builder::default()
        .plugin(sidecar)
        .invoke_handler(tauri::generate_handler![greet])
        .run(context)
        .expect("the app could not be run");
}
