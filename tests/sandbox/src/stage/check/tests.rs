use serde_json::json;
use tempfile::TempDir;

use super::*;

const LINUX: Machine = Machine { os: "linux", arch: "x86_64" };

fn app(handler: &[u8]) -> TempDir {
    let app = tempfile::tempdir().expect("the temporary folder is writable");
    fs::write(app.path().join("handler"), handler).expect("writable");
    app
}

fn refused(bytes: &[u8], purpose: &Purpose) -> String {
    let app = app(bytes);
    format!("{:#}", check(app.path(), "handler", purpose, false).expect_err("it is refused"))
}

#[cfg(unix)]
fn script(text: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let app = app(format!("#!/bin/sh\n{text}\n").as_bytes());
    fs::set_permissions(app.path().join("handler"), fs::Permissions::from_mode(0o755)).expect("ours");
    app
}

#[test]
fn a_build_is_for_azure_if_azure_has_such_machines() {
    let of = |text: Option<&str>, machine| {
        Purpose::of(text.map(|text| text.parse::<Target>().expect("sensible")).as_ref(), machine)
    };
    let mac = Machine { os: "macos", arch: "aarch64" };
    assert_eq!(of(None, LINUX), Purpose::Azure);
    assert_eq!(of(None, mac), Purpose::ThisMachine);
    assert_eq!(of(None, Machine { os: "linux", arch: "aarch64" }), Purpose::ThisMachine);
    assert_eq!(of(Some("x86_64-unknown-linux-musl"), mac), Purpose::Azure);
    assert_eq!(of(Some("aarch64-unknown-linux-musl"), mac), Purpose::Arm);
}

#[test]
fn an_executable_that_linux_cannot_start_is_rejected() {
    for purpose in [Purpose::Azure, Purpose::Arm] {
        assert!(refused(b"MZ", &purpose).contains("is not an ELF executable"));
        assert!(refused(b"\x7fELF\x02\x01", &purpose).contains("is truncated"));
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn an_executable_for_another_processor_is_rejected() {
    let bytes = fs::read(std::env::current_exe().expect("it runs")).expect("readable");
    assert!(refused(&bytes, &Purpose::Arm).contains("not for 64-bit ARM"));
    let mut other = bytes;
    // e_machine: AArch64.
    other[18] = 183;
    let message = refused(&other, &Purpose::Azure);
    assert!(message.contains("another processor") && message.contains("→ cargo stage --target"), "{message}");
}

#[cfg(unix)]
#[test]
fn findings_of_the_doctor_about_the_files_are_shown_with_the_remedy() {
    let report = json!({"findings": [
        {"check": "settings", "verdict": "wrong", "found": "DATAVERSE_URL is missing", "remedy": "set it"},
        {"check": "redelivery", "verdict": "wrong", "found": "visibilityTimeout is 0", "remedy": "set it to 30 s"},
        {"check": "forwarding", "verdict": "good", "found": "as they are"},
        {"check": "glibc", "verdict": "wrong", "found": "it needs 2.99", "remedy": "build again"},
        {"check": "token", "verdict": "not_tried", "found": "because of settings"},
    ]});
    let app = script(&format!("echo '{report}'"));
    let message = check(app.path(), "handler", &Purpose::ThisMachine, true).expect_err("it is refused").to_string();
    assert_eq!(message, "its doctor refuses it:\n  redelivery: visibilityTimeout is 0\n  → set it to 30 s");
    assert_eq!(wrong(&report, false).len(), 2, "here the form counts too");
}

#[cfg(unix)]
#[test]
fn an_executable_that_does_not_start_is_rejected_only_if_it_was_built_for_this_machine() {
    let app = script("echo 'GLIBC_2.99 not found' >&2; exit 1");
    let message = check(app.path(), "handler", &Purpose::ThisMachine, true).expect_err("it is refused").to_string();
    assert!(message.starts_with("it does not start") && message.ends_with("GLIBC_2.99 not found"), "{message}");
    let good = check(app.path(), "handler", &Purpose::ThisMachine, false).expect("another machine's");
    assert!(good.started.expect_err("it was not started").contains("GLIBC_2.99"));
}

#[cfg(unix)]
#[test]
fn the_doctor_is_started_without_the_settings_of_this_process() {
    // Prints JSON only if the environment has nothing except what the shell itself sets.
    let app = script(r#"[ -z "$(env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= )" ] && echo '{"findings":[]}'"#);
    let good = check(app.path(), "handler", &Purpose::ThisMachine, true).expect("nothing is wrong");
    assert_eq!((good.library, good.started), (None, Ok(())));
}
