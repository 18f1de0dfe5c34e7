use std::fs;

fn main() {
    tauri_sidecar_build::place_binary();
    // What a fresh clone has not made yet, and Tauri wants to be there: the built page, and the frozen backend.
    for folder in ["../dist", "notes-backend"] {
        fs::create_dir_all(folder).expect("the folder cannot be made");
    }
    tauri_build::build();
}
