//! Moves windows: from the loading page to the service once it answers, and to the page again when it has failed.

use std::{
    collections::{HashMap, HashSet},
    panic::{catch_unwind, AssertUnwindSafe},
    sync::{Arc, Mutex},
};

use tauri::{
    ipc::CapabilityBuilder, AppHandle, Manager, Runtime, Url, Webview, WebviewUrl, WebviewWindow, WebviewWindowBuilder,
};

use crate::{
    client::lock,
    core::Core,
    error::{Error, Result},
    models::{Event, State},
    page,
};

/// Follows the service that the window shows.
pub(crate) struct Windows<R: Runtime> {
    app: AppHandle<R>,
    core: Arc<Core>,
    /// Where the service last answered: windows there are ours to move.
    last: Mutex<Option<Url>>,
    /// Where a window was when its service failed, to bring it back there.
    places: Mutex<HashMap<String, Url>>,
    granted: Mutex<HashSet<String>>,
}

impl<R: Runtime> Windows<R> {
    pub fn new(app: AppHandle<R>, core: Arc<Core>) -> Self {
        let last = core
            .config
            .page()
            .and_then(|page| core.look(|view| view.url(page)?.parse().ok()));
        Self {
            app,
            core,
            last: Mutex::new(last),
            places: Mutex::default(),
            granted: Mutex::default(),
        }
    }

    /// Makes the window if the app's configuration has it with `"create": false`: it never shows anything else first.
    pub fn create(&self) {
        let label = &self.core.config.window;
        let configured = &self.app.config().app.windows;
        let ours = configured
            .iter()
            .find(|window| window.label == *label && !window.create);
        if let (Some(window), None) = (ours, self.app.get_webview_window(label)) {
            let mut window = window.clone();
            if let Some(url) = self.elsewhere() {
                window.url = match url.scheme() {
                    "http" | "https" => WebviewUrl::External(url),
                    _ => WebviewUrl::CustomProtocol(url),
                };
            }
            let made = WebviewWindowBuilder::from_config(&self.app, &window).and_then(|builder| builder.build());
            report(made.map(drop));
        }
    }

    /// A window that the app made itself is moved before it shows what is not there.
    pub fn adopt(&self, webview: &Webview<R>) {
        if webview.label() != self.core.config.window || webview.url().is_ok_and(|url| page::is_page(&url)) {
            return;
        }
        if let Some(url) = self.elsewhere() {
            report(webview.navigate(url));
        }
    }

    /// Where the window has to go if it cannot stay at the app's own URL.
    fn elsewhere(&self) -> Option<Url> {
        let service = self.core.config.page();
        let failed = self.core.look(|view| view.problem.is_some());
        match service.and_then(|page| self.core.look(|view| view.url(page)?.parse::<Url>().ok())) {
            Some(url) if self.is_local(&url) => None,
            Some(url) => {
                self.grant(&url);
                Some(url)
            }
            None => (service.is_some() || failed).then(page::url),
        }
    }

    pub fn follow(&self, event: &Event) {
        match event {
            Event::Ready(ready) if self.core.config.page() == Some(&ready.service) => {
                if let Some(url) = ready.url.as_deref().and_then(|url| url.parse().ok()) {
                    self.arrive(&url);
                }
            }
            Event::State(told) if told.state == State::Failed && self.core.config.page() == Some(&told.service) => {
                self.leave();
            }
            Event::Gone(gone) if !gone.restarting => self.leave(),
            _ => {}
        }
    }

    /// A window already there stays: Vite's own client reloads it.
    fn arrive(&self, url: &Url) {
        self.grant(url);
        let last = lock(&self.last).replace(url.clone());
        for (label, window) in self.app.webview_windows() {
            let Some(now) = self.ours(&window, last.as_ref()) else {
                continue;
            };
            if page::is_page(&now) {
                report(window.navigate(self.destination(&label, url)));
            } else if now.origin() != url.origin() {
                report(window.navigate(moved(url, Some(&now))));
            }
        }
    }

