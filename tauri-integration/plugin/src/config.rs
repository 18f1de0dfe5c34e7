//! `plugins.sidecar` in `tauri.conf.json`. What a service may say is the sidecar's to check: it names the field.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{json, Map, Value};

use crate::{
    error::{Error, Result},
    variants::{in_variant, is_dev_server, only_in_a_checkout, Variant},
};

/// Each dev server's own port, by the type of its service. A test holds it to the sidecar's table.
const OWN_PORTS: &str = include_str!("dev-servers.json");

/// The section as it stands.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Section {
    /// Name → service, as in the protocol's `initialize`.
    #[serde(default)]
    services: Map<String, Value>,
    /// The service that the windows show; without it, the only dev server there is.
    page: Option<String>,
    /// Whether `tauri dev` prints what the services say: it does, unless this is `false`.
    print: Option<bool>,
}

/// The section as this build of the app is to use it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub variant: Variant,
    /// The services that this build has, each as it is in it.
    pub services: Map<String, Value>,
    /// All services, each with both of its variants.
    declared: Map<String, Value>,
    page: Option<String>,
    /// Whether what the services say is printed.
    pub print: bool,
}

/// The address that a service is to have, for all but the service itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Wanted<'a> {
    pub service: &'a str,
    pub port: Option<u16>,
    /// Whether no other port will do.
    pub strict: bool,
}

impl Config {
    /// Reads the section. A release has its page built in: it shows no service.
    pub fn read(section: &Value, variant: Variant) -> Result<Self> {
        let section: Option<Section> =
            Option::deserialize(section).map_err(|error| Error::Config(error.to_string()))?;
        let section = section.unwrap_or_default();
        let page = section.page()?;
        let print = section.print.unwrap_or(true) && variant == Variant::Dev;
        let declared = section.services;
        let made = |(name, service): (&String, &Value)| Some((name.clone(), in_variant(service, variant)?));
        let services: Map<_, _> = declared.iter().filter_map(made).collect();
        let page = page.filter(|_| variant == Variant::Dev);
        if let Some(page) = page.as_ref().filter(|page| !services.contains_key(*page)) {
            return Err(Error::Config(format!(
                "page: {page} shows the page, but its field dev says that it does not run"
            )));
        }
        Ok(Self {
            variant,
            services,
            declared,
            page,
            print,
        })
    }

    /// The service that the windows show.
    pub fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// What would not work in a release of the app, by service.
    pub fn only_in_a_checkout(&self) -> Vec<(&str, String)> {
        let released = |service| in_variant(service, Variant::Release);
        let found = self.declared.iter().map(|(name, service)| {
            let service = released(service)?;
            Some((name.as_str(), only_in_a_checkout(&service)?.to_string()))
        });
        found.flatten().collect()
    }

    /// The services that listen on a port. `dev_url` is the one of `tauri.conf.json`, which is the page's.
    pub fn wanted(&self, dev_url: Option<&tauri::Url>) -> Vec<Wanted<'_>> {
        // a file of this crate, which a test reads, too
        let own_ports: BTreeMap<String, u16> = serde_json::from_str(OWN_PORTS).unwrap_or_default();
        self.services
            .iter()
            .filter(|(_, service)| listens_on_a_port(service))
            .map(|(name, service)| {
                let port = service.get("port");
                let preferred = port.and_then(|port| port.get("preferred")).and_then(Value::as_u64);
                let usual = || match self.page() == Some(name) {
                    true => dev_url.and_then(tauri::Url::port),
                    false => None,
                };
                let own = || own_ports.get(service.get("type")?.as_str()?).copied();
                Wanted {
                    service: name,
                    port: preferred
                        .and_then(|port| port.try_into().ok())
                        .or_else(usual)
                        .or_else(own),
                    strict: port.and_then(|port| port.get("strict")) == Some(&Value::Bool(true)),
                }
            })
            .collect()
    }

    /// The services for `initialize`, each with both variants: the sidecar checks both. In the variant of this build, a
    /// service with an address of ours listens behind it, on any free port.
    pub fn told(&self, fronted: impl Fn(&str) -> bool, free_port: impl Fn() -> Option<u16>) -> Map<String, Value> {
        let mut services = self.declared.clone();
        for (name, service) in &mut services {
            let Some(service) = service.as_object_mut().filter(|_| fronted(name)) else {
                continue;
            };
            match service.get_mut("release") {
                Some(Value::Object(release)) if self.variant == Variant::Release => {
                    let patches = !release.contains_key("type");
                    move_aside(release, free_port(), patches);
                }
                _ => move_aside(service, free_port(), false),
            }
        }
        services
    }
}

