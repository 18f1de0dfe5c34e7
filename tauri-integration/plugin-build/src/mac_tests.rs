#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, SystemTime},
};

use crate::mac::{place, Signing};

const TARGET: &str = "aarch64-apple-darwin";

/// A folder of its own for a test, and gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sidecar-mac-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// Written by a process of its own: a test beside this one may fork while we have the file open to write, and then
    /// it cannot be run (ETXTBSY).
    fn script(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let done = Command::new("sh").args(["-c", write]).arg(&file).arg(text).status();
        assert!(done.unwrap().success());
        file
    }

    /// A binary that makes a folder of two libraries, one with a link to it, and a text.
    fn binary(&self) -> PathBuf {
        let code = r#"[ "$1" = unpack ] || exit 9
mkdir -p "$2/_internal/lib"
printf '\317\372\355\376code' > "$2/_internal/lib/two.so"
printf '\312\376\272\276code' > "$2/_internal/Python"
printf 'text' > "$2/_internal/lib/base.zip"
ln -s lib/two.so "$2/_internal/link.so"
printf '\317\372\355\376program' > "$2/sidecar""#;
        self.script("binary", code)
    }

    /// Without a certificate, unless one is named; the tool writes down what it is told.
    fn signing(&self, identity: Option<&str>) -> Signing {
        Signing {
            identity: identity.map(Into::into),
            entitlements: None,
            tool: self.script("codesign", &format!("echo \"$@\" >> '{}'", self.log().display())),
        }
    }

    fn log(&self) -> PathBuf {
        self.0.join("signed")
    }

    fn folder(&self) -> PathBuf {
        self.0.join("sidecar-folder/aarch64")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_binary_makes_a_folder_for_its_kind_of_mac() {
    let folder = Folder::new();
    let made = place(&folder.0, TARGET, Some(&folder.binary()), &folder.signing(None));
    assert_eq!(made, Ok(None));
    assert!(folder.folder().join("sidecar").is_file());
    assert!(!folder.log().exists(), "without a certificate nothing is signed");
}

#[test]
fn the_note_is_written_only_if_it_differs() {
    let folder = Folder::new();
    let note = folder.0.join("sidecar-folder/README.txt");
    let make = || place(&folder.0, TARGET, None, &folder.signing(None)).unwrap();
    make();
    let text = fs::read_to_string(&note).unwrap();
    let earlier = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::options()
        .append(true)
        .open(&note)
        .unwrap()
        .set_modified(earlier)
        .unwrap();
    make();
    assert_eq!(fs::metadata(&note).unwrap().modified().unwrap(), earlier);
    fs::write(&note, "of an earlier version").unwrap();
    make();
    assert_eq!(fs::read_to_string(&note).unwrap(), text);
}

#[test]
fn the_folder_is_signed_from_the_inside_out() {
    let folder = Folder::new();
    let signing = Signing {
        entitlements: Some("/the.entitlements".into()),
        ..folder.signing(Some("Developer ID Application: A (B)"))
    };
    place(&folder.0, TARGET, Some(&folder.binary()), &signing).unwrap();
    let inside = folder.folder();
    let line = |more: &str, name: &str| {
        let file = inside.join(name);
        format!(
            "--force --timestamp --options runtime --sign Developer ID Application: A (B){more} {}\n",
            file.display()
        )
    };
    let expected = [
        line("", "_internal/Python"),
        line("", "_internal/lib/two.so"),
        line(" --entitlements /the.entitlements", "sidecar"),
    ];
    assert_eq!(fs::read_to_string(folder.log()).unwrap(), expected.concat());
}

fn assert_none(folder: &Folder, binary: &Path, signing: &Signing, reason: &str) {
    fs::create_dir_all(folder.folder().join("_internal")).unwrap(); // of an earlier build
    let told = place(&folder.0, TARGET, Some(binary), signing).unwrap().unwrap();
    assert!(told.contains(reason), "{told}");
    assert!(!folder.folder().exists());
    // Tauri wants something to copy
    assert!(folder.folder().parent().unwrap().join("README.txt").is_file());
}

#[test]
fn what_cannot_be_signed_is_not_shipped() {
    let folder = Folder::new();
    let mut signing = folder.signing(Some("A"));
    signing.tool = folder.script("codesign", "echo 'A: no identity found' >&2; exit 1");
    assert_none(&folder, &folder.binary(), &signing, "A: no identity found");
    signing.tool = folder.0.join("no-such-tool");
    assert_none(&folder, &folder.binary(), &signing, "could not be started");
}

#[test]
fn a_binary_that_makes_no_folder_is_shipped_alone() {
    let folder = Folder::new();
    let old = folder.script("old", "echo 'invalid choice: unpack' >&2; exit 2");
    assert_none(&folder, &old, &folder.signing(None), "invalid choice: unpack");
}

#[test]
fn without_a_binary_an_earlier_folder_goes() {
    let folder = Folder::new();
    fs::create_dir_all(folder.folder()).unwrap();
    assert_eq!(place(&folder.0, TARGET, None, &folder.signing(None)), Ok(None));
    assert!(!folder.folder().exists());
}

#[test]
fn a_link_that_leads_nowhere_is_not_signed() {
    let folder = Folder::new();
    let binary = folder.script(
        "binary",
        "mkdir -p \"$2/_internal\"; touch \"$2/sidecar\"; ln -s x \"$2/_internal/y.so\"",
    );
    place(&folder.0, TARGET, Some(&binary), &folder.signing(Some("A"))).unwrap();
    assert_eq!(fs::read_to_string(folder.log()).unwrap().lines().count(), 1);
}
