use tauri::AppHandle;
use tauri_plugin_sidecar::SidecarExt;

/// What was said, as it is written: without the pauses.
#[tauri::command]
fn clean(spoken: &str) -> String {
    spoken.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the page comes from.
#[tauri::command]
fn address(app: AppHandle) -> Option<String> {
    app.sidecar().service("web").url().map(String::from)
}

pub fn run() {
    let mut context = tauri::generate_context!();
    tauri::Builder::default()
        .invoke_handler(tauri::generate_handler![clean, address])
        .plugin(tauri_plugin_sidecar::init(&mut context))
        .run(context)
        .expect("the app could not be run");
}
