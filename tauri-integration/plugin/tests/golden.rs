//! The golden conversations, which the sidecar's own tests play, say the same to this crate.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    path::Path,
};

use serde::{de::DeserializeOwned, Serialize};
use serde_json::Value;
use tauri_plugin_sidecar::models::{
    Event, Failure, Initialized, LogsResult, OriginCheck, ServiceResult, ShutdownResult, StatusResult, TokenResult,
};

/// Decodes, and encodes again: nothing of it was overlooked, and nothing made up.
fn decoded<T: DeserializeOwned + Serialize>(value: &Value, place: &str) -> T {
    let decoded: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{place}: {error}: {value}"));
    assert_eq!(&serde_json::to_value(&decoded).unwrap(), value, "{place}");
    decoded
}

fn decode_result(method: &str, value: &Value, place: &str) {
    match method {
        "initialize" => drop(decoded::<Initialized>(value, place)),
        "start" | "stop" | "restart" => drop(decoded::<ServiceResult>(value, place)),
        "status" => drop(decoded::<StatusResult>(value, place)),
        "logs" => drop(decoded::<LogsResult>(value, place)),
        "checkOrigin" => drop(decoded::<OriginCheck>(value, place)),
        "token" => drop(decoded::<TokenResult>(value, place)),
        "shutdown" => drop(decoded::<ShutdownResult>(value, place)),
        other => panic!("{place}: an answer to {other}"),
    }
}

/// Which requests wait for an answer, by their ids.
#[derive(Default)]
struct Asked(HashMap<String, VecDeque<String>>);

impl Asked {
    fn by_client(&mut self, entry: &Value) {
        // what a client sends may be written as text, to be wrong in ways that JSON cannot be
        let text = entry["text"].as_str().and_then(|text| serde_json::from_str(text).ok());
        let line: Value = text.unwrap_or_else(|| entry["line"].clone());
        if let (Some(id), Some(method)) = (line.get("id"), line["method"].as_str()) {
            self.0.entry(id.to_string()).or_default().push_back(method.into());
        }
    }

    /// An id that is in use is refused, and goes on belonging to the first request that had it.
    fn answered(&mut self, id: &Value, refused: bool) -> Option<String> {
        let waiting = self.0.get_mut(&id.to_string())?;
        match refused {
            true => waiting.pop_back(),
            false => waiting.pop_front(),
        }
    }
}

#[test]
fn every_line_of_the_golden_conversations_is_decoded_without_loss() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/protocol/golden");
    let mut lines = 0;
    let mut seen = HashSet::new();
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let mut asked = Asked::default();
        for (index, entry) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let place = format!("{}:{}", path.file_name().unwrap().to_string_lossy(), index + 1);
            let entry: Value = serde_json::from_str(entry).unwrap();
            match entry["from"].as_str() {
                Some("client") => asked.by_client(&entry),
                Some("server") => {
                    lines += 1;
                    let mut line = entry["line"].clone();
                    assert_eq!(
                        line.as_object_mut().unwrap().remove("jsonrpc"),
                        Some("2.0".into()),
                        "{place}"
                    );
                    if line.get("method").is_some() {
                        seen.insert(decoded::<Event>(&line, &place).name());
                    } else if let Some(error) = line.get("error") {
                        let failure: Failure = decoded(error, &place);
                        assert!(!failure.kind().is_empty(), "{place}");
                        asked.answered(&line["id"], failure.kind() == "InvalidRequest");
                    } else {
                        let method = asked.answered(&line["id"], false);
                        decode_result(&method.expect(&place), &line["result"], &place);
                    }
                }
                _ => {}
            }
        }
    }
    assert!(lines > 300, "only {lines} lines were found");
    for name in [
        "state",
        "waiting",
        "ready",
        "log",
        "exited",
        "restarting",
        "port-changed",
        "swept",
        "error",
    ] {
        let name = format!("sidecar://{name}");
        assert!(seen.contains(name.as_str()), "{name} is in no golden file");
    }
}
