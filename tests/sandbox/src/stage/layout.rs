//! The app's folder: laid out beside the one in use, checked, and renamed into place.
//!
//! # Invariants
//! - A folder with the app's name is complete: an interrupted or rejected copy never has it.
//! - Concurrent stages run in sequence.
//! - The user's own local.settings.json is moved from one app to the next.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::workspace;

/// What `func azure functionapp publish` must not upload: settings with secrets, and files of debuggers and editors.
const FUNCIGNORE: &str = "local.settings.json\nlocal.settings.json.sample\n*.pdb\n.vscode\n.git*\n";

/// The folders under `functions/`, each with its function.json.
const FUNCTIONS: [&str; 2] = ["SyncQueue", "SyncHttp"];

/// The user's settings for `func start`.
pub(super) const LOCAL_SETTINGS: &str = "local.settings.json";

/// Lays out `app` with this executable. Settings that are already there stay.
pub fn lay_out(app: &Path, executable: &Path) -> anyhow::Result<()> {
    let root = workspace();
    fs::create_dir_all(app).with_context(|| format!("creating {}", app.display()))?;
    copy(&root.join("host.json"), &app.join("host.json"))?;
    for function in FUNCTIONS {
        fs::create_dir_all(app.join(function)).with_context(|| format!("creating the folder {function}"))?;
        let file = Path::new(function).join("function.json");
        copy(&root.join("functions").join(&file), &app.join(&file))?;
    }
    // A running handler keeps the old file; the new one replaces it under the same name.
    let staged = app.join(name_of(executable));
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).context("replacing the executable"),
        _ => copy(executable, &staged)?,
    }
    fs::write(app.join(".funcignore"), FUNCIGNORE).context("writing .funcignore")
}

/// The executable's name in the app.
pub(super) fn name_of(executable: &Path) -> &'static str {
    if executable.extension().is_some_and(|extension| extension == "exe") { "handler.exe" } else { "handler" }
}

pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Adds settings for `func start` if there are none: the user's own from the previous app, else the sample.
fn add_local_settings(app: &Path, before: &Path) -> anyhow::Result<()> {
    let root = workspace();
    let places = [before.join(LOCAL_SETTINGS), root.join(LOCAL_SETTINGS), root.join("local.settings.json.sample")];
    let from = places.iter().find(|place| place.is_file()).context("local.settings.json.sample is missing")?;
    copy(from, &app.join(LOCAL_SETTINGS))
}

/// The right to replace an app, held until it is dropped.
#[derive(Debug)]
pub(super) struct Site {
    app: PathBuf,
    _lock: File,
}

impl Site {
    /// Waits for other stages to finish and cleans up after a killed one.
    pub(super) fn enter(app: &Path) -> anyhow::Result<Self> {
        let above = app.parent().context("an app's folder lies in another one")?;
        fs::create_dir_all(above).with_context(|| format!("creating {}", above.display()))?;
        let path = beside(app, "lock");
        let lock = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        lock.lock().with_context(|| format!("locking {}", path.display()))?;
        let site = Self { app: app.to_owned(), _lock: lock };
        if !app.exists() && site.old().exists() {
            fs::rename(site.old(), app).context("putting back the app that was there")?;
        }
        remove(&site.old())?;
        remove(&site.new_app())?;
        Ok(site)
    }

    /// Where the next app is laid out.
    pub(super) fn new_app(&self) -> PathBuf {
        beside(&self.app, "new")
    }

    fn old(&self) -> PathBuf {
        beside(&self.app, "old")
    }

    /// Lays out the next app with the current app's settings.
    pub(super) fn prepare(&self, executable: &Path) -> anyhow::Result<PathBuf> {
        let app = self.new_app();
        lay_out(&app, executable)?;
        add_local_settings(&app, &self.app)?;
        Ok(app)
    }

    /// Renames the next app into place.
    pub(super) fn replace(&self) -> anyhow::Result<()> {
        let held = || format!("replacing {}; does `func start` run in it?", self.app.display());
        match fs::rename(&self.app, self.old()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(held),
            _ => fs::rename(self.new_app(), &self.app).with_context(held)?,
        }
        remove(&self.old())
    }

