//! What `cargo stage` prints after staging: the files, and what to do next. Reads file sizes, otherwise pure.

use std::fs;
use std::path::Path;

use super::check::{Good, Purpose};
use super::layout::LOCAL_SETTINGS;
use super::target::{Machine, Target};
use super::{azd, notices, shown};

const FILES: [&str; 5] =
    ["host.json", "SyncQueue/function.json", "SyncHttp/function.json", notices::FILE, ".funcignore"];

/// The command that builds for any Linux plan on any machine.
const FOR_AZURE: &str = "cargo stage --target x86_64-unknown-linux-musl";

/// The report on the app, and the next command.
pub(super) fn after(app: &Path, name: &str, target: Option<&Target>, purpose: &Purpose, good: &Good) -> String {
    let target = target
        .map_or_else(|| format!("this machine, {} on {}", Machine::THIS.os, Machine::THIS.arch), Target::to_string);
    let stripped = if good.stripped { "stripped" } else { "not stripped: it holds symbols for a debugger" };
    let line = |file: &&str| {
        let bytes = fs::metadata(app.join(file)).map_or(0, |metadata| metadata.len());
        format!("  {file:<26}{bytes} B\n")
    };
    let (size, files): (_, String) = (size(good.bytes), FILES.iter().map(line).collect());
    let glibc = good.library.as_ref().map(|library| format!("glibc    {library}\n")).unwrap_or_default();
    let (app, fits, paths) = (shown(app), fits(purpose), paths(&good.paths));
    let (tried, here) = match &good.started {
        Ok(()) => (
            "it starts here, and its doctor finds nothing wrong with these files".to_owned(),
            format!(
                "
next, on this machine with nothing else installed:
  cargo sandbox up --app {app}
or with Azure Functions Core Tools, and Azurite for storage:
  edit {app}/{LOCAL_SETTINGS}
  func start --script-root {app}
"
            ),
        ),
        Err(why) => (format!("not started here ({why}); its form is what the doctor wants"), String::new()),
    };
    let next = match purpose {
        Purpose::Azure => to_azure(&app, azd::can_publish(purpose, Machine::THIS)),
        Purpose::ThisMachine => format!("for Azure, stage once more:\n  {FOR_AZURE}"),
        Purpose::Arm => format!("copy it there and start it there:\n  func start --script-root {app}"),
    };
    format!(
        "staged {app} for {target}
  {name:<26}{size}, {stripped}
{files}  {LOCAL_SETTINGS:<26}for `func start`, never uploaded
{glibc}paths    {paths}
fits     {fits}
tried    {tried}
{here}
{next}
"
    )
}

/// The commands that create everything in Azure and publish the app; with azd, where it can, they are one.
fn to_azure(app: &str, with_azd: bool) -> String {
    let above = Path::new(app).parent().map_or_else(|| ".".to_owned(), |above| above.display().to_string());
    let azd = format!("next, to Azure, all at once:\n  cd {above} && azd up\nor step by step:\n");
    let start = if with_azd { azd } else { "next, to Azure:\n".to_owned() };
    format!(
        "{start}  az deployment group create --resource-group <group> --template-file functions/infra/main.bicep \
         --parameters dataverseUrl=<https://…>
  func azure functionapp publish <the app that it names> --script-root {app}"
    )
}

fn paths(found: &[String]) -> String {
    if found.is_empty() {
        return "it names no folder of this machine".to_owned();
    }
    format!("it names {}: flags for one target in cargo's configuration replace those of this command", found.join(" "))
}

fn size(bytes: usize) -> String {
    let tenths = bytes * 10 / (1024 * 1024);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn fits(purpose: &Purpose) -> &'static str {
    match purpose {
        Purpose::Azure => "the Linux plans of Azure Functions: Flex Consumption, Premium, Dedicated, Consumption",
        Purpose::Arm => {
            "your own Linux on ARM, with Core Tools or the Functions host; no plan of Azure Functions has ARM"
        }
        Purpose::ThisMachine => "`func start` on this machine; an app on Linux in Azure cannot start it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_for(target: Option<&str>, purpose: &Purpose, started: Result<(), String>) -> String {
        let target = target.map(|text| text.parse::<Target>().expect("sensible"));
        let library = (*purpose != Purpose::ThisMachine).then(|| "none needed: it is static".to_owned());
        let good = Good { bytes: 9_876_543, library, stripped: true, paths: Vec::new(), started };
        let app = super::super::workspace().join("target/functionapp");
        after(&app, "handler", target.as_ref(), purpose, &good)
    }

    #[test]
    fn the_report_names_the_files_and_ends_with_the_command_that_comes_next() {
        let text = text_for(Some("x86_64-unknown-linux-musl"), &Purpose::Azure, Ok(()));
        for line in [
            "staged target/functionapp for x86_64-unknown-linux-musl\n",
            "  handler                   9.4 MiB, stripped\n",
            "glibc    none needed: it is static\n",
            "paths    it names no folder of this machine\n",
            "  cargo sandbox up --app target/functionapp\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        let publish = "func azure functionapp publish <the app that it names> --script-root target/functionapp\n";
        assert!(text.ends_with(publish) && text.contains("az deployment group create"), "{text}");
        assert!(to_azure("target/functionapp", true).contains("\n  cd target && azd up\n"));
        assert!(!to_azure("target/functionapp", false).contains("azd"));
        assert!(paths(&["/home/ada/".to_owned()]).starts_with("it names /home/ada/: flags for one target"));
        let native = text_for(None, &Purpose::ThisMachine, Ok(()));
        assert!(native.ends_with("cargo stage --target x86_64-unknown-linux-musl\n"), "{native}");
        assert!(
            native.contains("func start --script-root target/functionapp") && !native.contains("publish"),
            "{native}"
        );
        let arm = text_for(Some("aarch64-unknown-linux-musl"), &Purpose::Arm, Err("Exec format error".to_owned()));
        assert!(arm.contains("not started here (Exec format error)") && !arm.contains("sandbox up"), "{arm}");
        assert!(arm.contains("no plan of Azure Functions has ARM") && !arm.contains("publish"), "{arm}");
    }
}
