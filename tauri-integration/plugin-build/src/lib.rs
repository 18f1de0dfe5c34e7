//! Puts the binary of `tauri-sidecar` where `bundle.externalBin` of a Tauri app wants it: `binaries/myapp-sidecar`, or
//! `binaries/sidecar`. If it names none, a build for development also gets the binary beside the app, and a release
//! ships none.
//!
//! A clone of an app has no binary, which takes 5 MB a platform and does not belong in git. This finds the one that
//! the project's package manager has installed. Call it in `build.rs`, before Tauri looks for the binary:
//!
//! ```no_run
//! tauri_sidecar_build::place_binary();
//! // tauri_build::build()
//! ```

mod config;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

mod mac;

/// What to do if there is none.
const INSTALL: &str = "install it with npm install --save-dev tauri-sidecar, or with uv add --dev tauri-sidecar, or \
                       run npx tauri-sidecar init or uvx tauri-sidecar init in the app's folder, or name the file in \
                       the variable SIDECAR_BINARY";

/// Folders that are large and have no front end in them.
const NO_FRONT_ENDS: [&str; 5] = ["node_modules", "target", "dist", "build", "gen"];

/// Find the binary for the target of this build and put it where `bundle.externalBin` names it.
///
/// If there is none, a build for development gets an empty placeholder and a warning, and so does a release that starts
/// no service.
///
/// For macOS the binary makes a folder of itself, too, in `binaries/sidecar-folder`, and `APPLE_SIGNING_IDENTITY` signs
/// what is in it.
///
/// # Panics
///
/// If a release starts services and there is no binary, or `bundle.externalBin` does not name it; if `SIDECAR_BINARY`
/// names no file; or if a file cannot be written. Cargo shows the reason.
pub fn place_binary() {
    println!("cargo:rerun-if-env-changed=SIDECAR_BINARY");
    println!("cargo:rerun-if-env-changed=VIRTUAL_ENV");
    println!("cargo:rerun-if-env-changed=TAURI_CONFIG");
    let build = Build::from_env();
    for file in &build.config.files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    for file in build.lists_of_packages() {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let external = build.config.external_bin();
    if let Some(path) = external.filter(|_| build.release && build.config.released().is_empty()) {
        println!(
            "cargo:warning=tauri.conf.json has no service that a release starts: if none is set in Rust either, take \
             {path} out of bundle.externalBin, and the app ships no sidecar"
        );
    }
    if let Some(warning) = build.unnamed() {
        println!("cargo:warning={warning}");
    }
    let placed = build.place();
    if let Ok(placed) = &placed {
        build.place_folder(placed);
    }
    match placed {
        Ok(Placed::Nothing) => (),
        Ok(Placed::From(file)) => println!("cargo:rerun-if-changed={}", file.display()),
        Ok(Placed::Placeholder) => {
            println!(
                "cargo:warning=there is no binary of tauri-sidecar for {}: {INSTALL}",
                build.target
            );
            // it is not there, so cargo runs this again at the next build
            println!(
                "cargo:rerun-if-changed={}",
                build.folder.join("binaries/none").display()
            );
        }
        Err(problem) => panic!("{problem}"),
    }
}

/// What was done.
#[derive(Debug, PartialEq)]
enum Placed {
    /// The target has no sidecar.
    Nothing,
    /// The binary in its place is that of this file.
    From(PathBuf),
    /// There is an empty file.
    Placeholder,
}

/// What cargo and the shell say about this build.
struct Build {
    /// The app's, with its Cargo.toml.
    folder: PathBuf,
    target: String,
    host: String,
    /// The crate's.
    name: String,
    /// Whether it is for users, and not for `tauri dev`.
    release: bool,
    config: config::Config,
    /// Where cargo puts the app's own binary.
    output: Option<PathBuf>,
    /// Of the variable `SIDECAR_BINARY`.
    named: Option<PathBuf>,
    virtual_env: Option<PathBuf>,
    path: Vec<PathBuf>,
}

impl Build {
    fn from_env() -> Self {
        let text = |name| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for a build script"));
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (folder, target) = (PathBuf::from(text("CARGO_MANIFEST_DIR")), text("TARGET"));
        Self {
            config: config::Config::read(&folder, &target, env::var("TAURI_CONFIG").ok().as_deref()),
            folder,
            target,
            host: text("HOST"),
            name: text("CARGO_PKG_NAME"),
            // tauri's own build script says which of the two it is; a crate that does not depend on it has the profile
            release: match env::var("DEP_TAURI_DEV") {
                Ok(dev) => dev == "false",
                Err(_) => text("PROFILE") == "release",
            },
            output: path("OUT_DIR").and_then(|out| output_of(&out)),
            named: path("SIDECAR_BINARY"),
            virtual_env: path("VIRTUAL_ENV"),
            path: env::var_os("PATH").map_or_else(Vec::new, |value| env::split_paths(&value).collect()),
        }
    }

    /// A warning if a release ships no sidecar, and the configuration does not tell whether it needs one.
    fn unnamed(&self) -> Option<String> {
        let sees = self.config.external_bin().is_some() || self.config.has_services();
        (self.release && !self.is_for_a_phone() && !sees).then(|| {
            format!(
                "tauri.conf.json has no services, and this release ships no sidecar: if services are set in Rust, add \
                 \"binaries/{}-sidecar\" to bundle.externalBin",
                self.name
            )
        })
    }

    fn is_for_a_phone(&self) -> bool {
        self.target.contains("android") || self.target.contains("ios")
    }

    fn place(&self) -> Result<Placed, String> {
        if self.is_for_a_phone() {
            return Ok(Placed::Nothing);
        }
        let external = self.config.external_bin();
        let released = self.config.released();
        if self.release && external.is_none() {
            return match released.as_slice() {
                [] => Ok(Placed::Nothing),
                services => Err(format!(
                    "a release of this app starts {}, and bundle.externalBin of tauri.conf.json does not name the \
                     sidecar: add \"binaries/{}-sidecar\" to it",
                    services.join(" and "),
                    self.name
                )),
            };
        }
        let path = external.map_or_else(|| format!("binaries/{}-sidecar", self.name), str::to_owned);
        let place = self.folder.join(format!("{path}-{}{}", self.target, self.suffix()));
        // Tauri puts beside the app what externalBin names, and nothing else
        let output = self.output.as_ref().filter(|_| external.is_none());
        let beside = output.map(|output| output.join(format!("{}-sidecar{}", self.name, self.suffix())));
        let there = fs::metadata(&place).is_ok_and(|it| it.len() > 0);
        let found = match &self.named {
            Some(file) if file.is_file() => Some(file.clone()),
            Some(file) => return Err(format!("SIDECAR_BINARY names {}, which is no file", file.display())),
            None => self
                .installed()
                .or_else(|| there.then(|| place.clone()))
                .or_else(|| self.on_path()),
        };
        match found {
            Some(file) => {
                for place in beside.iter().chain([&place]).filter(|place| **place != file) {
                    copy(&file, place)?;
                }
                Ok(Placed::From(file))
            }
            None if self.release && !released.is_empty() => Err(format!(
                "there is no binary of tauri-sidecar for {}, which a release needs for {}: {INSTALL}",
                self.target,
                released.join(" and ")
            )),
            None => {
                for place in beside.iter().chain([&place]) {
                    write(place, b"")?;
                }
                Ok(Placed::Placeholder)
            }
        }
    }

    /// For an app of macOS.
    fn place_folder(&self, placed: &Placed) {
        if !self.target.contains("apple-darwin") {
            return;
        }
        for name in ["APPLE_SIGNING_IDENTITY", "SIDECAR_ENTITLEMENTS"] {
            println!("cargo:rerun-if-env-changed={name}");
        }
        let binaries = self.folder.join("binaries");
        let binary = match placed {
            // an app that ships no sidecar needs no folder of it
            Placed::From(file) if self.config.external_bin().is_some() => Some(file.as_path()),
            _ => None,
        };
        match mac::place(&binaries, &self.target, binary, &mac::Signing::from_env()) {
            Ok(None) => (),
            Ok(Some(reason)) => println!(
                "cargo:warning=the app ships its sidecar as one file, which macOS scans at each start, because the \
                 folder could not be made: {reason}"
            ),
            Err(problem) => panic!("{problem}"),
        }
    }

    fn suffix(&self) -> &'static str {
        if self.target.contains("windows") {
            ".exe"
        } else {
            ""
        }
    }

    /// What package managers write at each install: then there may be another binary.
    fn lists_of_packages(&self) -> impl Iterator<Item = PathBuf> + '_ {
        const LISTS: [&str; 4] = [
            "node_modules/.package-lock.json",
            "node_modules/.modules.yaml",
            "node_modules/.yarn-state.yml",
            ".yarn/install-state.gz",
        ];
        let lists = |folder: PathBuf| LISTS.map(|name| folder.join(name));
        self.homes().into_iter().flat_map(lists).filter(|file| file.is_file())
    }

    /// The folders that may have installed packages: the app's, those above it, and those of front ends beside it.
    fn homes(&self) -> Vec<PathBuf> {
        let project = match self.folder.parent() {
            Some(parent) if self.folder.ends_with("src-tauri") => parent,
            _ => &self.folder,
        };
        let mut homes: Vec<_> = self.folder.ancestors().map(PathBuf::from).collect();
        // as far below as Tauri's CLI and sidecar init look for a package.json
        let near = folders_in(project);
        let far: Vec<_> = near.iter().flat_map(|folder| folders_in(folder)).collect();
        homes.extend(near);
        homes.extend(far);
        homes
    }

    /// The one that npm, pnpm, yarn, bun, pip or uv has installed for the project.
    fn installed(&self) -> Option<PathBuf> {
        let name = format!("sidecar{}", self.suffix());
        let package = npm_package(&self.target).map(|package| Path::new("@tauri-sidecar").join(package).join(&name));
        let mut places = Vec::new();
        let homes = self.homes();
        for folder in &homes {
            let modules = folder.join("node_modules");
            if let Some(package) = &package {
                places.extend(unplugged(folder, package));
                places.push(modules.join(package));
                // pnpm puts a package's own dependencies beside the package itself, to which node_modules has a link
                if let Ok(own) = fs::canonicalize(modules.join("tauri-sidecar")) {
                    places.extend(own.parent().map(|beside| beside.join(package)));
                    places.push(own.join("node_modules").join(package));
                }
            }
        }
        if self.target == self.host {
            let project = homes.iter().map(|folder| folder.join(".venv"));
            for environment in self.virtual_env.iter().cloned().chain(project) {
                places.extend(in_environment(&environment, &name));
            }
        }
        places.into_iter().find(|file| file.is_file())
    }

    /// The command of PATH, if it is the binary. pip's command of the same name is a script: then the binary is in the
    /// same environment, to which uv tool and pipx make a link.
    fn on_path(&self) -> Option<PathBuf> {
        if self.target != self.host {
            return None;
        }
        let name = format!("sidecar{}", self.suffix());
        let absolute = self.path.iter().filter(|folder| folder.is_absolute());
        let mut commands = absolute.map(|folder| folder.join(&name)).filter(|file| file.is_file());
        commands.find_map(|file| {
            if is_frozen(&file) {
                return Some(file);
            }
            let script = fs::canonicalize(&file).ok()?;
            let found = in_environment(script.parent()?.parent()?, &name).find(|file| file.is_file());
            found
        })
    }
}