impl Section {
    fn page(&self) -> Result<Option<String>> {
        if let Some(page) = &self.page {
            return match self.services.get(page) {
                Some(service) if service.get("type") == Some(&json!("task")) => {
                    Err(Error::Config(format!("page: {page} is a task, which shows no page")))
                }
                Some(_) => Ok(Some(page.clone())),
                None => Err(Error::Config(format!("page: there is no service {page:?} in services"))),
            };
        }
        let mut servers = self.services.iter().filter(|(_, service)| is_dev_server(service));
        match (servers.next(), servers.next()) {
            (Some(_), Some(_)) => Err(Error::Config(
                "page: there is more than one dev server; name the service that the windows show".into(),
            )),
            (first, _) => Ok(first.map(|(name, _)| name.clone())),
        }
    }
}

/// Gives a service the port `free`, or any. One that `patches` another has to say, too, what it takes away from it.
fn move_aside(service: &mut Map<String, Value>, free: Option<u16>, patches: bool) {
    let port = service.entry("port").or_insert_with(|| json!({}));
    // anything but an object is the sidecar's to refuse
    let Some(port) = port.as_object_mut() else { return };
    port.insert("sticky".into(), false.into());
    for (field, value) in [("preferred", free.map(Value::from)), ("strict", None)] {
        match value.or_else(|| patches.then_some(Value::Null)) {
            Some(value) => port.insert(field.into(), value),
            None => port.remove(field),
        };
    }
}

