//! Services that are set in Rust: [`Builder::service`](crate::Builder::service) takes them.
//!
//! They are what `plugins.sidecar.services` of `tauri.conf.json` has, field by field, and the documentation of the
//! configuration says what each field is for. The sidecar checks them, and names a field that is wrong.

use std::time::Duration;

use serde::Serialize;
use serde_json::{json, Map, Value};

/// Writes a group of fields: a type over a JSON object, and a method for each field that sets it.
macro_rules! group {
    ($(#[$doc:meta])* $group:ident { $($(#[$what:meta])* $field:ident: $type:ty => $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize)]
        #[serde(transparent)]
        pub struct $group(Map<String, Value>);

        impl $group {
            /// The fields, by the names that `tauri.conf.json` has for them.
            #[cfg(test)]
            const FIELDS: &[&str] = &[$($key),*];

            $($(#[$what])*
            #[must_use]
            pub fn $field(self, $field: impl Into<$type>) -> Self {
                let value: $type = $field.into();
                self.with($key, &value)
            })*

            fn with(mut self, key: &str, value: &impl Serialize) -> Self {
                self.0.insert(key.into(), json!(value));
                self
            }
        }

        impl From<$group> for Switch<$group> {
            fn from(fields: $group) -> Self {
                Self::Fields(fields)
            }
        }
    };
}

/// A time in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Millis(u64);

impl From<Duration> for Millis {
    fn from(time: Duration) -> Self {
        Self(time.as_millis().try_into().unwrap_or(u64::MAX))
    }
}

/// Some texts, such as the words of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(Vec<String>);

impl<S: Into<String>, I: IntoIterator<Item = S>> From<I> for Words {
    fn from(words: I) -> Self {
        Self(words.into_iter().map(Into::into).collect())
    }
}

/// A group of fields, or `true` or `false` in its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Switch<T> {
    Bool(bool),
    Fields(T),
}

impl<T> From<bool> for Switch<T> {
    fn from(on: bool) -> Self {
        Self::Bool(on)
    }
}

group! {
    /// One service.
    ///
    /// ```
    /// use tauri_plugin_sidecar::services::{PortConfig, Ready, ServiceConfig};
    ///
    /// let api = ServiceConfig::command(["uv", "run", "uvicorn", "app:app", "--port", "{port}"])
    ///     .cwd("../api")
    ///     .env("API_TOKEN", "{token}")
    ///     .port(PortConfig::default().preferred(8000_u16))
    ///     .ready(Ready::http("/health"))
    ///     // without a type it is a patch of the fields above
    ///     .release(ServiceConfig::default().cwd("."));
    /// ```
    ServiceConfig {
        /// The folder of the dev server's project.
        root: String => "root",
        /// More words for the dev server.
        args: Words => "args",
        /// The script of `package.json` that starts the dev server.
        script: String => "script",
        /// The node that runs the dev server.
        node: String => "node",
        /// Vite's mode.
        mode: String => "mode",
        /// Vite's configuration file.
        config_file: String => "configFile",
        /// Whether node ends with the sidecar's pipe, also where nothing else ends it.
        stdin_guard: bool => "stdinGuard",
        /// The folder that a command runs in.
        cwd: String => "cwd",
        /// A file with more of them.
        env_file: String => "envFile",
        /// The services that have to be ready first.
        depends_on: Words => "dependsOn",
        /// Whether it runs in development.
        dev: bool => "dev",
        /// What it is in a release: another service, a patch of this one, or `false` for none.
        release: Switch<ServiceConfig> => "release",
        /// The port that it listens on.
        port: PortConfig => "port",
        /// When a command is ready.
        ready: Ready => "ready",
        /// How long it may take to be ready.
        ready_timeout: Millis => "readyTimeoutMs",
        /// How its health is looked after once it is ready.
        health: HealthConfig => "health",
        /// Whether it is started again when it ends.
        restart: RestartConfig => "restart",
        /// How it is stopped.
        stop: StopConfig => "stop",
        /// Where its processes live.
        isolation: Isolation => "isolation",
        /// Whether its output is kept in a file, and how much of it.
        log_file: Switch<LogFileConfig> => "logFile",
    }
}

impl ServiceConfig {
    /// Any program: its name and its arguments.
    pub fn command(words: impl Into<Words>) -> Self {
        Self::of("command").with("command", &words.into())
    }

    /// A program that runs to its end, and is ready when it has succeeded.
    pub fn task(words: impl Into<Words>) -> Self {
        Self::of("task").with("command", &words.into())
    }

    /// Vite, or a framework that is configured as Vite is.
    pub fn vite() -> Self {
        Self::of("vite")
    }

    /// Another dev server by its type, such as `astro`, `next` or `trunk`.
    pub fn dev_server(kind: impl Into<String>) -> Self {
        Self::of(&kind.into())
    }

    /// One more variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Value::Object(variables) = self.0.entry("env").or_insert_with(|| json!({})) {
            variables.insert(name.into(), value.into().into());
        }
        self
    }

    fn of(kind: &str) -> Self {
        Self::default().with("type", &kind)
    }
}

group! {
    /// The port of a service. The address for all others is made of it.
    PortConfig {
        /// The port that it takes if that is free.
        preferred: u16 => "preferred",
        /// The host that the service listens on.
        host: String => "host",
        /// The variable that tells the service its port.
        env: String => "env",
        /// Whether the last port is taken again.
        sticky: bool => "sticky",
        /// Whether no other port will do.
        strict: bool => "strict",
    }
}

