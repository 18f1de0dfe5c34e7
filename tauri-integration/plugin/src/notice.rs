//! A small notice over the app's page in development: a service that is not the page has failed. It can be dismissed,
//! and goes once the service is started again.

use serde_json::json;
use tauri::{AppHandle, Runtime, Url, Webview};

use crate::{
    models::{State, StateChanged},
    page,
    view::View,
    SidecarExt,
};

const SCRIPT: &str = include_str!("notice.js");

/// Has the page at this origin, and no other one, show what has become of a service; nothing takes the notice away.
fn script(page: &Url, service: &str, message: Option<&str>) -> String {
    let origin = page.origin().ascii_serialization();
    format!(
        "{SCRIPT}({})",
        json!({"origin": origin, "service": service, "message": message})
    )
}

fn failure(service: &str, error: Option<&impl ToString>) -> String {
    let reason = error
        .map(|error| format!("\n{}", error.to_string()))
        .unwrap_or_default();
    format!("{service} failed.{reason}")
}

/// Shows, or takes away, the notice in every window that shows a page of this origin. The script looks at the origin
/// before anything that a foreign page could listen to.
pub(crate) fn show<R: Runtime>(app: &AppHandle<R>, page: &Url, told: &StateChanged) {
    let script = match told.state {
        State::Failed => script(page, &told.service, Some(&failure(&told.service, told.error.as_ref()))),
        State::Starting | State::Ready => script(page, &told.service, None),
        _ => return,
    };
    page::run_in_windows(app, &script);
}

/// Shows the notices in a page that comes after the failures.
pub(crate) fn greet<R: Runtime>(webview: &Webview<R>, url: &Url) {
    let sidecar = webview.sidecar();
    let core = &sidecar.core;
    let Some(page) = core.config.page() else { return };
    let Some(address) = core.urls.get(page) else { return };
    if url.origin() == address.origin() {
        for message in core.news.look(|view| failures(view, page, address)) {
            page::report(webview.eval(message));
        }
    }
}

/// A script for each failed service but the page's.
fn failures(view: &View, page: &str, address: &Url) -> Vec<String> {
    let failed = view
        .services
        .iter()
        .filter(|(name, service)| service.state == State::Failed && *name != page);
    failed
        .map(|(name, service)| script(address, name, Some(&failure(name, service.error.as_ref()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_comes_later_is_told_of_all_failures_but_its_own() {
        let mut view = View::default();
        for name in ["api", "web"] {
            let error = json!({"code": 1, "message": "a \"</script>\" b"});
            let failed = json!({"service": name, "state": "failed", "error": error});
            view.apply(&serde_json::from_value(json!({"method": "service/state", "params": failed})).unwrap());
        }
        let address = "http://127.0.0.1:5173/".parse().unwrap();
        let [told] = &failures(&view, "web", &address)[..] else {
            panic!("one failure")
        };
        assert!(
            told.ends_with(
                r#"({"message":"api failed.\na \"</script>\" b","origin":"http://127.0.0.1:5173","service":"api"})"#
            ),
            "{told}"
        );
    }
}
