//! A program with a console, which treats the console's events as the plugin does: tests/wine/test_plugin_ends.py.
//!
//! Its arguments say what it does first: `watch`, and `refuse` for a handler of its own that lets it live on. It ends
//! when that handler has refused two events: the system reports the second one after it is done with the first. It
//! reads nothing, because Wine's console loses a line that is typed just when Ctrl-C aborts a read.

#[path = "../../../../tauri-integration/plugin/src/console.rs"]
mod console;

use std::{
    env,
    sync::{Condvar, Mutex},
};

use windows_sys::{core::BOOL, Win32::System::Console::SetConsoleCtrlHandler};

static REFUSALS: Mutex<u32> = Mutex::new(0);
static REFUSED: Condvar = Condvar::new();

unsafe extern "system" fn refuse(_event: u32) -> BOOL {
    let mut refusals = REFUSALS.lock().expect("no thread panics");
    *refusals += 1;
    println!("refused {refusals}");
    REFUSED.notify_all();
    1
}

fn main() {
    for word in env::args().skip(1) {
        match word.as_str() {
            "watch" => console::watch(|| println!("grace")).expect("Windows takes a handler"),
            // SAFETY: the handler is a function.
            "refuse" => assert_ne!(unsafe { SetConsoleCtrlHandler(Some(refuse), 1) }, 0),
            other => panic!("{other} is none of its words"),
        }
    }
    println!("up");
    let refusals = REFUSALS.lock().expect("no thread panics");
    drop(REFUSED.wait_while(refusals, |it| *it < 2).expect("no thread panics"));
    println!("lived on");
}
