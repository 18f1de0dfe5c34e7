//! One folder for an app of macOS. A file unpacks itself at each start, and macOS scans what it has unpacked.
//!
//! The one-file binary makes the folder of itself (`sidecar unpack`). Tauri copies it into the app by
//! `bundle.macOS.files`, and does not sign what comes in that way. So it is signed here: first each library, then the
//! program. What stands outside of it, the app, Tauri signs at the end.

use std::{
    env, fs, io,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Below `binaries/`; `tauri.macos.conf.json` names it. An app for both kinds of Mac has both, each in its own.
const FOLDER: &str = "sidecar-folder";

/// So that Tauri always finds a folder to copy, also where there is nothing to put into it.
const NOTE: &str = "README.txt";
const NOTE_TEXT: &str = "The build puts the sidecar of a macOS app here, as a folder for each kind of Mac.\n";

/// What codesign is told.
pub struct Signing {
    /// The name of a certificate. Without one nothing is signed: each file has a signature ad hoc by then.
    pub identity: Option<String>,
    /// A file with those of the program.
    pub entitlements: Option<PathBuf>,
    /// The program that signs.
    pub tool: PathBuf,
}

impl Signing {
    /// As Tauri and `build/dev.py freeze` read it. The identity `-` stands for a signature ad hoc.
    pub fn from_env() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            identity: text("APPLE_SIGNING_IDENTITY").filter(|it| it != "-"),
            entitlements: text("SIDECAR_ENTITLEMENTS").map(PathBuf::from),
            tool: "codesign".into(),
        }
    }

    fn sign(&self, folder: &Path) -> Result<(), String> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let program = folder.join("sidecar");
        let mut libraries = Vec::new();
        let failed = |error: io::Error| format!("{} cannot be read: {error}", folder.display());
        find_code(&folder.join("_internal"), &mut libraries).map_err(failed)?;
        for file in libraries.iter().chain([&program]) {
            let mut command = Command::new(&self.tool);
            // the hardened runtime and a time stamp: Apple notarises nothing without them
            command.args(["--force", "--timestamp", "--options", "runtime", "--sign", identity]);
            if let Some(entitlements) = self.entitlements.as_ref().filter(|_| *file == program) {
                command.arg("--entitlements").arg(entitlements);
            }
            run(command.arg(file))?;
        }
        Ok(())
    }
}

/// Makes the folder of this binary for this target (`aarch64-apple-darwin`), in the app's `binaries` folder, and signs
/// it. Without a binary, and where that fails, there is none, and the app ships the one file alone.
///
/// Returns why there is none, or an error if the place cannot be written to.
pub fn place(
    binaries: &Path,
    target: &str,
    binary: Option<&Path>,
    signing: &Signing,
) -> Result<Option<String>, String> {
    let home = binaries.join(FOLDER);
    let failed = |error: io::Error| format!("{} cannot be written: {error}", home.display());
    fs::create_dir_all(&home).map_err(failed)?;
    let note = home.join(NOTE);
    // a file that is written anew looks changed to tools that watch the folder
    if !fs::read(&note).is_ok_and(|there| there == NOTE_TEXT.as_bytes()) {
        fs::write(&note, NOTE_TEXT).map_err(failed)?;
    }
    let folder = home.join(target.split('-').next().unwrap_or(target));
    let Some(binary) = binary else {
        return remove(&folder).map(|()| None).map_err(failed);
    };
    let made = run(Command::new(binary).arg("unpack").arg(&folder)).and_then(|()| signing.sign(&folder));
    match made {
        Ok(()) => Ok(None),
        Err(reason) => remove(&folder).map(|()| Some(reason)).map_err(failed),
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs a program that prints nothing of interest unless it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).display().to_string();
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("{name} could not be started: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!(
        "{name} ended with {}: {}",
        done.status,
        said.trim().replace('\n', "; ")
    ))
}

/// The files of machine code below a folder, in the order of their names. A link's target is found by itself.
fn find_code(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            find_code(&entry.path(), found)?;
        } else if kind.is_file() && is_code(&entry.path())? {
            found.push(entry.path());
        }
    }
    Ok(())
}

/// By its first bytes: Mach-O of 64 bits, or several of them in one file.
fn is_code(file: &Path) -> io::Result<bool> {
    const MACH_O: [u8; 4] = [0xCF, 0xFA, 0xED, 0xFE];
    const UNIVERSAL: [u8; 4] = [0xCA, 0xFE, 0xBA, 0xBE];
    let mut start = Vec::new();
    fs::File::open(file)?.take(4).read_to_end(&mut start)?;
    Ok(start == MACH_O || start == UNIVERSAL)
}
