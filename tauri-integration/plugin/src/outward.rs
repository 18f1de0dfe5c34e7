//! Tells a service's place to all others: the address that the app holds for it, and not the inner one.

use std::collections::BTreeMap;

use tauri::Url;

use crate::{
    models::{Event, ServiceStatus},
    view::Inner,
};

/// A service's status, at its address.
pub(crate) fn status(address: &Url, mut status: ServiceStatus) -> ServiceStatus {
    place(address, &mut status.url, &mut status.host, &mut status.port);
    status
}

/// Replaces a service's inner address by the one that the app holds, and returns the inner one. `None` if the event
/// concerns the inner address alone.
pub(crate) fn turn(urls: &BTreeMap<String, Url>, event: &mut Event) -> Option<Option<(String, Inner)>> {
    match event {
        Event::PortChanged(told) if urls.contains_key(&told.service) => return None,
        Event::State(told) => {
            if let Some(address) = urls.get(&told.service) {
                place(address, &mut None, &mut told.host, &mut told.port);
            }
        }
        Event::Ready(told) => {
            if let Some(address) = urls.get(&told.service) {
                let inner = Inner::of(told, address);
                place(address, &mut told.url, &mut told.host, &mut told.port);
                return Some(Some((told.service.clone(), inner)));
            }
        }
        _ => {}
    }
    Some(None)
}

/// Each is absent where it was: then the service answers nowhere.
fn place(address: &Url, url: &mut Option<String>, host: &mut Option<String>, port: &mut Option<u16>) {
    *url = url
        .take()
        .and_then(|inner| Some(at(address, &inner.parse().ok()?).into()));
    *host = host.take().and(address.host_str().map(String::from));
    *port = port.and(address.port());
}

/// The same place at another origin.
fn at(address: &Url, place: &Url) -> Url {
    let mut url = address.clone();
    url.set_path(place.path());
    url.set_query(place.query());
    url
}
