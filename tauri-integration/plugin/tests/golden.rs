//! The golden conversations, which the sidecar's own tests play, say the same to this crate.

use std::{collections::HashMap, fs, path::Path};

use serde::{de::DeserializeOwned, Serialize};
use serde_json::Value;
use tauri_plugin_sidecar::models::{
    Event, Failure, Initialized, LogsResult, ServiceResult, ShutdownResult, StatusResult, SweptProcess,
};

/// Decodes, and encodes again: nothing of it was overlooked, and nothing made up.
fn decoded<T: DeserializeOwned + Serialize>(value: &Value, place: &str) -> T {
    let decoded: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{place}: {error}: {value}"));
    assert_eq!(
        &serde_json::to_value(&decoded).unwrap(),
        value,
        "{place}: not what was said"
    );
    decoded
}

fn result(method: &str, value: &Value, place: &str) {
    match method {
        "initialize" => drop(decoded::<Initialized>(value, place)),
        "start" | "stop" | "restart" => drop(decoded::<ServiceResult>(value, place)),
        "status" => drop(decoded::<StatusResult>(value, place)),
        "logs" => drop(decoded::<LogsResult>(value, place)),
        "shutdown" => drop(decoded::<ShutdownResult>(value, place)),
        other => panic!("{place}: an answer to {other}"),
    }
}

/// What the sidecar may leave out because it is so by default, said in full as this crate says it.
fn said(line: &Value) -> Value {
    let mut said = line.clone();
    said.as_object_mut().unwrap().remove("jsonrpc");
    said
}

#[test]
fn every_line_of_the_golden_conversations_is_decoded_without_loss() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/wire/golden");
    let mut lines = 0;
    let mut seen: HashMap<&'static str, usize> = HashMap::new();
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let mut asked: HashMap<String, String> = HashMap::new();
        for (index, entry) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let place = format!("{}:{}", path.file_name().unwrap().to_string_lossy(), index + 1);
            let entry: Value = serde_json::from_str(entry).unwrap();
            let line = &entry["line"];
            match entry["from"].as_str() {
                Some("client") => {
                    if let (Some(id), Some(method)) = (line.get("id"), line["method"].as_str()) {
                        asked.insert(id.to_string(), method.into());
                    }
                }
                Some("server") => {
                    lines += 1;
                    if line.get("method").is_some() {
                        let event: Event = decoded(&said(line), &place);
                        *seen.entry(event.name()).or_default() += 1;
                    } else if let Some(error) = line.get("error") {
                        let failure: Failure = decoded(error, &place);
                        assert!(!failure.kind().is_empty(), "{place}");
                    } else {
                        result(&asked[&line["id"].to_string()], &line["result"], &place);
                    }
                }
                _ => {}
            }
        }
    }
    assert!(lines > 300, "only {lines} lines were found");
    for name in [
        "state",
        "ready",
        "log",
        "exited",
        "restarting",
        "port-changed",
        "swept",
        "error",
    ] {
        let name = format!("sidecar://{name}");
        assert!(seen.contains_key(name.as_str()), "{name} is in no golden file");
    }
}

#[test]
fn a_field_that_nobody_knows_is_noticed_here() {
    let line = r#"{"pid": 1, "comand": "typo"}"#;
    assert!(serde_json::from_str::<SweptProcess>(line).is_err());
}
