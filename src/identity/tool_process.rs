//! Runs a developer tool as a process and reads what it prints up to a cap. The SDK's own executor reads all of it, and leaves a tool
//! running that nothing waits for any more.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::process::{Output, Stdio};

use async_trait::async_trait;
use azure_identity::Executor;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// Runs tools that print at most `output_cap` bytes, to stdout and to stderr each.
#[derive(Debug)]
pub(super) struct ToolProcess {
    pub(super) output_cap: usize,
}

#[async_trait]
impl Executor for ToolProcess {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let output = async { tokio::try_join!(read(stdout, self.output_cap), read(stderr, self.output_cap)) };
        let (stdout, stderr) = output.await?;
        Ok(Output { status: child.wait().await?, stdout, stderr })
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>, cap: usize) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let Some(stream) = stream else { return Ok(output) };
    // One byte more shows that there is more.
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    stream.take(limit).read_to_end(&mut output).await?;
    if output.len() > cap { Err(io::Error::new(ErrorKind::InvalidData, "it prints too much")) } else { Ok(output) }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const CAP: usize = 64 * 1024;

    async fn run(script: &str) -> io::Result<Output> {
        let arguments = ["-c", script].map(OsStr::new);
        ToolProcess { output_cap: CAP }.run(OsStr::new("/bin/sh"), &arguments).await
    }

    #[tokio::test]
    async fn what_a_tool_prints_is_read_up_to_the_cap() {
        for (size, fits) in [(CAP, true), (CAP + 1, false)] {
            for stream in ["", ">&2"] {
                let output = run(&format!("head -c {size} /dev/zero {stream}; exit 3")).await;
                let found = output.map(|output| (output.status.code(), output.stdout.len() + output.stderr.len()));
                assert_eq!(found.ok(), fits.then_some((Some(3), CAP)), "{size} {stream}");
            }
        }
    }

    #[tokio::test]
    async fn a_tool_that_prints_without_end_is_an_error() {
        let error = run("yes").await.expect_err("it does not end");
        assert_eq!(error.to_string(), "it prints too much");
    }
}
