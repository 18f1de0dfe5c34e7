//! Which program the sidecar is, where it runs, and how it is started.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use shared_child::SharedChild;

use crate::error::{Error, Result};
#[cfg(unix)]
use crate::unpacking::Places;

/// The name in `bundle.externalBin`, without its folder, or the end of it after a hyphen.
const BINARY: &str = "sidecar";

/// What a Tauri project's folder has.
const TAURI_CONFIGS: [&str; 3] = ["tauri.conf.json", "tauri.conf.json5", "Tauri.toml"];

/// How to start the sidecar.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    /// The program and its arguments; without them, the sidecar that the app ships.
    pub words: Option<Vec<OsString>>,
    /// Its name beside the app; empty is [`BINARY`].
    pub name: String,
    /// Its working folder, to which the paths in the configuration are relative.
    pub folder: Option<PathBuf>,
    /// Where it unpacks itself, if it is one file.
    #[cfg(unix)]
    pub places: Places,
}

/// The sidecar's name among `bundle.externalBin`: `myapp-sidecar`, so that two apps' packages do not both have a
/// `/usr/bin/sidecar`; or just `sidecar`. If it is not among them, the name that `tauri-sidecar-build` gives it in a build
/// for development: that of the app's crate comes first, as several apps may be built in one folder.
pub(crate) fn name_in(external: Option<&Vec<String>>, crate_name: &str) -> String {
    let names = external
        .into_iter()
        .flatten()
        .filter_map(|path| path.rsplit(['/', '\\']).next());
    let mut ours = names.filter(|name| {
        name.strip_suffix(BINARY)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('-'))
    });
    ours.next().map_or_else(|| format!("{crate_name}-{BINARY}"), Into::into)
}

/// The folder of a release's resources. It is made if the app has none; where it cannot be, as in an installed package,
/// the app's own folder is the working folder in its place.
pub(crate) fn resources(folder: PathBuf) -> Option<PathBuf> {
    if folder.is_dir() || fs::create_dir_all(&folder).is_ok() {
        return Some(folder);
    }
    let app = tauri::utils::platform::current_exe().ok()?;
    let instead = app.parent()?.to_path_buf();
    log::info!(
        "sidecar: the app has no resources ({}), so its services run in {}",
        folder.display(),
        instead.display()
    );
    Some(instead)
}

impl Program {
    /// Starts it with pipes at stdin and stdout. What it says on stderr is for people and goes where the app's goes.
    pub fn spawn(&self) -> Result<SharedChild> {
        let mut command = self.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        #[cfg(unix)]
        self.places.tell(&mut command);
        #[cfg(windows)]
        {
            use std::os::windows::process::CommandExt;
            const CREATE_NO_WINDOW: u32 = 0x0800_0000;
            command.creation_flags(CREATE_NO_WINDOW);
        }
        SharedChild::spawn(&mut command).map_err(|error| Error::Spawn {
            program: command.get_program().to_string_lossy().into_owned(),
            reason: self.why_not(&error),
        })
    }

    /// Says why the sidecar with this pid has ended before its first answer, if that can be seen, and removes what it
    /// has left. Other errors are returned as they are.
    #[cfg(unix)]
    pub fn explain(&self, error: Error, pid: u32) -> Error {
        if !matches!(error, Error::Gone(_)) {
            return error;
        }
        let problems = self.places.problems(); // before what has filled the disk is removed
        self.places.tidy(pid);
        problems.map_or(error, Error::Unpacking)
    }

    #[cfg(not(unix))]
    pub fn explain(&self, error: Error, _pid: u32) -> Error {
        error
    }

    /// The system says only that something is not there: the program, or the folder that it was to run in.
    fn why_not(&self, error: &io::Error) -> String {
        match &self.folder {
            Some(folder) if !folder.is_dir() => {
                format!(
                    "its working folder {} is not there or is no folder ({error})",
                    folder.display()
                )
            }
            _ => error.to_string(),
        }
    }

    fn command(&self) -> Result<Command> {
        match self.words.as_deref() {
            Some([program, arguments @ ..]) => {
                let mut command = Command::new(program);
                command.args(arguments);
                Ok(command)
            }
            _ => Ok(Command::new(shipped(&self.name)?)),
        }
    }
}

