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

/// Runs the app. Both ways to start are here to be tried; an app of your own has one of them.
pub fn run() {
    let mut context = tauri::generate_context!();
    prefer_port(&mut context);
    let sidecar = match env::var("SIDECAR_EXAMPLE_START").as_deref() {
        Ok("setup") => tauri_plugin_sidecar::init(),
        _ => tauri_plugin_sidecar::launch(&mut context),
    };
    tauri::Builder::default()
        .plugin(sidecar)
        .invoke_handler(tauri::generate_handler![greet, relaunch])
        .setup(|_| {
            assert!(env::var_os("SIDECAR_EXAMPLE_PANIC").is_none(), "a panic was asked for");
            Ok(())
        })
        .run(context)
        .expect("the app could not be run");
}

/// `plugins.sidecar` is data until the plugin reads it: here another port is preferred than Vite's 5173.
fn prefer_port<R: Runtime>(context: &mut Context<R>) {
    if let Ok(port) = env::var("SIDECAR_EXAMPLE_PORT") {
        let port: u16 = port.parse().expect("SIDECAR_EXAMPLE_PORT is no port");
        let section = context.config_mut().plugins.0.get_mut("sidecar");
        section.expect("it is in tauri.conf.json")["services"]["web"]["port"] = serde_json::json!({"preferred": port});
    }
}
