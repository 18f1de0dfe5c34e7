//! The ends of the app that come without `RunEvent::Exit`. The services get their grace there, too.
//!
//! | end | what tells it |
//! |---|---|
//! | the last window is closed; Task Manager's "End task", which closes the window; `app.exit()` | `RunEvent::Exit` |
//! | ⌘Q, the Dock's Quit, a log-off of macOS: all of them are AppKit's `terminate:` | `RunEvent::Exit` |
//! | a log-off or shutdown of Windows, an installer that closes the app (WM_ENDSESSION) | `RunEvent::Exit` |
//! | `app.restart()` on the main thread | [`ShutdownGuard`] |
//! | a panic in setup | [`watch_panics`] |
//! | SIGHUP, SIGINT, SIGTERM: a terminal is closed, Ctrl-C in `tauri dev`, launchd, systemd | [`watch_signals`] |
//! | Ctrl-C or Ctrl-Break in `tauri dev` on Windows, or its console is closed | [`watch_signals`] |
//! | SIGKILL, TerminateProcess, a crash, the app's end by `tauri dev` at each build | the sidecar, by itself |
//!
//! The rows with `RunEvent::Exit` are Tauri's: tao makes it in `applicationWillTerminate` and at WM_ENDSESSION (since
//! 0.34.3, and Tauri 2.11 has 0.35).

use std::{
    panic,
    sync::{mpsc, Arc},
    thread,
};

use tauri::Resource;

use crate::core::{Core, SHUTDOWN_PATIENCE};

/// Tauri lets go of its resources before it ends or restarts the app by its own hand. `app.restart()` on the main
/// thread says nothing else to a plugin, and starts the next process right after: this one's ports are free by then.
pub(crate) struct ShutdownGuard(pub Arc<Core>);

impl Resource for ShutdownGuard {}

impl Drop for ShutdownGuard {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Gives the services their grace when the app's setup panics, which Tauri tells no plugin. To be called by the thread
/// that sets up. Once the app runs, a panic is its own matter: it may be caught.
pub(crate) fn watch_panics(core: &Arc<Core>) {
    let (core, setup) = (Arc::downgrade(core), thread::current().id());
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |it| {
        before(it);
        let core = core.upgrade().filter(|core| !core.runs());
        if let Some(core) = core.filter(|_| thread::current().id() == setup) {
            // in a thread of its own: this one may hold a lock, and then the panic is the end after all
            let (done, wait) = mpsc::channel();
            thread::spawn(move || {
                core.shutdown();
                done.send(())
            });
            if wait.recv_timeout(SHUTDOWN_PATIENCE).is_err() {
                log::warn!("sidecar: the services got no grace");
            }
        }
    }));
}

/// Gives the services their grace when the app is asked to end by SIGHUP, SIGINT or SIGTERM, then lets the signal do
/// what it would have done. A second one does not wait. A signal that the app handles already, or was started to
/// ignore, is left alone.
#[cfg(unix)]
pub(crate) fn watch_signals(core: &Arc<Core>) {
    use std::sync::atomic::{AtomicBool, Ordering};

    use signal_hook::{
        consts::{SIGHUP, SIGINT, SIGTERM},
        flag,
        iterator::Signals,
        low_level,
    };

    let watch = |core: &Arc<Core>| {
        let ours = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|&it| is_default(it));
        let ours: Vec<_> = ours.collect();
        let second = Arc::new(AtomicBool::new(false));
        for &signal in &ours {
            flag::register_conditional_default(signal, second.clone())?;
        }
        let mut signals = Signals::new(&ours)?;
        let core = Arc::downgrade(core);
        thread::spawn(move || {
            for signal in signals.forever() {
                second.store(true, Ordering::SeqCst);
                if let Some(core) = core.upgrade() {
                    core.shutdown();
                }
                if let Err(error) = low_level::emulate_default_handler(signal) {
                    log::error!("sidecar: signal {signal} could not be let through: {error}");
                }
            }
        });
        std::io::Result::Ok(())
    };
    if let Err(error) = watch(core) {
        log::warn!("sidecar: signals end the services without grace: {error}");
    }
}

/// As on other systems, by the events of the console, if the app has one. See [`console`](crate::console) for what
/// differs.
#[cfg(windows)]
pub(crate) fn watch_signals(core: &Arc<Core>) {
    let core = Arc::downgrade(core);
    let grace = move || {
        if let Some(core) = core.upgrade() {
            core.shutdown();
        }
    };
    if let Err(error) = crate::console::watch(grace) {
        log::warn!("sidecar: the console's events end the services without grace: {error}");
    }
}

#[cfg(unix)]
fn is_default(signal: libc::c_int) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with a null pointer it only asks, and it answers into memory of ours.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_DFL
    }
}