    /// Where a window that shows the page is to go once the service answers at this address: to its place there.
    pub fn destination(&self, label: &str, url: &Url) -> Url {
        moved(url, lock(&self.places).get(label))
    }

    fn leave(&self) {
        let last = lock(&self.last).clone();
        for (label, window) in self.app.webview_windows() {
            let Some(now) = self.ours(&window, last.as_ref()) else {
                continue;
            };
            if !page::is_page(&now) {
                lock(&self.places).insert(label, now);
                report(window.navigate(page::url()));
            }
        }
    }

    /// Where a window is, if it shows the service or the page.
    fn ours(&self, window: &WebviewWindow<R>, last: Option<&Url>) -> Option<Url> {
        let now = window.url().ok()?;
        let there = last.is_some_and(|last| last.origin() == now.origin());
        (there || page::is_page(&now)).then_some(now)
    }

    /// A dev server that `launch` did not know of is a foreign origin to Tauri: let it in, and no other port.
    fn grant(&self, url: &Url) {
        let origin = url.origin().ascii_serialization();
        if self.is_local(url) || !lock(&self.granted).insert(origin.clone()) {
            return;
        }
        let name = format!("sidecar-{}", url.port_or_known_default().unwrap_or(0));
        report(self.app.add_capability(self.capability(name, origin)));
    }

    /// Whether the permissions exist, found out while an error still has somewhere to go: to Tauri an unknown one, when
    /// it comes to be granted, is a reason to panic.
    pub fn check_permissions(&self) -> Result<()> {
        let nowhere = self.capability("sidecar".into(), "http://sidecar.invalid".into());
        catch_unwind(AssertUnwindSafe(|| self.app.add_capability(nowhere)))
            .map_err(|panic| {
                let reason = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                Error::Config(format!(
                    "permissions: one of them does not exist in this app ({reason})"
                ))
            })?
            .map_err(Error::from)
    }

    fn capability(&self, name: String, origin: String) -> CapabilityBuilder {
        let capability = CapabilityBuilder::new(name)
            .local(false)
            .window(&self.core.config.window)
            .remote(origin);
        let permissions = self.core.config.permissions.iter();
        permissions.fold(capability, CapabilityBuilder::permission)
    }

    /// Whether Tauri takes the URL for the app's own.
    fn is_local(&self, url: &Url) -> bool {
        let own = self.app.config().build.dev_url.as_ref();
        tauri::is_dev() && own.is_some_and(|own| own.origin() == url.origin())
    }
}

/// The same place at another origin, if the page still has the base that the place is below.
fn moved(url: &Url, place: Option<&Url>) -> Url {
    let mut url = url.clone();
    if let Some(place) = place.filter(|place| place.path().starts_with(url.path())) {
        url.set_path(place.path());
        url.set_query(place.query());
        url.set_fragment(place.fragment());
    }
    url
}

/// A window may be closed between being listed and being moved; anything else is worth a line.
fn report(result: tauri::Result<()>) {
    if let Err(error) = result {
        log::warn!("sidecar: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::moved;

    #[test]
    fn a_window_comes_back_to_its_place_on_another_port() {
        let place = "http://127.0.0.1:5173/list?page=2#last".parse().unwrap();
        let url = "http://127.0.0.1:41997/".parse().unwrap();
        assert_eq!(
            moved(&url, Some(&place)).as_str(),
            "http://127.0.0.1:41997/list?page=2#last"
        );
        assert_eq!(moved(&url, None), url);
        let secure = "https://127.0.0.1:5173/".parse().unwrap();
        assert_eq!(
            moved(&secure, Some(&place)).as_str(),
            "https://127.0.0.1:5173/list?page=2#last"
        );
    }

    #[test]
    fn a_place_below_another_base_is_left() {
        let url = "http://127.0.0.1:5173/app/".parse().unwrap();
        let inside = "http://127.0.0.1:5173/app/list".parse().unwrap();
        let outside = "http://127.0.0.1:5173/list".parse().unwrap();
        assert_eq!(moved(&url, Some(&inside)), inside);
        assert_eq!(moved(&url, Some(&outside)), url);
    }
}
