//! Connections: taken, served, and ended when nothing more is to come.
//!
//! Only the host on this machine calls, but a caller that is slow, stuck or hostile must cost the others nothing: a request's
//! head has to be there in time and has a size, and so has its body, which [`super::body`] reads. On shutdown nobody is waited
//! for who has not sent a whole head: a connection ends with the answers that it is owed.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::workers::{Seat, Workers};

/// The longest wait for a request's head, which begins when a connection is idle. The host's own client gives up an idle
/// connection after a minute: it must be the one who does, or a request meets a closed door.
/// <https://learn.microsoft.com/dotnet/api/system.net.http.socketshttphandler.pooledconnectionidletimeout>
const HEAD: Duration = Duration::from_secs(150);

/// Kestrel, through which the host takes calls, allows 32 KiB of headers and 100 of them; hyper has the same number.
/// <https://learn.microsoft.com/dotnet/api/microsoft.aspnetcore.server.kestrel.core.kestrelserverlimits>
const MOST_HEAD_BYTES: usize = 64 * 1024;

/// The pause after an accept that failed for want of something that others may give back, such as file descriptors.
const PAUSE: Duration = Duration::from_secs(1);

/// On shutdown: how long an answer may take to leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves every connection until `stop`, and then until each has its answers.
pub(super) async fn serve(listener: TcpListener, workers: &Workers, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            () = stop.cancelled() => break,
        };
        let seat = workers.seat();
        let runtime = seat.runtime.clone();
        match stream.into_std() {
            Ok(stream) => drop(connections.spawn_on(seated(seat, stream, router.clone(), stop.clone()), &runtime)),
            Err(error) => debug!(%error, "a connection ended before its time"),
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// A connection with the worker that it was given to.
async fn seated(seat: Seat, stream: std::net::TcpStream, router: Router, stop: CancellationToken) {
    match TcpStream::from_std(stream) {
        Ok(stream) => connection(stream, router, stop).await,
        Err(error) => debug!(%error, "a connection ended before its time"),
    }
    drop(seat);
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // That one left before it was taken.
            Err(error) if is_the_callers(&error) => {}
            Err(error) => {
                warn!(%error, "no connection can be taken; trying again");
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_the_callers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(stream: TcpStream, router: Router, stop: CancellationToken) {
    let (at_work, mut owed) = watch::channel(0_usize);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        at_work.send_modify(|requests| *requests += 1);
        let answer = router.call(request);
        let done = at_work.clone();
        async move {
            let answer = answer.await;
            done.send_modify(|requests| *requests -= 1);
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_header_size(MOST_HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = nothing_owed(&mut owed) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended before its time");
    }
}

/// Waits until no request is at work and the last answer had time to leave.
async fn nothing_owed(owed: &mut watch::Receiver<usize>) {
    loop {
        // It ends with the connection.
        let _ = owed.wait_for(|requests| *requests == 0).await;
        sleep(FAREWELL).await;
        if *owed.borrow() == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Asks which thread answers.
    async fn thread_of(stream: &mut TcpStream) -> String {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n").await.expect("it is taken");
        let mut answer = String::new();
        while !answer.ends_with(')') {
            let mut part = [0; 1_024];
            let length = stream.read(&mut part).await.expect("it is answered");
            assert_ne!(length, 0, "closed after {answer}");
            answer.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_connection_stays_with_its_thread_and_the_next_one_is_with_another() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().route("/", get(async || format!("{:?}", thread::current().id())));
        let (workers, stop) = (Workers::for_cores(2), CancellationToken::new());
        let asked = async {
            let mut first = TcpStream::connect(address).await.expect("it listens");
            let one = thread_of(&mut first).await;
            let mut second = TcpStream::connect(address).await.expect("it listens");
            let other = thread_of(&mut second).await;
            assert_ne!(one, other);
            assert_eq!((thread_of(&mut first).await, thread_of(&mut second).await), (one, other));
            drop((first, second));
            stop.cancel();
        };
        tokio::join!(serve(listener, &workers, router, stop.clone()), asked);
    }
}
