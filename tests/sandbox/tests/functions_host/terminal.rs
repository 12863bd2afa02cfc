//! The commands in a terminal: colour, and lines that fit it.

use pty_process::{Command, Pty};
use tokio::io::AsyncReadExt as _;

use crate::command::{Running, handler};

const COLUMNS: u16 = 80;

/// <https://man7.org/linux/man-pages/man4/pts.4.html>
const EIO: i32 = 5;

/// Runs a command in a terminal of 80 columns until it ends, or has printed `last`; returns its output.
async fn in_terminal(arguments: &[&str], environment: &[(&str, &str)], last: &str) -> String {
    let temporary = tempfile::tempdir().expect("temp is writable");
    let (mut terminal, inside) = pty_process::open().expect("the system has terminals");
    terminal.resize(pty_process::Size::new(40, COLUMNS)).expect("it is a terminal");
    let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(arguments)
        .env_remove("NO_COLOR")
        // Where it is set, colours count as supported whatever the terminal.
        .env_remove("CI")
        .env("TERM", "xterm")
        .env("TMPDIR", temporary.path())
        .envs(environment.iter().copied())
        .kill_on_drop(true)
        .spawn(inside)
        .expect("cargo has built it");
    let mut got = Vec::new();
    while some_more(&mut terminal, &mut got).await && !String::from_utf8_lossy(&got).contains(last) {}
    child.start_kill().expect("it is a child");
    child.wait().await.expect("it is a child");
    String::from_utf8_lossy(&got).into_owned()
}

/// Reads more output; false once the process has exited and all of its output was read, which Linux reports as EIO.
async fn some_more(terminal: &mut Pty, got: &mut Vec<u8>) -> bool {
    match terminal.read_buf(got).await {
        Ok(read) => read > 0,
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
            false
        }
    }
}

/// The lines without escape sequences; a carriage return begins a line as well.
fn lines(got: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut rest = got;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = sequence.split_once(|letter: char| letter.is_ascii_alphabetic()).map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain.split(['\r', '\n']).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_only_for_terminals_and_not_with_no_color() {
    let (command, last) = (["dataverse", "--port", "0"], "Ctrl-C ends it.");
    let coloured = in_terminal(&command, &[], last).await;
    assert!(coloured.contains("\u{1b}[1m"), "{coloured:?}");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = in_terminal(&command, &[environment], last).await;
        assert!(!plain.contains('\u{1b}'), "{environment:?}: {plain:?}");
    }
    let piped = Running::start(&command);
    piped.line(last).await;
    assert!(!piped.printed().contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_fits_a_terminal_of_80_columns_in_colour() {
    let handler = handler().await;
    let arguments = ["--messages", "200", "--handler", handler.to_str().expect("it is text")];
    let got = in_terminal(&arguments, &[], "with leases 0.").await;
    assert!(got.contains("with leases 0."), "{got}");
    assert!(got.contains("\u{1b}[32m✓"), "{got:?}");
    for line in lines(&got) {
        assert!(line.chars().count() <= usize::from(COLUMNS), "{line}");
    }
}
