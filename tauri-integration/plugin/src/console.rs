//! The events of a console of Windows. An app has a console in `tauri dev`; a released one has none.
//!
//! Windows runs the handlers on a thread of its own, the last one that was added first, until one returns TRUE. If none
//! does, it ends the process. The end of a session is not told here: Windows tells it by a message to a program that
//! has windows, and Tauri makes `RunEvent::Exit` of that message.
//!
//! Nothing but `windows-sys` is used, so that a small program can try it under Wine (`tests/wine/console`).

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use windows_sys::{
    core::BOOL,
    Win32::{
        Foundation::FALSE,
        System::Console::{SetConsoleCtrlHandler, CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT, CTRL_C_EVENT},
    },
};

type Grace = Arc<dyn Fn() + Send + Sync>;

/// What to call before the process ends: one for each app in it. It is emptied by the first event.
static GRACES: Mutex<Vec<Grace>> = Mutex::new(Vec::new());

/// Calls `grace` at Ctrl-C, at Ctrl-Break and when the console is closed. Then the event does what it would have done.
///
/// Windows tells the next event only when `grace` has returned. After the closing of the console it waits for five
/// seconds at most. A handler that was added later and returns TRUE keeps the event from us, and so does the
/// attribute by which a process ignores Ctrl-C.
///
/// Fails if Windows takes no handler.
pub(crate) fn watch(grace: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    let mut graces = GRACES.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the handler is a function, which is there as long as the process.
    if graces.is_empty() && unsafe { SetConsoleCtrlHandler(Some(on_event), 1) } == FALSE {
        return Err(io::Error::last_os_error());
    }
    graces.push(Arc::new(grace));
    Ok(())
}

unsafe extern "system" fn on_event(event: u32) -> BOOL {
    if matches!(event, CTRL_C_EVENT | CTRL_BREAK_EVENT | CTRL_CLOSE_EVENT) {
        let graces = std::mem::take(&mut *GRACES.lock().unwrap_or_else(PoisonError::into_inner));
        for grace in graces {
            grace();
        }
    }
    FALSE
}
