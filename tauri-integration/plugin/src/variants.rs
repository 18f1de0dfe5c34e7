//! What a service is in this build of the app: in development as it stands, in a release as its `release` says.
//!
//! The sidecar gets both, and checks both. This module finds out only what the plugin has to know before the sidecar
//! runs. It lets a mistake through: the sidecar names it. `tests/variants.json` holds both to the same.

use serde::Serialize;
use serde_json::{Map, Value};

/// What this build of the app is for, as `initialize` says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Variant {
    Dev,
    #[default]
    Release,
}

impl Variant {
    /// The one of this process: `tauri dev` builds for development.
    pub fn of_this_build() -> Self {
        match tauri::is_dev() {
            true => Self::Dev,
            false => Self::Release,
        }
    }
}

/// Whether it is a framework's dev server: every type but `command` and `task` is one.
pub(crate) fn is_dev_server(service: &Value) -> bool {
    service
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|kind| !matches!(kind, "command" | "task"))
}

/// The service as the variant has it; nothing if the variant has none.
pub(crate) fn in_variant(service: &Value, variant: Variant) -> Option<Value> {
    let mut base = service.clone();
    let release = base.as_object_mut().and_then(|base| base.remove("release"));
    let dev = base.as_object_mut().and_then(|base| base.remove("dev"));
    match (variant, release) {
        (Variant::Dev, _) => (dev != Some(Value::Bool(false))).then_some(base),
        (Variant::Release, None | Some(Value::Null)) => (!is_dev_server(&base)).then_some(base),
        (Variant::Release, Some(Value::Bool(false))) => None,
        (Variant::Release, Some(Value::Object(patch))) => match patch.contains_key("type") {
            true => Some(Value::Object(patch)),
            false => Some(merged(base, patch)),
        },
        (Variant::Release, Some(_)) => Some(base),
    }
}

/// What in a service of a release only a checkout has, if anything: an interpreter or a package there, a folder above
/// the app's resources, or a reloader.
pub(crate) fn only_in_a_checkout(service: &Value) -> Option<&str> {
    const FOLDERS: [&str; 3] = [".venv", "venv", "node_modules"];
    const RELOADERS: [&str; 2] = ["--reload", "--watch"];
    let text = |value: &'static str| service.get(value).and_then(Value::as_str);
    let parts = |word: &str, named: &[&str]| word.split(['/', '\\']).any(|part| named.contains(&part));
    let words = service.get("command").and_then(Value::as_array).into_iter().flatten();
    let mut words = words.filter_map(Value::as_str).chain(text("cwd"));
    words.find(|word| parts(word, &FOLDERS) || word.split(['/', '\\']).next() == Some("..") || RELOADERS.contains(word))
}

/// Merges by RFC 7396: objects member by member, `null` removes.
fn merged(base: Value, patch: Map<String, Value>) -> Value {
    let mut made = match base {
        Value::Object(base) => base,
        _ => Map::new(),
    };
    for (name, value) in patch {
        match value {
            Value::Null => drop(made.remove(&name)),
            Value::Object(below) => {
                let here = made.remove(&name).unwrap_or_default();
                made.insert(name, merged(here, below));
            }
            value => drop(made.insert(name, value)),
        }
    }
    Value::Object(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// The cases to which the sidecar is held, too, in tests/config/test_variants.py.
    fn cases(name: &str) -> Vec<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/variants.json");
        let cases: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        cases[name].as_array().unwrap().clone()
    }

    #[test]
    fn a_service_is_in_both_variants_what_the_sidecar_makes_of_it() {
        for case in cases("services") {
            for (name, variant) in [("dev", Variant::Dev), ("release", Variant::Release)] {
                let made = in_variant(&case["service"], variant).unwrap_or_default();
                assert_eq!(made, case[name], "{name} of {case}");
            }
        }
    }

    #[test]
    fn what_only_a_checkout_has_is_found() {
        for case in cases("checkouts") {
            let found = only_in_a_checkout(&case["service"]);
            assert_eq!(found, case["found"].as_str(), "{case}");
        }
    }

    #[test]
    fn a_patch_is_merged_as_the_rfc_says() {
        for case in cases("patches") {
            let patch = case["patch"].as_object().unwrap().clone();
            assert_eq!(merged(case["base"].clone(), patch), case["made"], "{case}");
        }
    }
}
