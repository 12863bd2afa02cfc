//! What ends a command early: a signal, or the end of its terminal.

use std::io;
use std::pin::pin;

use dataverse_sync::shutdown::signalled;
use futures::future::select;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::ctrl_close;
use tokio_util::sync::CancellationToken;

/// Cancelled by the first signal or when the terminal is closed; a second signal ends the process at once.
pub(crate) fn token() -> io::Result<CancellationToken> {
    let (first, closed) = (signalled()?, terminal_closed()?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        select(pin!(first), pin!(closed)).await;
        stop.cancel();
        // Registered only now: an earlier one would have received the first signal too.
        if let Ok(second) = signalled() {
            second.await;
            std::process::exit(1);
        }
    });
    Ok(token)
}

/// Completes when the session ends, such as an SSH connection.
#[cfg(unix)]
fn terminal_closed() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move { hangup.recv().await.unwrap_or_default() })
}

/// Completes when the window is closed.
#[cfg(windows)]
fn terminal_closed() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut close = ctrl_close()?;
    Ok(async move { close.recv().await.unwrap_or_default() })
}