/// The folder of the app's own binary. A build script writes to `target/debug/build/app-0123456789abcdef/out`, with a
/// newer layout of cargo's to `target/debug/build/app/0123456789abcdef/out`.
fn output_of(out: &Path) -> Option<PathBuf> {
    let build = out.ancestors().find(|folder| folder.ends_with("build"))?;
    build.parent().map(PathBuf::from)
}

/// The name that the packages on npm have for a target.
fn npm_package(target: &str) -> Option<&'static str> {
    Some(match target {
        "x86_64-unknown-linux-gnu" => "linux-x64-gnu",
        "aarch64-unknown-linux-gnu" => "linux-arm64-gnu",
        "x86_64-pc-windows-msvc" => "win32-x64-msvc",
        "aarch64-pc-windows-msvc" => "win32-arm64-msvc",
        "x86_64-apple-darwin" => "darwin-x64",
        "aarch64-apple-darwin" => "darwin-arm64",
        _ => return None,
    })
}

/// Where a virtual environment has the binary: in `lib/python3.12/site-packages`, on Windows `Lib/site-packages`.
fn in_environment<'a>(environment: &Path, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    let versions = fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("site-packages"));
    let folders = folders.chain([environment.join("Lib").join("site-packages")]);
    folders.map(move |folder| folder.join("tauri_sidecar_bin").join(name))
}

