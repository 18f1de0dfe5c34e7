//! The Vite example as a Tauri app.

use std::env;

use tauri::{AppHandle, Context, Runtime};

/// Greets from Rust.
#[tauri::command]
fn greet(name: &str) -> String {
    format!("Hello, {name}! Rust says so, process {}.", std::process::id())
}

/// Starts the app anew, as an updater does.
#[tauri::command]
fn relaunch<R: Runtime>(app: AppHandle<R>) {
    app.restart();
}

/// Runs the app.
pub fn run() {
    let mut context = tauri::generate_context!();
    adjust(&mut context);
    tauri::Builder::default()
        .plugin(tauri_plugin_sidecar::init(&mut context))
        .invoke_handler(tauri::generate_handler![greet, relaunch])
        .setup(|_| {
            assert!(env::var_os("SIDECAR_EXAMPLE_PANIC").is_none(), "a panic was asked for");
            Ok(())
        })
        .run(context)
        .expect("the app could not be run");
}

/// The configuration is data until the plugin and Tauri read it: another port than Vite's 5173, or other windows.
fn adjust<R: Runtime>(context: &mut Context<R>) {
    let config = context.config_mut();
    if let Ok(port) = env::var("SIDECAR_EXAMPLE_PORT") {
        let port: u16 = port.parse().expect("SIDECAR_EXAMPLE_PORT is no port");
        let section = config.plugins.0.get_mut("sidecar");
        section.expect("it is in tauri.conf.json")["services"]["web"]["port"] = serde_json::json!({"preferred": port});
    }
    if let Ok(windows) = env::var("SIDECAR_EXAMPLE_WINDOWS") {
        config.app.windows = serde_json::from_str(&windows).expect("SIDECAR_EXAMPLE_WINDOWS are no windows");
    }
}
