//! The example with a Python backend: all that it needs of Rust is the plugin.

/// Runs the app.
pub fn run() {
    let mut context = tauri::generate_context!();
    tauri::Builder::default()
        .plugin(tauri_plugin_sidecar::init(&mut context))
        .run(context)
        .expect("the app could not be run");
}
