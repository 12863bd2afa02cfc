//! The handler on a terminal of its own.

use pty_process::{Command, Pty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

/// <https://man7.org/linux/man-pages/man4/pts.4.html>
const EIO: i32 = 5;

/// A running command; dropping it kills it.
pub(crate) struct Terminal {
    pty: Pty,
    handler: Child,
    pub(crate) printed: Vec<u8>,
}

impl Terminal {
    /// Starts the handler with only these settings as its environment, on so many columns.
    pub(crate) fn start(columns: u16, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let (pty, inside) = pty_process::open().expect("the system has terminals");
        pty.resize(pty_process::Size::new(24, columns)).expect("it is a terminal");
        let command = Command::new(crate::handler()).args(arguments).env_clear().env("TERM", "xterm");
        let command = command.envs(settings.iter().copied()).kill_on_drop(true);
        let handler = command.spawn(inside).expect("the handler can be started");
        Self { pty, handler, printed: Vec::new() }
    }

    /// Reads more output; false once the process has exited and all of its output was read, which Linux reports as EIO.
    pub(crate) async fn read(&mut self) -> bool {
        match self.pty.read_buf(&mut self.printed).await {
            Ok(read) => read > 0,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EIO), "{error}");
                false
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    pub(crate) async fn type_in(&mut self, text: &str) {
        self.pty.write_all(text.as_bytes()).await.expect("the handler reads");
    }

    /// The output from the last clearing of `printed` to the end, and the exit code.
    pub(crate) async fn end(mut self) -> (String, Option<i32>) {
        while self.read().await {}
        let ended = self.handler.wait().await.expect("it ends");
        (self.text(), ended.code())
    }
}