/// The folder in an app of macOS, or else the file that Tauri puts beside the app as an `externalBin`, in a bundle as in
/// `target/debug`.
fn shipped(name: &str) -> Result<PathBuf> {
    let name = if name.is_empty() { BINARY } else { name };
    let app = tauri::utils::platform::current_exe().map_err(|error| Error::Spawn {
        program: name.into(),
        reason: error.to_string(),
    })?;
    if let Some(program) = in_a_folder(&app) {
        return Ok(program);
    }
    let binary = app.with_file_name(format!("{name}{}", env::consts::EXE_SUFFIX));
    match binary.metadata() {
        Ok(found) if found.len() == 0 => Err(Error::Placeholder(binary)),
        Ok(_) => Ok(binary),
        Err(_) => Err(Error::NotFound(binary)),
    }
}

/// The sidecar as one folder, if the app has one for this kind of Mac: below `Contents/Resources`, as `sidecar init` has
/// Tauri put it there. Not in `Contents/MacOS`, where codesign takes each file for code.
fn in_a_folder(app: &Path) -> Option<PathBuf> {
    let contents = app.parent().filter(|it| it.ends_with("Contents/MacOS"))?.parent()?;
    let program = contents.join("Resources/sidecar").join(env::consts::ARCH).join(BINARY);
    program.is_file().then_some(program)
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

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn an_app_of_macos_starts_the_folder_for_its_kind_of_mac() {
        let bundle = env::temp_dir().join(format!("sidecar-bundle-{}.app", std::process::id()));
        let app = bundle.join("Contents/MacOS/app");
        let folder = bundle.join("Contents/Resources/sidecar");
        for other in ["other", env::consts::ARCH] {
            assert_eq!(in_a_folder(&app), None);
            fs::create_dir_all(folder.join(other)).unwrap();
            fs::write(folder.join(other).join("sidecar"), "").unwrap();
        }
        assert_eq!(in_a_folder(&app), Some(folder.join(env::consts::ARCH).join("sidecar")));
        assert_eq!(in_a_folder(&bundle.join("target/debug/app")), None, "no bundle");
        fs::remove_dir_all(bundle).unwrap();
    }

    #[test]
    fn the_binary_may_be_named_after_the_app() {
        let named = |paths: &[&str]| name_in(Some(&paths.iter().map(ToString::to_string).collect()), "app");
        assert_eq!(named(&["binaries/ffmpeg", "binaries/my-app-sidecar"]), "my-app-sidecar");
        assert_eq!(named(&["binaries\\sidecar"]), "sidecar");
        assert_eq!(named(&["binaries/othersidecar"]), "app-sidecar");
        assert_eq!(name_in(None, "app"), "app-sidecar");
    }

    #[test]
    fn an_error_names_the_folder_that_is_not_there() {
        let folder = env::temp_dir().join(format!("sidecar-no-folder-{}", std::process::id()));
        let words = |program: &str| Some(vec![program.into()]);
        let spawn = |folder: PathBuf, program: &str| {
            let program = Program {
                words: words(program),
                folder: Some(folder),
                ..Program::default()
            };
            program.spawn().map(drop).unwrap_err().to_string()
        };
        let app = env::current_exe().unwrap();
        let told = spawn(folder.clone(), &app.to_string_lossy());
        assert!(
            told.contains(&format!("working folder {} is not there", folder.display())),
            "{told}"
        );
        let told = spawn(env::temp_dir(), "no-such-program");
        assert!(
            told.contains("no-such-program could not be started") && !told.contains("folder"),
            "{told}"
        );
    }

    #[test]
    fn resources_are_made_or_the_apps_folder_is_taken_in_their_place() {
        let folder = env::temp_dir().join(format!("sidecar-resources-{}", std::process::id()));
        let wanted = folder.join("lib/app");
        assert_eq!(resources(wanted.clone()), Some(wanted.clone()));
        assert!(wanted.is_dir());
        let file = folder.join("file");
        fs::write(&file, "").unwrap();
        let app = env::current_exe().unwrap();
        assert_eq!(resources(file.join("app")).as_deref(), app.parent());
        fs::remove_dir_all(folder).unwrap();
    }
}
