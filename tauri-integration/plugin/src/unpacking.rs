//! Where a sidecar of one file unpacks itself, on Linux and macOS.
//!
//! Its bootloader unpacks 9 MB into a folder `_MEI…` below `TMPDIR`, and runs from there. The user's folder for temporary
//! files may not do: it is mounted `noexec`, full, or cleaned while the app runs (macOS removes there what was not read
//! for three days). So the sidecar gets a folder of the app's own cache. If that one does not do, it gets the user's.
//!
//! The sidecar gives its services the user's `TMPDIR` back, which we tell it by `SIDECAR_USERS_TMPDIR`. At its start it
//! removes what an earlier one has left in both folders. A start that fails removes its own part here: with a full disk
//! each further try would take more of it.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
    fs, io,
    mem::MaybeUninit,
    os::unix::{ffi::OsStrExt, fs::DirBuilderExt},
    path::{Path, PathBuf},
    process::Command,
};

const TMPDIR: &str = "TMPDIR";
const USERS_TMPDIR: &str = "SIDECAR_USERS_TMPDIR";

/// Where the bootloader unpacks if no variable names another folder.
const USUAL: &str = "/tmp";

/// For the 9 MB that are unpacked, in bytes, with room for a later version.
const NEEDED: u64 = 16 << 20;

/// The folders that a sidecar may unpack into.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// In the app's cache. It is made if it is missing.
    own: Option<PathBuf>,
    /// The user's `TMPDIR`.
    users: Option<OsString>,
}

impl Places {
    /// With a folder of the app's cache, if the app has one.
    pub fn new(own: Option<PathBuf>) -> Self {
        let users = env::var_os(TMPDIR);
        Self { own, users }
    }

    /// Has a sidecar unpack itself into the app's own folder, if that will do, or if no folder will: what it leaves
    /// there is removed.
    pub fn tell(&self, command: &mut Command) {
        let Some(own) = &self.own else { return };
        if problem(own, true).is_none() || own.is_dir() && problem(self.users(), false).is_some() {
            command.env(TMPDIR, own);
            command.env(USERS_TMPDIR, self.users.as_deref().unwrap_or(OsStr::new("")));
        }
    }

    /// Why a sidecar can unpack itself nowhere: each folder with what is wrong with it. `None` if one will do.
    pub fn problems(&self) -> Option<String> {
        let own = self.own.iter().map(|own| (own.as_path(), problem(own, true)));
        let all = own.chain([(self.users(), problem(self.users(), false))]);
        let told: Option<Vec<_>> = all
            .map(|(folder, problem)| Some(format!("{} {}", folder.display(), problem?)))
            .collect();
        told.map(|told| told.join("; "))
    }

    fn users(&self) -> &Path {
        let users = self.users.as_deref().filter(|users| !users.is_empty());
        Path::new(users.unwrap_or(OsStr::new(USUAL)))
    }

    /// Removes what the sidecar with this pid has left in the app's own folder. Call it after the sidecar's end.
    pub fn tidy(&self, pid: u32) {
        let Some(entries) = self.own.as_ref().and_then(|own| fs::read_dir(own).ok()) else {
            return; // it was never made
        };
        let name = format!("_MEI{pid:08x}");
        for folder in entries
            .flatten()
            .filter(|it| it.file_name().as_bytes().starts_with(name.as_bytes()))
        {
            if let Err(error) = remove(&folder.path()) {
                log::warn!("sidecar: {} could not be removed: {error}", folder.path().display());
            }
        }
    }
}

/// Removes the folder unless a process of the sidecar still runs from it, which locks it.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.try_lock_shared() {
        Ok(()) => fs::remove_dir_all(folder),
        Err(fs::TryLockError::WouldBlock) => Ok(()), // the next start of a sidecar removes it
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// What keeps a sidecar from unpacking itself into the folder, or from running there. With `make` it is made first.
fn problem(folder: &Path, make: bool) -> Option<String> {
    if make {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        if let Err(error) = made {
            return Some(format!("cannot be made: {error}"));
        }
    }
    match Facts::of(folder) {
        Ok(facts) => facts.problem(),
        Err(error) => Some(format!("cannot be written to: {error}")),
    }
}

/// What counts of a folder's file system.
#[derive(Debug)]
struct Facts {
    /// In bytes, for this user.
    free: u64,
    runs_programs: bool,
}

