//! `plugins.sidecar` in `tauri.conf.json`. What a service may say is the sidecar's to check: it names the field.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// What a page on the dev server's origin may do, where nothing else is configured: listen, and look.
const DEFAULT_PERMISSIONS: [&str; 2] = ["core:default", "sidecar:default"];

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// Name → service, as in the protocol's `initialize`.
    #[serde(default)]
    pub services: Map<String, Value>,
    /// The service that the window shows; without it, the only dev server there is.
    page: Option<String>,
    /// The label of the window that shows it.
    #[serde(default = "main_window")]
    pub window: String,
    /// What the page may do if its origin is not the app's own (see [`crate::init`]).
    #[serde(default = "default_permissions")]
    pub permissions: Vec<String>,
}

impl Config {
    /// Reads the section as this build of the app is to use it: a release has its page built in and needs no dev server.
    pub fn read(section: &Value, dev: bool) -> Result<Self> {
        let section: Option<Config> = Option::deserialize(section).map_err(|error| Error::Config(error.to_string()))?;
        let mut config = section.unwrap_or_else(Config::empty);
        for permission in &config.permissions {
            if tauri::utils::acl::Identifier::try_from(permission.clone()).is_err() {
                return Err(Error::Config(format!(
                    "permissions: {permission:?} is no permission's name"
                )));
            }
        }
        config.page = config.page_of_services()?;
        if !dev {
            config.services.retain(|_, service| !is_dev_server(service));
            config.page = None;
        }
        Ok(config)
    }

    /// Of an app that has no such section, or one that cannot be read.
    pub fn empty() -> Self {
        Self {
            services: Map::new(),
            page: None,
            window: main_window(),
            permissions: default_permissions(),
        }
    }

    /// The service that the window shows.
    pub fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// The address that the page will most probably have, as long as nobody knows better.
    pub fn likely_url(&self) -> Option<tauri::Url> {
        const VITE: u64 = 5173;
        let port = self.services.get(self.page()?)?.get("port");
        let number = port.and_then(|port| port.get("preferred")).and_then(Value::as_u64);
        let host = port.and_then(|port| port.get("host")).and_then(Value::as_str);
        format!("http://{}:{}/", host.unwrap_or("127.0.0.1"), number.unwrap_or(VITE))
            .parse()
            .ok()
    }

    fn page_of_services(&self) -> Result<Option<String>> {
        if let Some(page) = &self.page {
            return match self.services.contains_key(page) {
                true => Ok(Some(page.clone())),
                false => Err(Error::Config(format!("page: there is no service {page:?} in services"))),
            };
        }
        let mut servers = self.services.iter().filter(|(_, service)| is_dev_server(service));
        match (servers.next(), servers.next()) {
            (Some(_), Some(_)) => Err(Error::Config(
                "page: there is more than one dev server; name the service that the window shows".into(),
            )),
            (first, _) => Ok(first.map(|(name, _)| name.clone())),
        }
    }
}

/// Whether it is a framework's dev server: every type but `command` is one.
fn is_dev_server(service: &Value) -> bool {
    service
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind != "command")
}

fn main_window() -> String {
    "main".into()
}

fn default_permissions() -> Vec<String> {
    DEFAULT_PERMISSIONS.map(String::from).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(section: Value, dev: bool) -> Result<Config> {
        Config::read(&section, dev)
    }

    #[test]
    fn the_only_dev_server_is_the_page() {
        for kind in ["vite", "astro"] {
            let services = json!({"api": {"type": "command"}, "web": {"type": kind}});
            let config = read(json!({"services": services}), true);
            assert_eq!(config.unwrap().page(), Some("web"));
        }
    }

    #[test]
    fn of_two_dev_servers_one_has_to_be_named() {
        let two = json!({"a": {"type": "vite"}, "b": {"type": "next"}});
        let error = read(json!({"services": two}), true).unwrap_err().to_string();
        assert!(error.contains("page: there is more than one dev server"), "{error}");
        assert_eq!(
            read(json!({"services": two, "page": "b"}), true).unwrap().page(),
            Some("b")
        );
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (section, named) in [
            (json!({"servces": {}}), "servces"),
            (json!({"services": [1]}), "expected a map"),
            (json!({"page": "web"}), "\"web\""),
            (json!({"permissions": ["no good"]}), "\"no good\""),
        ] {
            let error = read(section, true).unwrap_err();
            assert_eq!(error.kind(), "ConfigurationError");
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn a_release_keeps_what_is_no_dev_server() {
        let services = json!({"api": {"type": "command"}, "web": {"type": "vite"}, "docs": {"type": "astro"}});
        let config = read(json!({"services": services, "page": "web"}), false).unwrap();
        assert_eq!(config.page(), None);
        assert_eq!(config.services.keys().collect::<Vec<_>>(), ["api"]);
    }

    #[test]
    fn without_the_section_there_is_nothing_to_do() {
        assert!(Config::read(&Value::Null, true).unwrap().services.is_empty());
    }
}
