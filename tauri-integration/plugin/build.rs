const COMMANDS: &[&str] = &["start", "stop", "restart", "status", "logs", "url"];

fn main() {
    tauri_plugin::Builder::new(COMMANDS).build();
}
