//! What the front asks of the core: whether a service answers, where, and whether it is really the service.

use std::{
    collections::HashMap,
    future::{self, Future},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use serde_json::json;

use crate::{
    client::lock,
    core::Core,
    front::{may_be_ours, Backend, Target},
    joint::Joint,
    models::{OriginCheck, OriginOwner, State},
};

/// The sidecar answers from what the system says now.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

/// One service, for its front.
pub(crate) struct Gate {
    core: Weak<Core>,
    service: String,
    /// For each address: all connections that wait to know what listens there.
    looks: Mutex<HashMap<SocketAddr, Arc<Joint<Option<bool>>>>>,
}

impl Gate {
    pub fn new(core: &Arc<Core>, service: String) -> Self {
        Self {
            core: Arc::downgrade(core),
            service,
            looks: Mutex::default(),
        }
    }

    /// Asks the sidecar. Waits for its answer.
    fn ask(&self, address: SocketAddr) -> Option<bool> {
        let client = self.core.upgrade()?.running()?;
        let params = json!({"origin": format!("http://{address}")});
        match client.request::<OriginCheck>("checkOrigin", params, CHECK_PATIENCE) {
            Ok(answer) => match answer.owner {
                OriginOwner::Service => Some(answer.service.is_none_or(|service| service == self.service)),
                // nothing can be said against it: it was found ready there
                OriginOwner::Unknown if may_be_ours(address) => Some(true),
                // another user can bring this about, and may listen there
                OriginOwner::Unknown => {
                    log::warn!("sidecar: it could not be found out which program listens at {address}");
                    None
                }
                OriginOwner::Foreign => Some(false),
                // it may be about to listen again
                OriginOwner::Nobody => None,
            },
            Err(error) => {
                log::warn!("sidecar: the program that listens at {address} could not be found out: {error}");
                None
            }
        }
    }
}

impl Backend for Gate {
    fn target(&self) -> Target {
        let Some(core) = self.core.upgrade() else {
            return Target::Down;
        };
        if core.way(&self.service).is_err() {
            return Target::Down;
        }
        core.news.look(|view| match view.services.get(&self.service) {
            // an unhealthy one may still answer
            Some(service) if matches!(service.state, State::Ready | State::Unhealthy) && !service.inner.is_empty() => {
                Target::Up(service.inner.clone())
            }
            _ => Target::Coming,
        })
    }

    fn until_not<'a>(&'a self, seen: &'a Target) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let core = self.core.upgrade();
        Box::pin(async move {
            match core {
                Some(core) => core.news.until(|| (self.target() != *seen).then_some(())).await,
                None => future::pending().await, // nothing changes any more
            }
        })
    }

    /// For the page to tell.
    fn judge(&self, robbed: bool) {
        if let Some(core) = self.core.upgrade() {
            core.set_robbed(&self.service, robbed);
        }
    }

    fn confirm(&self, address: SocketAddr) -> Option<bool> {
        let joint = {
            let mut looks = lock(&self.looks);
            looks.retain(|_, joint| Arc::strong_count(joint) > 1); // of an earlier start
            looks.entry(address).or_default().clone()
        };
        joint.look(|| self.ask(address))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::core::tests::core_that_answers;

    #[test]
    fn a_listener_of_an_unknown_owner_has_to_be_our_users() {
        let core = core_that_answers(&json!({"origin": "http://127.0.0.1:1", "owner": "unknown"}));
        core.client().unwrap();
        let gate = Gate::new(&core, "web".into());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(gate.ask(address), Some(true));
        drop(listener);
        // as where another user listens: our user has no listener there
        assert_eq!(gate.ask(address), None);
        core.shutdown();
    }
}
