//! What the app's configuration says of the sidecar: its name in `bundle.externalBin`, and what a release starts.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tauri_utils::{config::parse, platform::Target};

/// The configuration, and the files that it was read from.
#[derive(Debug, Default)]
pub(crate) struct Config {
    pub value: Value,
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Reads it, as `tauri-build` does, which says what is wrong with a file. `more` is what the CLI's `--config` says.
    pub fn read(folder: &Path, target: &str, more: Option<&str>) -> Self {
        let Ok((mut value, files)) = parse::read_from(Target::from_triple(target), folder) else {
            return Self::default();
        };
        if let Some(patch) = more.and_then(|more| serde_json::from_str(more).ok()) {
            merge(&mut value, patch);
        }
        Self { value, files }
    }

    /// The entry of `bundle.externalBin` that is the sidecar.
    pub fn external_bin(&self) -> Option<&str> {
        let entries = self.value["bundle"]["externalBin"].as_array()?;
        let mut paths = entries.iter().filter_map(Value::as_str);
        paths.find(|path| {
            let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
            name == "sidecar" || name.ends_with("-sidecar")
        })
    }

    /// Whether it says which services there are. They may be set in Rust, too.
    pub fn has_services(&self) -> bool {
        self.value["plugins"]["sidecar"]["services"].is_object()
    }

    /// The services that a release starts. In it are no dev servers.
    pub fn released(&self) -> Vec<&str> {
        let services = self.value["plugins"]["sidecar"]["services"].as_object();
        let released = services.into_iter().flatten().filter(|(_, service)| {
            let release = &service["release"];
            let kind = release.get("type").unwrap_or(&service["type"]);
            release != &Value::Bool(false) && (kind == "command" || kind == "task")
        });
        released.map(|(name, _)| name.as_str()).collect()
    }
}

/// Merges by RFC 7396, as Tauri does.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Some(members) = target.as_object_mut() {
        for (name, value) in patch {
            match value {
                Value::Null => drop(members.remove(&name)),
                value => merge(members.entry(name).or_insert(Value::Null), value),
            }
        }
    }
}
