//! The addresses that this app has for its services: taken before the app is built, constant until it ends.

use std::{collections::BTreeMap, net::TcpListener, time::Instant};

use tauri::Url;

use crate::{
    config::Config,
    error::{Error, Result},
    front::{candidates, Front, OLD_APP_PATIENCE},
    models::{Event, PortChanged},
};

/// What the app's own process listens on.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Service → the listener, until it is served.
    pub fronts: Vec<(String, Front)>,
    /// Service → its origin.
    pub urls: BTreeMap<String, Url>,
    /// Which services could not have the port that they wanted.
    pub moved: Vec<Event>,
}

impl Origins {
    /// Takes an address for each service that listens. `app` is the app's identifier, and `dev_url` what
    /// `tauri.conf.json` says of the page.
    pub fn take(config: &Config, app: &str, dev_url: Option<&Url>) -> Result<Self> {
        let mut origins = Self::default();
        let until = Instant::now() + OLD_APP_PATIENCE; // for all of them: the app is not built before
        for wanted in config.wanted(dev_url) {
            let name = wanted.service;
            let failed = |reason: String| Error::Address {
                service: name.into(),
                reason,
            };
            let front = match wanted.port.filter(|_| wanted.strict) {
                Some(port) => Front::bind([port], until).map_err(|error| {
                    failed(format!(
                        "port {port} is not free ({error}). End the program that has it, name another one in \
                         port.preferred, or leave port.strict out"
                    ))
                })?,
                None => {
                    Front::bind(candidates(wanted.port, app, name), until).map_err(|error| failed(error.to_string()))?
                }
            };
            let secure = config.page() == Some(name) && dev_url.is_some_and(|url| url.scheme() == "https");
            if let Some(from) = wanted.port.filter(|&port| port != front.port()) {
                log::warn!(
                    "sidecar: port {from} is taken; {name} is at port {} instead",
                    front.port()
                );
                origins.moved.push(Event::PortChanged(PortChanged {
                    service: name.into(),
                    from,
                    to: front.port(),
                    holder: None,
                }));
            }
            origins.add(name, front, secure)?;
        }
        Ok(origins)
    }

    /// An address where nothing will ever answer: for the page that says why.
    pub fn take_for_the_page(app: &str) -> Result<(Self, String)> {
        const NAME: &str = "";
        let mut origins = Self::default();
        let until = Instant::now() + OLD_APP_PATIENCE;
        let front = Front::bind(candidates(None, app, NAME), until).map_err(|error| Error::Address {
            service: "the page".into(),
            reason: error.to_string(),
        })?;
        origins.add(NAME, front, false)?;
        Ok((origins, NAME.into()))
    }

    fn add(&mut self, service: &str, front: Front, secure: bool) -> Result<()> {
        let scheme = if secure { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{}/", front.port());
        let url = url.parse().map_err(|error| Error::Address {
            service: service.into(),
            reason: format!("{error}"),
        })?;
        self.urls.insert(service.into(), url);
        self.fronts.push((service.into(), front));
        Ok(())
    }
}

/// A port that is free now. The service takes another one if it is not free any more when it starts.
pub(crate) fn free_port() -> Option<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").ok()?;
    Some(listener.local_addr().ok()?.port())
}

/// What a page learns before its first script: `window.__SIDECAR__`, for the top frame of the app's own pages only.
pub(crate) fn script(urls: &BTreeMap<String, Url>, dev_url: Option<&Url>) -> String {
    let services: BTreeMap<_, _> = urls
        .iter()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, url)| {
            let origin = url.origin().ascii_serialization();
            (name, serde_json::json!({"origin": origin, "url": url}))
        })
        .collect();
    let mut own = vec!["tauri://localhost".into()];
    own.extend(["http://tauri.localhost".into(), "https://tauri.localhost".into()]);
    own.extend(dev_url.map(|url| url.origin().ascii_serialization()));
    let (own, services) = (serde_json::json!(own), serde_json::json!({ "services": services }));
    format!(
        r#"(() => {{
  if (!{own}.includes(`${{location.protocol}}//${{location.host}}`)) return;
  const freeze = (value) => {{
    if (typeof value === "object") Object.values(Object.freeze(value)).forEach(freeze);
    return value;
  }};
  Object.defineProperty(window, "__SIDECAR__", {{ value: freeze({services}) }});
}})();"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variants::Variant;
    use serde_json::json;

    fn config(services: serde_json::Value) -> Config {
        Config::read(&json!({ "services": services }), Variant::Dev).unwrap()
    }

    #[test]
    fn a_service_whose_port_is_taken_gets_another_and_it_is_told() {
        let held = Front::bind([0], Instant::now()).unwrap();
        let service = json!({"web": {"type": "vite", "port": {"preferred": held.port()}}});
        let origins = Origins::take(&config(service), "dev.test", None).unwrap();
        let port = origins.urls["web"].port().unwrap();
        assert_ne!(port, held.port());
        let [Event::PortChanged(moved)] = &origins.moved[..] else {
            panic!("{:?}", origins.moved)
        };
        assert_eq!((moved.from, moved.to), (held.port(), port));
    }

    #[test]
    fn a_strict_port_that_is_taken_is_an_error_that_names_it() {
        let held = Front::bind([0], Instant::now()).unwrap();
        let service = json!({"web": {"type": "vite", "port": {"preferred": held.port(), "strict": true}}});
        let error = Origins::take(&config(service), "dev.test", None).unwrap_err();
        assert_eq!(error.kind(), "AddressUnavailable");
        assert!(error.to_string().contains(&held.port().to_string()), "{error}");
    }

    #[test]
    fn the_page_has_the_scheme_of_dev_url() {
        let dev_url = "https://localhost:0/".parse().unwrap();
        let services = json!({"web": {"type": "astro"}, "api": {"type": "command", "port": {}}});
        let origins = Origins::take(&config(services), "dev.test", Some(&dev_url)).unwrap();
        assert_eq!(origins.urls["web"].scheme(), "https");
        assert_eq!(origins.urls["api"].scheme(), "http");
    }

    #[test]
    fn a_page_is_told_the_origins_and_no_other_page_is() {
        let urls = BTreeMap::from([("api".to_string(), "http://127.0.0.1:8000/".parse().unwrap())]);
        let dev_url = "http://127.0.0.1:5173/".parse().unwrap();
        let script = script(&urls, Some(&dev_url));
        assert!(script.contains(r#""http://127.0.0.1:5173"]"#), "{script}");
        assert!(script
            .contains(r#"{"services":{"api":{"origin":"http://127.0.0.1:8000","url":"http://127.0.0.1:8000/"}}}"#));
    }
}
