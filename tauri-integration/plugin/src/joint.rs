//! One answer for all that ask at the same time: a page opens six connections at once, and it takes the sidecar
//! milliseconds to find out what listens.
//!
//! An answer has to be newer than its question. So a caller that asks during a look waits for the end of that look, and
//! for the next one's answer, which serves all callers that came before it began.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::client::lock;

#[derive(Default)]
pub(crate) struct Joint<T>(Mutex<Looks<T>>, Condvar);

/// Looks are numbered from 1.
#[derive(Default)]
struct Looks<T> {
    /// The last look that began.
    begun: u64,
    /// The last look that ended, and what it saw.
    ended: (u64, T),
    /// How many callers wait: for tests.
    waiting: usize,
}

/// A look that has begun. It ends when this is dropped, also by a panic: then it has seen nothing.
struct Look<'a, T: Copy> {
    joint: &'a Joint<T>,
    number: u64,
    seen: T,
}

impl<T: Copy> Drop for Look<'_, T> {
    fn drop(&mut self) {
        lock(&self.joint.0).ended = (self.number, self.seen);
        self.joint.1.notify_all();
    }
}

impl<T: Copy + Default> Joint<T> {
    /// What `look` sees, of this caller or of another one.
    pub fn look(&self, look: impl FnOnce() -> T) -> T {
        let mut looks = lock(&self.0);
        let ours = looks.begun + 1;
        looks.waiting += 1;
        let mut looks = self
            .1
            .wait_while(looks, |looks| looks.ended.0 < ours && looks.begun > looks.ended.0)
            .unwrap_or_else(PoisonError::into_inner);
        looks.waiting -= 1;
        if looks.ended.0 >= ours {
            return looks.ended.1;
        }
        looks.begun += 1;
        let mut begun = Look {
            joint: self,
            number: looks.begun,
            seen: T::default(),
        };
        drop(looks);
        begun.seen = look();
        begun.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc::{channel, Receiver},
            Arc,
        },
        thread,
        time::Duration,
    };

    /// A look that has begun, and ends once it is told what it sees.
    fn begun(joint: &Arc<Joint<bool>>) -> (impl Fn(bool), Receiver<bool>) {
        let ((begin, has_begun), (tell, told), (give, given)) = (channel(), channel(), channel());
        let joint = joint.clone();
        thread::spawn(move || {
            let seen = joint.look(|| {
                begin.send(()).unwrap();
                told.recv().unwrap()
            });
            give.send(seen).unwrap();
        });
        has_begun.recv().unwrap();
        (move |seen| tell.send(seen).unwrap(), given)
    }

    #[test]
    fn callers_that_come_during_a_look_share_the_answer_of_the_next() {
        const CALLERS: usize = 8;
        let joint = Arc::new(Joint::default());
        let (end, first) = begun(&joint);
        let looks = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (joint, looks) = (joint.clone(), looks.clone());
                thread::spawn(move || {
                    joint.look(|| {
                        looks.fetch_add(1, Ordering::SeqCst);
                        false
                    })
                })
            })
            .collect();
        while lock(&joint.0).waiting < CALLERS {
            thread::yield_now();
        }
        end(true);
        assert!(first.recv().unwrap());
        assert!(
            callers.into_iter().all(|caller| !caller.join().unwrap()),
            "an answer was too old"
        );
        assert_eq!(looks.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_caller_that_comes_afterwards_looks_anew() {
        let joint = Joint::default();
        assert!(joint.look(|| true));
        assert!(!joint.look(|| false));
    }

    #[test]
    fn a_look_that_panics_does_not_hold_up_the_next() {
        let joint = Arc::new(Joint::default());
        let panicking = joint.clone();
        assert!(thread::spawn(move || panicking.look(|| panic!("on purpose")))
            .join()
            .is_err());
        let (give, given) = channel();
        thread::spawn(move || give.send(joint.look(|| true)));
        assert_eq!(given.recv_timeout(Duration::from_secs(60)), Ok(true));
    }
}
