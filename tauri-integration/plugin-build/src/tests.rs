use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{json, Value};

use super::{config::Config, output_of, Build, Placed};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PACKAGE: &str = "@tauri-sidecar/linux-x64-gnu/sidecar";

fn config(external: &[&str], services: Value) -> Config {
    let value = json!({"bundle": {"externalBin": external}, "plugins": {"sidecar": {"services": services}}});
    Config {
        value,
        files: Vec::new(),
    }
}

/// A folder of its own for a test, and gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "sidecar-build-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        file
    }

    /// A program. `cp` writes it, because a file that is open for writing cannot be run (ETXTBSY). If we wrote it, a
    /// process that another test has just forked would keep it open for a moment.
    #[cfg(unix)]
    fn put_program(&self, name: &str, text: &str) -> PathBuf {
        let source = self.put(&format!("{name}.source"), text);
        let file = self.0.join(name);
        let copied = std::process::Command::new("cp").arg(source).arg(&file).status();
        assert!(copied.unwrap().success());
        super::make_executable(&file).unwrap();
        file
    }

    fn build(&self) -> Build {
        Build {
            folder: self.0.join("app/src-tauri"),
            target: TARGET.into(),
            host: TARGET.into(),
            name: "my-app".into(),
            release: false,
            config: config(&["binaries/sidecar"], json!({"api": {"type": "command"}})),
            output: Some(self.0.join("target/debug")),
            named: None,
            virtual_env: None,
            path: Vec::new(),
        }
    }

    fn placed(&self) -> String {
        fs::read_to_string(self.place()).unwrap()
    }

    fn place(&self) -> PathBuf {
        self.0.join(format!("app/src-tauri/binaries/sidecar-{TARGET}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn npms_package_is_found_beside_the_app_and_above_it() {
    for modules in ["app/node_modules", "node_modules"] {
        let folder = Folder::new();
        let file = folder.put(&format!("{modules}/{PACKAGE}"), "npm");
        assert_eq!(folder.build().place(), Ok(Placed::From(file)));
        assert_eq!(folder.placed(), "npm");
    }
}

#[test]
fn the_package_of_a_front_end_beside_the_app_is_found() {
    for front in ["app/ui", "app/apps/web"] {
        let folder = Folder::new();
        folder.put("app/src-tauri/Cargo.toml", "");
        folder.put("app/dist/node_modules/@tauri-sidecar/linux-x64-gnu/sidecar", "built");
        let list = folder.put(&format!("{front}/node_modules/.package-lock.json"), "{}");
        folder.put(&format!("{front}/node_modules/{PACKAGE}"), "front");
        folder.build().place().unwrap();
        assert_eq!(folder.placed(), "front");
        assert_eq!(folder.build().lists_of_packages().collect::<Vec<_>>(), [list]);
    }
}

#[test]
fn another_project_beside_an_app_without_src_tauri_is_not_searched() {
    let folder = Folder::new();
    folder.put(&format!("other/node_modules/{PACKAGE}"), "another project's");
    let build = Build {
        folder: folder.0.join("app"),
        ..folder.build()
    };
    assert_eq!(build.place(), Ok(Placed::Placeholder));
}

#[test]
fn yarns_package_is_found_where_it_is_unplugged() {
    let folder = Folder::new();
    let unplugged = "app/.yarn/unplugged";
    folder.put(
        &format!("{unplugged}/@tauri-sidecar-linux-x64-gnu-npm-0.1.0-fc5d/node_modules/{PACKAGE}"),
        "yarn",
    );
    folder.put(&format!("{unplugged}/esbuild-npm-0.27.0-1a2b/node_modules/x"), "");
    folder.build().place().unwrap();
    assert_eq!(folder.placed(), "yarn");
}

#[cfg(unix)]
#[test]
fn pnpms_package_is_found_beside_what_the_link_leads_to() {
    let folder = Folder::new();
    let store = "app/node_modules/.pnpm/tauri-sidecar@0.1.0/node_modules";
    folder.put(&format!("{store}/{PACKAGE}"), "pnpm");
    folder.put(&format!("{store}/tauri-sidecar/package.json"), "{}");
    let link = folder.0.join("app/node_modules/tauri-sidecar");
    std::os::unix::fs::symlink(".pnpm/tauri-sidecar@0.1.0/node_modules/tauri-sidecar", link).unwrap();
    folder.build().place().unwrap();
    assert_eq!(folder.placed(), "pnpm");
}

#[test]
fn a_python_environment_is_searched_only_for_this_machine() {
    for place in ["lib/python3.12/site-packages", "Lib/site-packages"] {
        let folder = Folder::new();
        folder.put(&format!("app/.venv/{place}/tauri_sidecar_bin/sidecar"), "pip");
        folder.build().place().unwrap();
        assert_eq!(folder.placed(), "pip");

        let foreign = Build {
            host: "aarch64-apple-darwin".into(),
            release: true,
            ..folder.build()
        };
        fs::remove_file(folder.place()).unwrap();
        assert!(foreign.place().is_err());
    }
}

#[test]
fn the_active_environment_comes_before_the_projects() {
    let folder = Folder::new();
    folder.put(
        "app/.venv/lib/python3.12/site-packages/tauri_sidecar_bin/sidecar",
        "project",
    );
    folder.put(
        "active/lib/python3.13/site-packages/tauri_sidecar_bin/sidecar",
        "active",
    );
    let build = Build {
        virtual_env: Some(folder.0.join("active")),
        ..folder.build()
    };
    build.place().unwrap();
    assert_eq!(folder.placed(), "active");
}

#[test]
fn the_named_file_comes_first_and_has_to_be_there() {
    let folder = Folder::new();
    folder.put(&format!("app/node_modules/{PACKAGE}"), "npm");
    let named = folder.put("mine", "mine");
    Build {
        named: Some(named),
        ..folder.build()
    }
    .place()
    .unwrap();
    assert_eq!(folder.placed(), "mine");
    let problem = Build {
        named: Some(folder.0.join("gone")),
        ..folder.build()
    }
    .place()
    .unwrap_err();
    assert!(
        problem.starts_with("SIDECAR_BINARY names ") && problem.ends_with(", which is no file"),
        "{problem}"
    );
}

#[test]
fn an_update_of_the_package_replaces_the_binary() {
    let folder = Folder::new();
    folder.put(&format!("app/node_modules/{PACKAGE}"), "new");
    folder.put(&format!("app/src-tauri/binaries/sidecar-{TARGET}"), "old");
    folder.build().place().unwrap();
    assert_eq!(folder.placed(), "new");
}

#[test]
fn an_install_has_the_build_script_run_again() {
    let folder = Folder::new();
    let npm = folder.put("app/node_modules/.package-lock.json", "{}");
    let pnpm = folder.put("node_modules/.modules.yaml", "");
    assert_eq!(folder.build().lists_of_packages().collect::<Vec<_>>(), [npm, pnpm]);
}

#[test]
fn a_binary_that_is_the_same_is_not_written_again() {
    let folder = Folder::new();
    folder.put(&format!("app/node_modules/{PACKAGE}"), "same");
    folder.build().place().unwrap();
    let before = fs::metadata(folder.place()).unwrap().modified().unwrap();
    folder.build().place().unwrap();
    assert_eq!(fs::metadata(folder.place()).unwrap().modified().unwrap(), before);
}

#[test]
fn a_binary_that_init_put_there_stays_if_nothing_is_installed() {
    let folder = Folder::new();
    let file = folder.put(&format!("app/src-tauri/binaries/sidecar-{TARGET}"), "init");
    let release = Build {
        release: true,
        ..folder.build()
    };
    assert_eq!(release.place(), Ok(Placed::From(file)));
    assert_eq!(folder.placed(), "init");
}

#[test]
fn a_debug_build_without_a_binary_gets_a_placeholder() {
    let folder = Folder::new();
    assert_eq!(folder.build().place(), Ok(Placed::Placeholder));
    assert_eq!(folder.placed(), "");
}

#[test]
fn a_release_fails_with_what_to_install_also_over_a_placeholder() {
    let folder = Folder::new();
    folder.build().place().unwrap();
    let problem = Build {
        release: true,
        ..folder.build()
    }
    .place()
    .unwrap_err();
    assert!(problem.contains("npm install --save-dev tauri-sidecar"), "{problem}");
    assert!(problem.contains("uvx tauri-sidecar init"), "{problem}");
    assert!(problem.contains(TARGET), "{problem}");
}

#[test]
fn a_phone_gets_nothing() {
    for target in ["aarch64-linux-android", "aarch64-apple-ios", "aarch64-apple-ios-sim"] {
        let folder = Folder::new();
        let build = Build {
            target: target.into(),
            release: true,
            ..folder.build()
        };
        assert_eq!(build.place(), Ok(Placed::Nothing));
        assert!(!folder.0.join("app").exists());
    }
}

#[cfg(unix)]
#[test]
fn of_path_only_the_binary_is_taken_and_never_pips_script() {
    let folder = Folder::new();
    folder.put_program("scripts/sidecar", "#!/bin/sh\necho sidecar 0.1.0\n");
    let padding = "#".repeat(1_000_000);
    let binary = folder.put_program(
        "bin/sidecar",
        &format!("#!/bin/sh\necho sidecar 0.1.0; exit\n{padding}"),
    );
    folder.put_program(
        "other/sidecar",
        &format!("#!/bin/sh\necho something else; exit\n{padding}"),
    );
    let path = |names: &[&str]| names.iter().map(|name| folder.0.join(name)).collect::<Vec<_>>();
    let found = Build {
        path: path(&["scripts", "other", "bin"]),
        ..folder.build()
    };
    assert_eq!(found.on_path(), Some(binary));
    let none = Build {
        path: [path(&["scripts", "other"]), vec![PathBuf::from("bin")]].concat(),
        ..folder.build()
    };
    assert_eq!(none.on_path(), None);
}

#[cfg(unix)]
#[test]
fn a_script_of_path_leads_to_the_binary_of_its_environment() {
    let folder = Folder::new();
    let script = folder.put("tools/tauri-sidecar/bin/sidecar", "#!python\n");
    let packages = "tools/tauri-sidecar/lib/python3.12/site-packages";
    let binary = folder.put(&format!("{packages}/tauri_sidecar_bin/sidecar"), "uv tool");
    fs::create_dir(folder.0.join("bin")).unwrap();
    std::os::unix::fs::symlink(script, folder.0.join("bin/sidecar")).unwrap();
    let build = Build {
        path: vec![folder.0.join("bin")],
        ..folder.build()
    };
    assert_eq!(build.place(), Ok(Placed::From(fs::canonicalize(binary).unwrap())));
    assert_eq!(folder.placed(), "uv tool");
}

#[cfg(unix)]
#[test]
fn the_binary_may_be_executed() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    folder.put(&format!("app/node_modules/{PACKAGE}"), "npm");
    folder.build().place().unwrap();
    assert_eq!(
        fs::metadata(folder.place()).unwrap().permissions().mode() & 0o777,
        0o755
    );
}

#[test]
fn the_binary_may_be_named_after_the_app() {
    let folder = Folder::new();
    folder.put(&format!("app/node_modules/{PACKAGE}"), "npm");
    let build = Build {
        config: config(&["binaries/ffmpeg", "binaries/my-app-sidecar"], json!({})),
        ..folder.build()
    };
    build.place().unwrap();
    let placed = folder.0.join(format!("app/src-tauri/binaries/my-app-sidecar-{TARGET}"));
    assert_eq!(fs::read_to_string(placed).unwrap(), "npm");
    assert!(!folder.place().exists());
}

#[test]
fn a_release_that_starts_nothing_needs_no_binary() {
    let services = json!({
        "web": {"type": "vite"},
        "api": {"type": "command", "release": false},
        "docs": {"type": "astro", "release": null},
    });
    for (external, placed) in [
        (vec!["binaries/sidecar"], Placed::Placeholder),
        (vec![], Placed::Nothing),
    ] {
        let folder = Folder::new();
        let build = Build {
            config: config(&external, services.clone()),
            release: true,
            ..folder.build()
        };
        assert_eq!(build.place(), Ok(placed));
    }
}

#[test]
fn a_release_that_starts_something_has_to_name_the_sidecar() {
    let folder = Folder::new();
    folder.put(&format!("app/node_modules/{PACKAGE}"), "npm");
    let release = Build {
        config: config(
            &["binaries/ffmpeg"],
            json!({
                "api": {"type": "task"},
                "web": {"type": "vite", "release": {"type": "command", "command": ["serve"]}},
            }),
        ),
        release: true,
        ..folder.build()
    };
    let problem = release.place().unwrap_err();
    assert!(
        problem.starts_with("a release of this app starts api and web, and "),
        "{problem}"
    );
    assert!(problem.ends_with("add \"binaries/my-app-sidecar\" to it"), "{problem}");
    let dev = Build {
        release: false,
        ..release
    };
    dev.place().unwrap();
    let beside = folder.0.join("target/debug/my-app-sidecar");
    assert_eq!(fs::read_to_string(beside).unwrap(), "npm");
}

#[test]
fn a_build_for_development_has_the_binary_where_no_release_ships_it() {
    let folder = Folder::new();
    let build = |release| Build {
        config: config(&[], json!({"web": {"type": "vite"}})),
        release,
        ..folder.build()
    };
    let kept = format!("app/src-tauri/binaries/my-app-sidecar-{TARGET}");
    let places = [folder.0.join(&kept), folder.0.join("target/debug/my-app-sidecar")];
    let placed = || places.each_ref().map(|place| fs::read_to_string(place).ok());

    assert_eq!(build(true).place(), Ok(Placed::Nothing));
    assert_eq!(placed(), [None, None]);
    assert_eq!(build(false).place(), Ok(Placed::Placeholder));
    assert_eq!(placed(), [Some(String::new()), Some(String::new())]);
    let file = folder.put(&kept, "what init has put there");
    assert_eq!(build(false).place(), Ok(Placed::From(file)));
    assert_eq!(placed(), ["what init has put there"; 2].map(|text| Some(text.into())));
    let file = folder.put(&format!("app/node_modules/{PACKAGE}"), "npm");
    assert_eq!(build(false).place(), Ok(Placed::From(file)));
    assert_eq!(placed(), ["npm"; 2].map(|text| Some(text.into())));
}

#[test]
fn the_configuration_is_read_as_tauri_reads_it() {
    let folder = Folder::new();
    folder.put(
        "app/src-tauri/tauri.conf.json5",
        "{ // a comment\n identifier: 'a.b', bundle: {externalBin: ['binaries/a-sidecar']} }",
    );
    folder.put(
        "app/src-tauri/tauri.linux.conf.json",
        r#"{"plugins": {"sidecar": {"services": {"api": {"type": "command"}}}}}"#,
    );
    let place = folder.0.join("app/src-tauri");
    let found = Config::read(&place, TARGET, None);
    assert_eq!(found.external_bin(), Some("binaries/a-sidecar"));
    assert_eq!(found.released(), ["api"]);
    assert_eq!(found.files.len(), 2);
    let more =
        r#"{"bundle": {"externalBin": null}, "plugins": {"sidecar": {"services": {"api": {"release": false}}}}}"#;
    let found = Config::read(&place, TARGET, Some(more));
    assert_eq!(found.external_bin(), None);
    assert!(found.released().is_empty());
    assert_eq!(Config::read(&folder.0, TARGET, None).external_bin(), None);
}

#[test]
fn the_apps_own_binary_is_beside_the_folder_build_in_each_layout_of_cargo() {
    for out in ["app-0123456789abcdef/out", "app/0123456789abcdef/out"] {
        let out = Path::new("build/target/debug/build").join(out);
        assert_eq!(output_of(&out), Some(PathBuf::from("build/target/debug")));
    }
    assert_eq!(output_of(Path::new("elsewhere/out")), None);
}

#[test]
fn a_release_without_a_sidecar_warns_only_where_services_may_be_set_in_rust() {
    let folder = Folder::new();
    let warning = |release, external: &[&str], services| {
        let build = Build {
            release,
            config: config(external, services),
            ..folder.build()
        };
        build.unnamed()
    };
    let told = warning(true, &[], Value::Null).unwrap();
    assert!(
        told.contains("\"binaries/my-app-sidecar\" to bundle.externalBin"),
        "{told}"
    );
    assert_eq!(warning(false, &[], Value::Null), None);
    assert_eq!(warning(true, &["binaries/sidecar"], Value::Null), None);
    assert_eq!(warning(true, &[], json!({"web": {"type": "vite"}})), None);
}

#[cfg(unix)]
#[test]
fn a_mac_app_that_ships_no_sidecar_gets_no_folder_of_it() {
    let folder = Folder::new();
    let binary = folder.0.join("binary");
    // written by another process: a test beside this one may fork while it is open here, and it could not be run
    let write = "printf '#!/bin/sh\\nmkdir -p \"$2\"\\n' > \"$0\" && chmod 755 \"$0\"";
    let done = std::process::Command::new("sh")
        .args(["-c", write])
        .arg(&binary)
        .status();
    assert!(done.unwrap().success());
    for external in [&["binaries/sidecar"][..], &[]] {
        let build = Build {
            target: "aarch64-apple-darwin".into(),
            config: config(external, Value::Null),
            ..folder.build()
        };
        build.place_folder(&Placed::From(binary.clone()));
        let made = build.folder.join("binaries/sidecar-folder/aarch64");
        assert_eq!(made.is_dir(), !external.is_empty());
    }
}
