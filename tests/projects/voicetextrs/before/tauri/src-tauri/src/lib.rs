use std::{fs, path::Path, process::Command};

use tauri::{Manager, RunEvent};

/// start-dev-server.js writes the dev server's port there.
const PORT_FILE: &str = ".vite-port";

/// What was said, as it is written: without the pauses.
#[tauri::command]
fn clean(spoken: &str) -> String {
    spoken.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the page comes from.
#[tauri::command]
fn address() -> String {
    dev_url()
}

fn dev_url() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(PORT_FILE);
    let port = fs::read_to_string(file).unwrap_or_else(|_| "1420".into());
    format!("http://localhost:{}/", port.trim())
}

/// Vite is not our child: cmd, npm and npx are between us.
fn kill_dev_server() {
    if cfg!(windows) {
        let _ = Command::new("taskkill")
            .args(["/F", "/IM", "node.exe"])
            .status();
    }
}

pub fn run() {
    tauri::Builder::default()
        .invoke_handler(tauri::generate_handler![clean, address])
        .setup(|app| {
            if tauri::is_dev() {
                let window = app
                    .get_webview_window("main")
                    .expect("the window is in tauri.conf.json");
                window.navigate(dev_url().parse()?)?;
            }
            Ok(())
        })
        .build(tauri::generate_context!())
        .expect("the app could not be built")
        .run(|_, event| {
            if let RunEvent::Exit = event {
                kill_dev_server();
            }
        });
}