impl Facts {
    /// Fails if the folder cannot be written to.
    fn of(folder: &Path) -> io::Result<Self> {
        let path = CString::new(folder.as_os_str().as_bytes())?;
        let mut found = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the path ends with a null, and the answer goes into memory of ours.
        let found = unsafe {
            if libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) != 0
                || libc::statvfs(path.as_ptr(), found.as_mut_ptr()) != 0
            {
                return Err(io::Error::last_os_error());
            }
            found.assume_init()
        };
        Ok(Self {
            // their widths differ by system
            #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
            free: u64::from(found.f_bavail).saturating_mul(found.f_frsize as u64),
            runs_programs: runs_programs(&path, &found),
        })
    }

    fn problem(&self) -> Option<String> {
        if !self.runs_programs {
            return Some("is mounted noexec, so that nothing can run from it".into());
        }
        let megabytes = |bytes: u64| bytes / 1_000_000;
        (self.free < NEEDED).then(|| {
            let (free, needed) = (megabytes(self.free), megabytes(NEEDED));
            format!("has {free} MB left, and {needed} MB are needed")
        })
    }
}

#[cfg(not(target_os = "macos"))]
fn runs_programs(_path: &CString, found: &libc::statvfs) -> bool {
    found.f_flag & libc::ST_NOEXEC == 0
}

/// statvfs does not tell it there.
#[cfg(target_os = "macos")]
fn runs_programs(path: &CString, _found: &libc::statvfs) -> bool {
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: as above.
    let told = unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) == 0 };
    // SAFETY: it was filled.
    !told || unsafe { found.assume_init() }.f_flags & (libc::MNT_NOEXEC as u32) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::fs::PermissionsExt,
        sync::atomic::{AtomicU32, Ordering},
    };

    /// A folder that is removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("sidecar-unpacking-{}-{number}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn places(own: Option<&Path>, users: Option<&str>) -> Places {
        Places {
            own: own.map(Path::to_path_buf),
            users: users.map(Into::into),
        }
    }

    fn variables(places: &Places) -> Vec<(String, String)> {
        let mut command = Command::new("true");
        places.tell(&mut command);
        let text = |it: &OsStr| it.to_str().unwrap().to_string();
        command
            .get_envs()
            .map(|(name, value)| (text(name), text(value.unwrap())))
            .collect()
    }

    #[test]
    fn a_sidecar_unpacks_into_the_apps_own_folder_and_knows_the_users() {
        let folder = Folder::new();
        let own = folder.0.join("app/sidecar");
        for (users, told) in [(Some("/the users"), "/the users"), (Some(""), ""), (None, "")] {
            let own_name = own.to_str().unwrap().to_string();
            assert_eq!(
                variables(&places(Some(&own), users)),
                [(USERS_TMPDIR.into(), told.to_string()), (TMPDIR.into(), own_name)],
            );
        }
        let mode = own.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "others see nothing of it");
    }

    #[test]
    fn where_the_apps_own_folder_will_not_do_the_users_is_taken() {
        let folder = Folder::new();
        fs::write(folder.0.join("file"), "").unwrap();
        let places = places(Some(&folder.0.join("file/sidecar")), Some(folder.0.to_str().unwrap()));
        assert_eq!(variables(&places), []);
        assert_eq!(places.problems(), None);
        assert_eq!(variables(&super::tests::places(None, None)), []);
    }

    #[test]
    fn where_no_folder_will_do_it_fails_in_the_apps_own_which_is_tidied() {
        let folder = Folder::new();
        let missing = folder.0.join("missing");
        let places = places(Some(&folder.0), Some(missing.to_str().unwrap()));
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o500)).unwrap();
        let told = variables(&places);
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn where_no_folder_will_do_each_is_named_with_its_reason() {
        let folder = Folder::new();
        fs::write(folder.0.join("file"), "").unwrap();
        let (own, users) = (folder.0.join("file/sidecar"), folder.0.join("missing"));
        let told = places(Some(&own), Some(users.to_str().unwrap())).problems().unwrap();
        let expected = format!(
            "{} cannot be made: Not a directory (os error 20); {} cannot be written to: No such file or directory (os \
             error 2)",
            own.display(),
            users.display()
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn too_little_room_and_noexec_are_problems() {
        let facts = |free, runs_programs| Facts { free, runs_programs }.problem();
        assert_eq!(facts(NEEDED, true), None);
        assert_eq!(facts(3_400_000, true).unwrap(), "has 3 MB left, and 16 MB are needed");
        assert!(facts(NEEDED, false).unwrap().contains("noexec"));
    }

    #[test]
    fn only_what_this_sidecar_has_left_is_removed_and_only_if_nothing_runs_from_it() {
        let folder = Folder::new();
        let names = [
            "_MEI00000123abcdef",
            "_MEI00000124abcdef",
            "_MEI00000123locked",
            "other",
        ];
        for name in names {
            fs::create_dir_all(folder.0.join(name).join("in it")).unwrap();
        }
        let held = fs::File::open(folder.0.join("_MEI00000123locked")).unwrap();
        held.lock().unwrap();
        places(Some(&folder.0), None).tidy(0x123);
        let left: Vec<_> = names.iter().filter(|name| folder.0.join(name).exists()).collect();
        assert_eq!(left, [&"_MEI00000124abcdef", &"_MEI00000123locked", &"other"]);
    }
}
