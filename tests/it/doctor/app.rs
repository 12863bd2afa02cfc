//! The app that the doctor checks: its files and its settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sandbox::world::World;
use serde_json::Value;

use crate::command::{CommandOutput, command};

/// The app's folder and the world's settings.
pub(super) struct App {
    settings: BTreeMap<String, String>,
    folder: PathBuf,
}

impl App {
    pub(super) fn of(world: &World) -> Self {
        Self { settings: world.settings.clone(), folder: world.app().to_owned() }
    }

    /// Runs the doctor in the app's folder with the world's settings, overridden by these; an empty value unsets one.
    pub(super) async fn run(&self, arguments: &[&str], settings: &[(&str, &str)]) -> CommandOutput {
        let app = self.folder.to_str().expect("the temporary folder's name is text").to_owned();
        self.run_in(&app, arguments, settings).await
    }

    pub(super) async fn run_in(&self, folder: &str, arguments: &[&str], overrides: &[(&str, &str)]) -> CommandOutput {
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings = settings.chain(overrides.iter().copied());
        let mut command = command(&[&["doctor"], arguments].concat(), settings);
        command.current_dir(folder);
        CommandOutput::of(command).await
    }

    /// Runs the doctor, which must exit with 1, and returns the failed checks with their findings.
    pub(super) async fn wrong(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Vec<(String, String)> {
        let output = self.run(&[&["--json"], arguments].concat(), settings).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        let report = output.json();
        let findings = report["findings"].as_array().expect("findings");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let wrong = findings.iter().filter(|finding| finding["verdict"] == "wrong");
        let wrong = wrong.map(|finding| {
            assert!(finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{finding}");
            (text(&finding["check"]), text(&finding["found"]))
        });
        wrong.collect()
    }

    /// The path of a file of the app.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}
