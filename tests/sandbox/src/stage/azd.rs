//! What `azd up` needs beside the staged app: azure.yaml, and a copy of the infrastructure and of the queries that it loads.
//!
//! azd is run in the folder of azure.yaml: `project` and `infra.path` are relative to that file, and `dist` of a custom
//! language is relative to the folder in which azd runs. Both files lie beside the app, so they are not uploaded with it.
//! They are only there when azd can publish the app that is staged: one for Azure, and not from Windows, where the zip
//! that azd makes has no executable bit.
//!
//! <https://learn.microsoft.com/azure/developer/azure-developer-cli/azd-schema>

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::check::Purpose;
use super::layout::{copy, remove};
use super::target::Machine;
use super::workspace;

/// The service's name in azure.yaml; app.bicep tags the function app with it.
pub const SERVICE: &str = "sync";

/// The file that azd looks for.
const PROJECT: &str = "azure.yaml";

/// The infrastructure, in the repository and beside the app.
const INFRA: &str = "infra";

/// The queries, which templates load from above their folder.
pub const QUERIES: &str = "queries.kql";

/// Whether azd can publish an app for this purpose from this machine.
pub(super) fn can_publish(purpose: &Purpose, machine: Machine) -> bool {
    *purpose == Purpose::Azure && machine.os != "windows"
}

/// Writes azure.yaml and the infrastructure beside `app`.
pub(super) fn add(app: &Path) -> anyhow::Result<()> {
    let (above, name) = parts(app)?;
    let (functions, copied) = (workspace().join("functions"), above.join(INFRA));
    remove(&copied)?;
    fs::create_dir_all(&copied).with_context(|| format!("creating {}", copied.display()))?;
    for file in fs::read_dir(functions.join(INFRA)).context("reading functions/infra")? {
        let file = file?;
        copy(&file.path(), &copied.join(file.file_name()))?;
    }
    copy(&functions.join(QUERIES), &above.join(QUERIES))?;
    fs::write(above.join(PROJECT), project(name)).context("writing azure.yaml")
}

/// Removes what [`add`] has written.
pub(super) fn remove_from(app: &Path) -> anyhow::Result<()> {
    let (above, _) = parts(app)?;
    for file in [PROJECT, QUERIES] {
        match fs::remove_file(above.join(file)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {file}"));
            }
            _ => (),
        }
    }
    remove(&above.join(INFRA))
}

fn parts(app: &Path) -> anyhow::Result<(PathBuf, &str)> {
    let name = app.file_name().and_then(|name| name.to_str()).context("the app's folder has a name")?;
    Ok((app.parent().context("an app's folder lies in another one")?.to_owned(), name))
}

fn project(app: &str) -> String {
    format!(
        "# Written by `cargo stage`, as is {INFRA}/: change functions/{INFRA} instead. Run `azd up` in this folder.
name: dataverse-sync
requiredVersions:
  azd: '>= 1.20.0'
infra:
  provider: bicep
  path: {INFRA}
services:
  {SERVICE}:
    host: function
    language: custom
    project: {app}
    dist: {app}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azd_finds_the_app_and_the_infrastructure_beside_it_and_uploads_neither() {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let app = folder.path().join("functionapp");
        fs::create_dir_all(folder.path().join("infra")).expect("writable");
        fs::write(folder.path().join("infra/old.bicep"), "").expect("writable");
        add(&app).expect("written");
        let text = fs::read_to_string(folder.path().join("azure.yaml")).expect("readable");
        for line in [
            "  path: infra",
            "  sync:",
            "    host: function",
            "    language: custom",
            "    project: functionapp",
            "    dist: functionapp",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        for file in ["main.bicep", "main.parameters.json"] {
            let copied = fs::read(folder.path().join("infra").join(file)).expect("readable");
            assert_eq!(copied, fs::read(workspace().join("functions/infra").join(file)).expect("readable"), "{file}");
        }
        assert!(!folder.path().join("infra/old.bicep").exists() && !app.exists());
        remove_from(&app).expect("removed");
        remove_from(&app).expect("there is nothing to remove");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    }

    #[test]
    fn azd_publishes_apps_for_azure_from_machines_that_keep_the_executable_bit() {
        let machine = |os| Machine { os, arch: "x86_64" };
        assert!(can_publish(&Purpose::Azure, machine("linux")) && can_publish(&Purpose::Azure, machine("macos")));
        assert!(!can_publish(&Purpose::Azure, machine("windows")));
        assert!(!can_publish(&Purpose::ThisMachine, machine("macos")) && !can_publish(&Purpose::Arm, machine("linux")));
    }
}