/// Where Yarn's Plug'n'Play has the binary: its folder has the version and a hash in its name.
fn unplugged(home: &Path, package: &Path) -> Option<PathBuf> {
    let beginning = format!("{}-npm-", package.parent()?.to_str()?.replace(['/', '\\'], "-"));
    let folders = fs::read_dir(home.join(".yarn/unplugged")).ok()?.flatten();
    let mut named = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(&beginning));
    Some(named.next()?.path().join("node_modules").join(package))
}

/// The folders in this one, by name, without hidden ones.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        !name.starts_with('.') && !NO_FRONT_ENDS.contains(&name.as_ref())
    });
    let mut folders: Vec<_> = visible.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Whether the program is a sidecar that needs no Python: it says so, and is no script or launcher of one.
fn is_frozen(file: &Path) -> bool {
    const SMALLEST: u64 = 1_000_000; // pip's launcher on Windows has a tenth of it
    let large = fs::metadata(file).is_ok_and(|it| it.len() > SMALLEST);
    large
        && Command::new(file)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|told| told.stdout.starts_with(b"sidecar "))
}

fn copy(file: &Path, place: &Path) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    write(place, &bytes)
}

/// Write an executable file, if it is not the same already: a running one is replaced, and not written to.
fn write(place: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(place).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let fresh = place.with_extension(format!("{}.fresh", std::process::id()));
    let written = || -> io::Result<()> {
        fs::create_dir_all(place.parent().unwrap_or(Path::new("")))?;
        fs::write(&fresh, bytes)?;
        make_executable(&fresh)?;
        fs::rename(&fresh, place)
    };
    written().map_err(|error| format!("{} cannot be written: {error}", place.display()))
}

#[cfg(unix)]
fn make_executable(file: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(file, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_file: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod mac_tests;
#[cfg(test)]
mod tests;
