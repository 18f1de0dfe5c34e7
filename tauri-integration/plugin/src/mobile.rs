//! Phones start no programs. The API is the same, so that an app needs no `cfg` of its own.
//!
//! There the page is built in, or comes from the dev server that `tauri android dev` or `tauri ios dev` was told of.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tauri::{plugin::Builder as PluginBuilder, Context, Manager, Runtime, Url};

use crate::{
    error::{Error, Result},
    logs::Followers,
    models::{Event, OriginCheck, ServiceStatus},
    Builder, Section, Sidecar,
};

pub(crate) fn complete<R: Runtime>(
    _: Builder,
    plugin: PluginBuilder<R, Section>,
    _: &mut Context<R>,
) -> PluginBuilder<R, Section> {
    plugin.setup(|app, _| {
        app.manage(Followers::default());
        app.manage(Sidecar { core: Arc::new(Core) });
        Ok(())
    })
}

/// What stands behind the API where there are no services.
#[derive(Debug, Default)]
pub(crate) struct Core;

impl Core {
    pub fn ask<T>(&self, _method: &'static str, _params: Value, _bound: Duration) -> Result<T> {
        Err(Error::Unsupported)
    }

    pub fn check_origin(&self, _origin: &str, _bound: Duration) -> Result<OriginCheck> {
        Err(Error::Unsupported)
    }

    pub async fn on_its_way(&self, _service: &str) -> Result<()> {
        Err(Error::Unsupported)
    }

    pub fn on_its_way_blocking(&self, _service: &str) -> Result<()> {
        Err(Error::Unsupported)
    }

    pub fn outward(&self, _service: &str, status: ServiceStatus) -> ServiceStatus {
        status
    }

    pub fn origin(&self, _service: &str) -> Option<&Url> {
        None
    }

    pub fn url(&self, _service: &str) -> Option<Url> {
        None
    }

    pub fn page(&self) -> Option<&str> {
        None
    }

    pub fn pid(&self) -> Option<u32> {
        None
    }

    pub fn on_event(&self, _listener: impl Fn(&Event) + Send + Sync + 'static) -> u64 {
        0
    }

    pub fn want(&self, _service: &str, _wanted: bool) {}
    pub fn unlisten(&self, _id: u64) {}
    pub fn retry(&self) {}
    pub fn shutdown(&self) {}
}
