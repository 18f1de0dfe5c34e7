const COMMANDS: &[&str] = &[
    "start",
    "stop",
    "restart",
    "status",
    "logs",
    "follow_logs",
    "unfollow_logs",
    "url",
    "when_ready",
    "token",
    "retry",
    "page_state",
];

fn main() {
    tauri_plugin::Builder::new(COMMANDS)
        .global_api_script_path("./api-iife.js")
        .build();
}
