//! What the API and the fronts ask of the core.

use std::{
    sync::{atomic::Ordering, Arc},
    thread,
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::{json, Value};
use tauri::Url;

use super::Core;
use crate::{
    error::{Error, Result},
    models::{OriginCheck, OriginOwner, ServiceStatus, State},
    outward,
    view::View,
};

/// Between two looks of a thread that waits for a service: it is woken anyway.
const LOOK: Duration = Duration::from_millis(500);

/// A retry that is under way.
struct Retry(Arc<Core>);

impl Drop for Retry {
    fn drop(&mut self) {
        self.0.retrying.store(false, Ordering::SeqCst);
    }
}

impl Core {
    /// Asks the sidecar, which is started if none runs.
    pub fn ask<T: DeserializeOwned>(
        self: &Arc<Self>,
        method: &'static str,
        params: Value,
        bound: Duration,
    ) -> Result<T> {
        self.client()?.request(method, params, bound)
    }

    /// Finds out what listens at an origin. At one of ours it is the service: we hold it.
    pub fn check_origin(&self, origin: &str, bound: Duration) -> Result<OriginCheck> {
        let own = |url: &&Url| url.origin().ascii_serialization() == origin;
        if let Some((service, _)) = self.urls.iter().find(|(_, url)| own(url)) {
            return Ok(OriginCheck {
                origin: origin.into(),
                owner: OriginOwner::Service,
                service: Some(service.clone()),
            });
        }
        let client = self.running();
        let client = client.ok_or_else(|| Error::Gone("it was not started, or has ended".into()))?;
        client.request("checkOrigin", json!({"origin": origin}), bound)
    }

    /// As [`Core::start_all`], and starts anew what has lost its port.
    pub fn retry(self: &Arc<Self>) {
        if self.retrying.swap(true, Ordering::SeqCst) {
            return; // the one that is under way starts everything
        }
        let retry = Retry(self.clone());
        thread::spawn(move || {
            let core = &retry.0;
            let robbed = |view: &View| -> Vec<String> {
                let services = view.services.iter().filter(|(_, service)| service.robbed);
                services.map(|(name, _)| name.clone()).collect()
            };
            for service in core.news.look(robbed) {
                let asked = core
                    .client()
                    .and_then(|client| client.send("restart", json!({"service": service})));
                if let Err(error) = asked {
                    log::warn!("sidecar: {service} could not be started anew: {error}");
                }
            }
            core.start_all();
        });
    }

    /// Whether a service is ready; an error if it is not and will not be by itself.
    pub fn way(&self, service: &str) -> Result<bool> {
        self.refuse_if_closing()?;
        let wanted = self.wants(service);
        self.news.look(|view| {
            if let Some(problem) = &view.problem {
                return Err(problem.clone());
            }
            match view.services.get(service) {
                Some(seen) => match (&seen.mismatch, seen.state) {
                    (Some(mismatch), _) => Err(Error::Config(mismatch.clone())),
                    (None, State::Ready) => Ok(true),
                    (None, State::Failed) => Err(seen.error.clone().map_or_else(|| stopped(service), Error::Refused)),
                    (None, State::Stopped | State::Stopping) if !wanted => Err(stopped(service)),
                    (None, _) => Ok(false),
                },
                None if self.has(service) => Ok(false),
                None => Err(Error::UnknownService(service.into())),
            }
        })
    }

    /// Waits until a service is ready; an error as soon as it is not on its way.
    pub async fn on_its_way(&self, service: &str) -> Result<()> {
        let done = || match self.way(service) {
            Ok(false) => None,
            Ok(true) => Some(Ok(())),
            Err(error) => Some(Err(error)),
        };
        self.news.until(done).await
    }

    /// As [`Core::on_its_way`].
    pub fn on_its_way_blocking(&self, service: &str) -> Result<()> {
        while !self.way(service)? {
            self.news.wait(LOOK);
        }
        Ok(())
    }

    /// The address of a service that listens.
    pub fn origin(&self, service: &str) -> Option<&Url> {
        self.urls.get(service)
    }

    /// Where a service answers, if it is ready.
    pub fn url(&self, service: &str) -> Option<Url> {
        self.news.look(|view| view.url(service)?.parse().ok())
    }

    /// The service that the windows show.
    pub fn page(&self) -> Option<&str> {
        self.config.page()
    }

    /// A service as all others see it: at its address.
    pub fn outward(&self, service: &str, status: ServiceStatus) -> ServiceStatus {
        match self.urls.get(service) {
            Some(address) => outward::status(address, status),
            None => status,
        }
    }
}

fn stopped(service: &str) -> Error {
    Error::Stopped(service.into())
}