/// A dev server does so anyway, a program where it says so.
fn listens_on_a_port(service: &Value) -> bool {
    is_dev_server(service) || service.get("port").is_some_and(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(section: Value, dev: bool) -> Result<Config> {
        Config::read(&section, if dev { Variant::Dev } else { Variant::Release })
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
        ] {
            let error = read(section, true).unwrap_err();
            assert_eq!(error.kind(), "ConfigurationError");
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn a_page_that_could_never_be_shown_is_refused() {
        for (service, said) in [
            (json!({"type": "task"}), "page: web is a task"),
            (
                json!({"type": "vite", "dev": false}),
                "its field dev says that it does not run",
            ),
        ] {
            let error = read(json!({"services": {"web": service}, "page": "web"}), true).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_release_has_what_is_no_dev_server_and_no_page() {
        let services = json!({
            "api": {"type": "command"}, "migrate": {"type": "task"}, "web": {"type": "vite"}, "docs": {"type": "astro"},
        });
        let config = read(json!({"services": services, "page": "web"}), false).unwrap();
        assert_eq!(config.page(), None);
        assert_eq!(config.services.keys().collect::<Vec<_>>(), ["api", "migrate"]);
    }

    #[test]
    fn a_release_of_dev_servers_alone_has_no_services() {
        let services = json!({"web": {"type": "vite"}, "api": {"type": "command", "release": false}});
        let config = read(json!({"services": services}), false).unwrap();
        assert!(config.services.is_empty());
        assert_eq!(config.wanted(None), []);
    }

    #[test]
    fn only_what_this_build_has_and_listens_in_it_gets_an_address() {
        let services = json!({
            "api": {"type": "command", "port": {"preferred": 8000}, "release": {"port": {"preferred": 9000}}},
            "mute": {"type": "command", "port": {}, "release": {"port": null}},
            "late": {"type": "command", "dev": false, "port": {"preferred": 7000}},
            "web": {"type": "vite", "release": {"type": "command", "port": {"preferred": 6000}}},
        });
        let addresses = |dev| {
            let config = read(json!({"services": services}), dev).unwrap();
            let wanted = config.wanted(None);
            let named = wanted.iter().map(|it| (it.service.to_string(), it.port));
            named.collect::<BTreeMap<_, _>>()
        };
        let expected =
            |them: &[(&str, Option<u16>)]| them.iter().map(|(name, port)| (name.to_string(), *port)).collect();
        let dev = expected(&[("api", Some(8000)), ("mute", None), ("web", Some(5173))]);
        assert_eq!(addresses(true), dev);
        let release = expected(&[("api", Some(9000)), ("late", Some(7000)), ("web", Some(6000))]);
        assert_eq!(addresses(false), release);
    }

    #[test]
    fn without_the_section_there_is_nothing_to_do() {
        assert!(read(Value::Null, true).unwrap().services.is_empty());
    }

    #[test]
    fn the_pages_port_is_its_preferred_one_or_dev_urls_or_its_types() {
        let port = |service: Value, dev_url: Option<&str>| {
            let config = read(json!({"services": {"web": service}}), true).unwrap();
            let dev_url = dev_url.map(|url| url.parse().unwrap());
            let wanted = config.wanted(dev_url.as_ref());
            wanted[0].port
        };
        let vite = json!({"type": "vite"});
        let chosen = json!({"type": "vite", "port": {"preferred": 3000}});
        assert_eq!(port(chosen, Some("http://localhost:1420/")), Some(3000));
        assert_eq!(port(vite.clone(), Some("http://localhost:1420/")), Some(1420));
        assert_eq!(port(vite, None), Some(5173));
        assert_eq!(port(json!({"type": "astro"}), None), Some(4321));
        assert_eq!(port(json!({"type": "one-that-is-not-known"}), None), None);
    }

    #[test]
    fn only_a_program_with_a_port_gets_an_address() {
        let services = json!({"api": {"type": "command", "port": {"preferred": 8000, "strict": true}},
            "worker": {"type": "command"}, "migrate": {"type": "task"}});
        let config = read(json!({"services": services}), true).unwrap();
        let api = Wanted {
            service: "api",
            port: Some(8000),
            strict: true,
        };
        assert_eq!(config.wanted(None), [api]);
    }

    #[test]
    fn the_sidecar_gets_a_port_that_nobody_else_has_to_know() {
        let port = json!({"preferred": 8000, "strict": true, "host": "localhost", "env": "API_PORT"});
        let services = json!({"api": {"type": "command", "port": port}, "web": {"type": "vite"},
            "worker": {"type": "command"}});
        let config = read(json!({"services": services}), true).unwrap();
        let told = config.told(|name| name != "worker", || Some(41997));
        let expected = json!({"preferred": 41997, "sticky": false, "host": "localhost", "env": "API_PORT"});
        assert_eq!(told["api"]["port"], expected);
        assert_eq!(told["web"]["port"], json!({"preferred": 41997, "sticky": false}));
        assert_eq!(told["worker"], json!({"type": "command"}));
    }
    #[test]
    fn the_sidecar_is_told_of_both_variants_and_a_free_port_in_one() {
        let services = json!({
            "web": {"type": "vite", "port": {"preferred": 3000}},
            "base": {"type": "command", "port": {"preferred": 8000, "strict": true}},
            "patched": {"type": "command", "port": {"preferred": 8000, "strict": true}, "release": {"cwd": "."}},
            "whole": {"type": "vite", "release": {"type": "command", "port": {"preferred": 9000, "strict": true}}},
        });
        let config = read(json!({"services": services, "page": "web"}), false).unwrap();
        let fronted = |name: &str| config.services.contains_key(name);
        let told = config.told(fronted, || Some(41997));
        let free = json!({"preferred": 41997, "sticky": false});
        assert_eq!(told["web"], services["web"]);
        assert_eq!(told["base"]["port"], free);
        assert_eq!(told["patched"]["port"], services["patched"]["port"]);
        let patch = json!({"preferred": 41997, "sticky": false, "strict": null});
        assert_eq!(told["patched"]["release"], json!({"cwd": ".", "port": patch}));
        let made = in_variant(&told["patched"], Variant::Release).unwrap();
        assert_eq!(made["port"], free);
        assert_eq!(
            told["whole"],
            json!({"type": "vite", "release": {"type": "command", "port": free}})
        );
        // where no port is free the sidecar looks for one, and does not take that of the base
        let told = config.told(fronted, || None);
        let made = in_variant(&told["patched"], Variant::Release).unwrap();
        assert_eq!(made["port"], json!({"sticky": false}));
    }
}
