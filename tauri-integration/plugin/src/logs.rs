//! The pages that get the services' output. It is no event of Tauri: every page with `core:event:default` gets those.

use std::sync::Mutex;

use tauri::ipc::Channel;

use crate::models::Log;

#[derive(Default)]
pub(crate) struct Followers(Mutex<Vec<(String, Channel<Log>)>>);

impl Followers {
    pub fn add(&self, webview: &str, channel: Channel<Log>) {
        self.lock().push((webview.into(), channel));
    }

    pub fn remove(&self, webview: &str, channel: u32) {
        self.lock()
            .retain(|(label, known)| label != webview || known.id() != channel);
    }

    /// Drops the channels of a webview that loads another page: they lead nowhere.
    pub fn forget(&self, webview: &str) {
        self.lock().retain(|(label, _)| label != webview);
    }

    #[cfg(desktop)]
    pub fn send(&self, log: &Log) {
        // without the lock: with Tauri's feature `tracing`, to send or drop a channel waits for the main thread, which
        // may wait for the lock
        let followers = self.lock().clone();
        let sent = followers
            .iter()
            .map(|(_, channel)| channel.send(log.clone()).is_ok())
            .collect::<Vec<_>>();
        let failed = followers.iter().zip(sent).filter(|(_, sent)| !sent);
        // one whose webview has been closed does not come back
        for ((webview, channel), _) in failed {
            self.remove(webview, channel.id());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Channel<Log>)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(all(test, desktop))]
mod tests {
    use std::{
        sync::{mpsc, Arc},
        thread,
        time::Duration,
    };

    use serde_json::json;

    use super::*;

    /// For what must happen: far more than it takes on a busy machine.
    const BOUND: Duration = Duration::from_secs(60);

    fn log() -> Log {
        serde_json::from_value(json!({"service": "web", "stream": "stdout", "lines": ["a line"]})).unwrap()
    }

    #[test]
    fn a_channel_that_waits_for_another_follower_gets_its_output() {
        let followers = Arc::new(Followers::default());
        let (sender, sent) = mpsc::channel();
        // as the main thread does, for which a channel may wait
        let (weak, told) = (Arc::downgrade(&followers), sender.clone());
        let channel = Channel::new(move |_| {
            weak.upgrade().unwrap().forget("another");
            told.send("a line").unwrap();
            Ok(())
        });
        followers.add("main", channel);
        thread::spawn(move || {
            followers.send(&log());
            sender.send("the end").unwrap();
        });
        assert_eq!(sent.recv_timeout(BOUND), Ok("a line"));
        assert_eq!(sent.recv_timeout(BOUND), Ok("the end"));
    }

    #[test]
    fn a_follower_that_cannot_be_told_is_dropped_alone() {
        let followers = Followers::default();
        let (sender, sent) = mpsc::channel();
        followers.add("closed", Channel::new(|_| Err(tauri::Error::WebviewNotFound)));
        followers.add(
            "main",
            Channel::new(move |_| {
                sender.send(()).unwrap();
                Ok(())
            }),
        );
        for _ in 0..2 {
            followers.send(&log());
        }
        assert_eq!(sent.try_iter().count(), 2);
        let left: Vec<_> = followers.lock().iter().map(|(webview, _)| webview.clone()).collect();
        assert_eq!(left, ["main"]);
    }
}