group! {
    /// When a command is ready: see the functions.
    Ready {
        /// The status that an HTTP probe waits for.
        status: u16 => "status",
    }
}

impl Ready {
    /// Once it answers HTTP at this path.
    pub fn http(path: impl Into<String>) -> Self {
        Self::of("http").with("path", &path.into())
    }

    /// Once it takes connections.
    pub fn tcp() -> Self {
        Self::of("tcp")
    }

    /// Once it prints a line that the pattern is found in. Its groups `url`, `host` and `port` tell the address.
    pub fn log(pattern: impl Into<String>) -> Self {
        Self::of("log").with("pattern", &pattern.into())
    }

    /// After a time.
    pub fn delay(time: Duration) -> Self {
        Self::of("delay").with("ms", &Millis::from(time))
    }

    fn of(kind: &str) -> Self {
        Self::default().with("type", &kind)
    }
}

group! {
    /// How the health of a service is looked after.
    HealthConfig {
        /// Between two looks.
        interval: Millis => "intervalMs",
        /// How long an answer may take.
        timeout: Millis => "timeoutMs",
        /// Whether an unhealthy one is restarted.
        restart: bool => "restart",
        /// So many failures in a row make it unhealthy.
        failures: u32 => "failures",
    }
}

group! {
    /// Whether and when a service that ended is started again.
    RestartConfig {
        /// After which ends.
        policy: Policy => "policy",
        /// The delays before.
        backoff: BackoffConfig => "backoff",
        /// So many within the window are too many.
        limit: u32 => "limit",
        /// The window.
        window: Millis => "windowMs",
        /// A run of that length makes earlier ends forgotten.
        reset_after: Millis => "resetAfterMs",
    }
}

group! {
    /// The delays between restarts.
    BackoffConfig {
        /// The first one.
        initial: Millis => "initialMs",
        /// By how much each is longer than the one before.
        factor: f64 => "factor",
        /// The longest one.
        max: Millis => "maxMs",
        /// The share of each that is left to chance.
        jitter: f64 => "jitter",
    }
}

group! {
    /// How a service is stopped.
    StopConfig {
        /// The signal that asks it to, such as `SIGINT`.
        signal: String => "signal",
        /// How long it may take.
        timeout: Millis => "timeoutMs",
        /// How long it may take when the app has died.
        app_death_grace: Millis => "appDeathGraceMs",
    }
}

group! {
    /// How much output is kept.
    LogFileConfig {
        /// The size at which a new file is begun.
        max_bytes: u64 => "maxBytes",
        /// So many older ones stay.
        keep: u32 => "keep",
    }
}

/// After which ends a service is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Policy {
    Always,
    Never,
    OnFailure,
}

/// Where a service's processes live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Isolation {
    None,
    PidNamespace,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The fields that the schema of the configuration has in any of these definitions.
    fn in_the_schema(definitions: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let schema: Value = serde_json::from_str(include_str!("../sidecar.schema.json")).unwrap();
        let found = schema["definitions"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| definitions(name));
        let fields = found.filter_map(|(_, definition)| definition["properties"].as_object());
        fields.flat_map(Map::keys).cloned().collect()
    }

    fn with(fields: &[&str], made_otherwise: &[&str]) -> BTreeSet<String> {
        fields.iter().chain(made_otherwise).map(ToString::to_string).collect()
    }

    #[test]
    fn every_field_of_the_schema_can_be_set_and_no_other() {
        let service = with(ServiceConfig::FIELDS, &["type", "command", "env"]);
        assert_eq!(service, in_the_schema(|name| name.ends_with("Service")));
        let ready = with(Ready::FIELDS, &["type", "path", "pattern", "ms"]);
        assert_eq!(ready, in_the_schema(|name| name.ends_with("Ready")));
        for (name, fields) in [
            ("PortConfig", PortConfig::FIELDS),
            ("HealthConfig", HealthConfig::FIELDS),
            ("RestartConfig", RestartConfig::FIELDS),
            ("BackoffConfig", BackoffConfig::FIELDS),
            ("StopConfig", StopConfig::FIELDS),
            ("LogFileConfig", LogFileConfig::FIELDS),
        ] {
            assert_eq!(with(fields, &[]), in_the_schema(|it| it == name), "{name}");
        }
    }

    #[test]
    fn a_service_stands_as_in_tauri_conf_json() {
        let second = Duration::from_secs(1);
        let api = ServiceConfig::command(["api", "{port}"])
            .env("TOKEN", "{token}")
            .env("MODE", "dev")
            .depends_on(["migrate"])
            .port(PortConfig::default().preferred(8000_u16))
            .ready(Ready::http("/health").status(204_u16))
            .ready_timeout(second)
            .restart(RestartConfig::default().policy(Policy::OnFailure))
            .log_file(false)
            .release(ServiceConfig::default().log_file(LogFileConfig::default().keep(1_u32)));
        let expected = json!({"type": "command", "command": ["api", "{port}"],
            "env": {"TOKEN": "{token}", "MODE": "dev"}, "dependsOn": ["migrate"], "port": {"preferred": 8000},
            "ready": {"type": "http", "path": "/health", "status": 204}, "readyTimeoutMs": 1000,
            "restart": {"policy": "onFailure"}, "logFile": false, "release": {"logFile": {"keep": 1}}});
        assert_eq!(json!(api), expected);
    }
}
