//! What is known of the services, and the callers that wait for it to change.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

use tokio::sync::watch;

use crate::{client::lock, view::View};

pub(crate) struct News {
    view: Mutex<View>,
    /// For threads that wait.
    changed: Condvar,
    /// For tasks that wait.
    told: watch::Sender<()>,
}

impl News {
    pub fn new(view: View) -> Self {
        Self {
            view: Mutex::new(view),
            changed: Condvar::new(),
            told: watch::Sender::new(()),
        }
    }

    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&lock(&self.view))
    }

    pub fn change(&self, change: impl FnOnce(&mut View)) {
        change(&mut lock(&self.view));
        self.wake();
    }

    /// Has all that wait look again.
    pub fn wake(&self) {
        self.changed.notify_all();
        self.told.send_replace(());
    }

    /// Waits until something happens, at most so long.
    pub fn wait(&self, bound: Duration) {
        // a waiter looks again by itself, so that it does not matter what woke it
        drop(self.changed.wait_timeout(lock(&self.view), bound));
    }

    /// Waits until `done` has something to say. It may look at what is known.
    pub async fn until<T>(&self, mut done: impl FnMut() -> Option<T>) -> T {
        let mut changes = self.told.subscribe(); // first, so that no change is missed
        loop {
            if let Some(said) = done() {
                return said;
            }
            let _ = changes.changed().await; // it fails only without a sender, and we have it
        }
    }
}