    /// Deletes the next app; returns whether a previous one exists.
    pub(super) fn discard(&self) -> anyhow::Result<bool> {
        remove(&self.new_app())?;
        Ok(self.app.exists())
    }
}

fn beside(app: &Path, what: &str) -> PathBuf {
    app.with_extension(what)
}

pub(super) fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    /// A folder, the app in it that is to be staged, and an executable.
    fn scene() -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let (app, executable) = (folder.path().join("app"), folder.path().join("built"));
        fs::write(&executable, "one").expect("writable");
        (folder, app, executable)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).expect("readable")
    }

    fn stage(app: &Path, executable: &Path) {
        let site = Site::enter(app).expect("free");
        site.prepare(executable).expect("laid out");
        site.replace().expect("replaced");
    }

    #[test]
    fn the_app_has_the_layout_that_the_host_requires() {
        let (_folder, app, executable) = scene();
        let mut permissions = fs::metadata(&executable).expect("it exists").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&executable, permissions.clone()).expect("ours");
        lay_out(&app, &executable).expect("laid out");
        for file in ["host.json", "handler", "SyncQueue/function.json", "SyncHttp/function.json", ".funcignore"] {
            assert!(app.join(file).is_file(), "{file}");
        }
        assert!(read(&app.join(".funcignore")).lines().any(|line| line == LOCAL_SETTINGS));
        let copied = fs::metadata(app.join("handler")).expect("it exists").permissions();
        assert_eq!(copied, permissions, "the executable bit is one of them");
        let error = lay_out(&app, Path::new("nowhere")).expect_err("there is no such executable");
        assert!(format!("{error:#}").contains("copying nowhere to "), "{error:#}");
    }

    #[test]
    fn the_next_app_replaces_the_previous_one_and_keeps_its_settings() {
        let (folder, app, executable) = scene();
        stage(&app, &executable);
        assert!(read(&app.join(LOCAL_SETTINGS)).contains("DATAVERSE_URL"), "the sample");
        fs::write(app.join(LOCAL_SETTINGS), "mine").expect("writable");
        fs::write(app.join("left.over"), "").expect("writable");
        fs::write(&executable, "two").expect("writable");
        stage(&app, &executable);
        assert_eq!(
            (read(&app.join("handler")), read(&app.join(LOCAL_SETTINGS))),
            ("two".to_owned(), "mine".to_owned())
        );
        assert!(!app.join("left.over").exists(), "what is staged is what is uploaded");
        assert!(!folder.path().join("app.new").exists() && !folder.path().join("app.old").exists());
    }

    #[test]
    fn a_killed_stage_leaves_a_complete_app_or_none() {
        let (folder, app, executable) = scene();
        let (next, old) = (folder.path().join("app.new"), folder.path().join("app.old"));
        // Killed while copying.
        fs::create_dir_all(&next).expect("writable");
        drop(Site::enter(&app).expect("free"));
        assert!(!app.exists() && !next.exists());
        // Killed between the two steps of replacing.
        fs::create_dir_all(&old).expect("writable");
        fs::write(old.join(LOCAL_SETTINGS), "mine").expect("writable");
        drop(Site::enter(&app).expect("free"));
        assert_eq!(read(&app.join(LOCAL_SETTINGS)), "mine");
        stage(&app, &executable);
        assert_eq!(read(&app.join(LOCAL_SETTINGS)), "mine");
    }

    #[test]
    fn a_second_stage_waits_until_the_first_is_done() {
        let (_folder, app, executable) = scene();
        let first = Site::enter(&app).expect("free");
        let (entered, second) = mpsc::channel();
        let other = app.clone();
        let thread = thread::spawn(move || {
            let _site = Site::enter(&other).expect("free at last");
            entered.send(read(&other.join("handler"))).expect("the receiver is open");
        });
        first.prepare(&executable).expect("laid out");
        first.replace().expect("replaced");
        assert!(second.try_recv().is_err(), "it waits");
        drop(first);
        assert_eq!(second.recv().expect("it enters"), "one");
        thread.join().expect("no panic");
    }
}
