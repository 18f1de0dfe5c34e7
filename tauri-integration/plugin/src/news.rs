//! What is known of the services, and the callers that wait for it to change.

use std::{
    future,
    sync::{Condvar, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

use crate::{client::lock, view::View};

pub(crate) struct News {
    view: Mutex<View>,
    changed: Condvar,
    /// Each is woken once.
    wakers: Mutex<Vec<Waker>>,
}

impl News {
    pub fn new(view: View) -> Self {
        Self {
            view: Mutex::new(view),
            changed: Condvar::new(),
            wakers: Mutex::default(),
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
        lock(&self.wakers).drain(..).for_each(Waker::wake);
    }

    /// Waits until something happens, at most so long.
    pub fn wait(&self, bound: Duration) {
        // a waiter looks again by itself, so that it does not matter what woke it
        drop(self.changed.wait_timeout(lock(&self.view), bound));
    }

    /// Waits until `done` has something to say. It may look at what is known.
    pub async fn until<T>(&self, mut done: impl FnMut() -> Option<T>) -> T {
        future::poll_fn(|context| {
            lock(&self.wakers).push(context.waker().clone()); // first, so that no change is missed
            done().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}
