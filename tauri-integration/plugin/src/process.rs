//! Which program the sidecar is, where it runs, and how it is started.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use shared_child::SharedChild;

use crate::error::{Error, Result};

/// The name in `bundle.externalBin`, without its folder.
const BINARY: &str = "sidecar";

/// What a Tauri project's folder has.
const TAURI_CONFIGS: [&str; 3] = ["tauri.conf.json", "tauri.conf.json5", "Tauri.toml"];

/// How to start the sidecar.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    /// The words to start it with; without them it is the `externalBin` beside the app.
    pub words: Option<Vec<OsString>>,
    /// Its working folder, to which the paths in the configuration are relative.
    pub folder: Option<PathBuf>,
}

impl Program {
    /// Starts it with pipes at stdin and stdout. What it says on stderr is for people and goes where the app's goes.
    pub fn spawn(&self) -> Result<SharedChild> {
        let mut command = self.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        #[cfg(windows)]
        {
            use std::os::windows::process::CommandExt;
            const CREATE_NO_WINDOW: u32 = 0x0800_0000;
            command.creation_flags(CREATE_NO_WINDOW);
        }
        SharedChild::spawn(&mut command).map_err(|error| Error::Spawn {
            program: command.get_program().to_string_lossy().into_owned(),
            reason: error.to_string(),
        })
    }

    fn command(&self) -> Result<Command> {
        match self.words.as_deref() {
            Some([program, arguments @ ..]) => {
                let mut command = Command::new(program);
                command.args(arguments);
                Ok(command)
            }
            _ => Ok(Command::new(beside_the_app()?)),
        }
    }
}

/// Tauri puts an `externalBin` beside the app, in a bundle as in `target/debug`.
fn beside_the_app() -> Result<PathBuf> {
    let app = tauri::utils::platform::current_exe().map_err(|error| Error::Spawn {
        program: BINARY.into(),
        reason: error.to_string(),
    })?;
    let binary = app.with_file_name(BINARY).with_extension(env::consts::EXE_EXTENSION);
    match binary.metadata() {
        Ok(found) if found.len() == 0 => Err(Error::Placeholder(binary)),
        Ok(_) => Ok(binary),
        Err(_) => Err(Error::NotFound(binary)),
    }
}

/// The folder of the running app's Tauri configuration: cargo tells it (so in `tauri dev`), or the app lies below it,
/// or was started in it.
pub(crate) fn project() -> Option<PathBuf> {
    let told = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let app = tauri::utils::platform::current_exe().ok();
    let above = app
        .iter()
        .flat_map(|app| app.ancestors().skip(1))
        .map(Path::to_path_buf);
    told.into_iter()
        .chain(above)
        .chain(env::current_dir())
        .find(|folder| is_project(folder))
}

fn is_project(folder: &Path) -> bool {
    TAURI_CONFIGS.iter().any(|name| folder.join(name).is_file())
}
