//! What the plugin hooks into of the process, and that an app can forbid it: a process of its own, and one test.

#![cfg(unix)]

use std::{env, mem::MaybeUninit, panic, path::Path, ptr};

use serde_json::json;
use tauri::{
    test::{mock_builder, mock_context, noop_assets, MockRuntime},
    App, Context,
};
use tauri_plugin_sidecar::{Builder, SidecarExt};

fn app(builder: impl FnOnce(Builder) -> Builder) -> App<MockRuntime> {
    let mut context: Context<MockRuntime> = mock_context(noop_assets());
    let section = json!({"services": {"worker": {"type": "command", "command": ["sleep", "1000"]}}});
    context.config_mut().plugins.0.insert("sidecar".into(), section);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = env::var("SIDECAR_PYTHON").unwrap_or_else(|_| "python3".into());
    let usual = Builder::new().program([&python, "-m", "sidecar"]).folder(root);
    let plugin = builder(usual).build(&mut context);
    mock_builder().plugin(plugin).build(context).unwrap()
}

/// What the process does at SIGINT and SIGTERM. A shell that starts the tests in the background has them ignore SIGINT.
fn handlers() -> [libc::sighandler_t; 2] {
    [libc::SIGINT, libc::SIGTERM].map(|signal| {
        let mut now = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: with a null pointer it only asks, and it answers into memory of ours.
        unsafe {
            assert_eq!(libc::sigaction(signal, ptr::null(), now.as_mut_ptr()), 0);
            now.assume_init().sa_sigaction
        }
    })
}

/// Panics while the app is still being set up; whether it ended the services.
fn panic_ends(app: &App<MockRuntime>) -> bool {
    panic::catch_unwind(|| panic!("for the test")).unwrap_err();
    match app.sidecar().status_blocking() {
        Ok(_) => false,
        Err(error) => error.kind() == "SidecarGone",
    }
}

#[test]
fn an_app_may_look_after_signals_and_panics_itself() {
    env::set_var("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    env::set_var("SIDECAR_STATE_DIR", env!("CARGO_TARGET_TMPDIR"));

    let before = handlers();
    let left_alone = app(|builder| builder.handle_signals(false).handle_panics(false));
    assert_eq!(handlers(), before);
    assert!(!panic_ends(&left_alone));
    left_alone.sidecar().shutdown();

    let usual = app(|builder| builder);
    assert_ne!(handlers(), before);
    assert!(panic_ends(&usual));
}
