//! The app's ends that come with no `RunEvent::Exit`: a signal, a restart on the main thread, a setup that panics. The
//! services get their grace there, too. Of a process that is killed nothing is heard: that is the sidecar's to notice.

use std::{
    panic,
    sync::{mpsc, Arc},
    thread,
};

use tauri::Resource;

use crate::core::{Core, SHUTDOWN_PATIENCE};

/// Tauri lets go of its resources before it ends or restarts the app by its own hand. `app.restart()` on the main
/// thread says nothing else to a plugin, and starts the next process right after: this one's ports are free by then.
pub(crate) struct LastWish(pub Arc<Core>);

impl Resource for LastWish {}

impl Drop for LastWish {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Gives the services their grace when the app's setup panics, of which Tauri tells nobody. For the thread that sets up.
/// Once the app runs, a panic is its own matter: it may be caught.
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

/// Gives the services their grace when the app is asked to end by SIGINT or SIGTERM, then lets the signal do what it
/// would have done. A second one does not wait. A signal that the app handles already, or that whoever started it has
/// told it to ignore, is left alone.
#[cfg(unix)]
pub(crate) fn watch_signals(core: &Arc<Core>) {
    use std::sync::atomic::{AtomicBool, Ordering};

    use signal_hook::{
        consts::{SIGINT, SIGTERM},
        flag,
        iterator::Signals,
        low_level,
    };

    let watch = |core: &Arc<Core>| {
        let ours: Vec<_> = [SIGINT, SIGTERM].into_iter().filter(|&it| is_default(it)).collect();
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

#[cfg(not(unix))]
pub(crate) fn watch_signals(_core: &Arc<Core>) {}

#[cfg(unix)]
fn is_default(signal: libc::c_int) -> bool {
    let mut now = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with a null pointer it only asks, and it answers into memory of ours.
    unsafe {
        libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_DFL
    }
}
