//! The cost of a message's calls on this machine: the handler compared with a relay that forwards bytes without parsing
//! them.
//!
//! The relay sends the handler's own bytes as recorded at the null server: the lease, the PATCH, the response, and then the release.
//! It reads only the seven digits that identify a message's record, and the end of a response's head. It is one thread on plain
//! sockets, on the handler's core while no handler runs, built with the sandbox's profile. So the ratio of the two is independent of
//! the machine, and the relay's own values are a lower bound for any program there.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Plan;
use super::steps::{self, AT_48};
use crate::bench::cores::{self, PinnedRuntime};
use crate::bench::driver::{Load, whole};
use crate::bench::message::{self, Template};
use crate::bench::null_server::Calls;
use crate::bench::runs::Samples;
use crate::bench::scene::{Scene, TARGET_CORE};
use crate::bench::target::Target;
use crate::bench::{Findings, meter};

const RELAY: &str = "relay";

/// The setup of the handler or of the relay.
enum Stage {
    Handler(Scene),
    Relay(Scene, Relay),
}

/// A running relay; dropping it stops it.
#[derive(Debug)]
struct Relay {
    pinned: PinnedRuntime,
    port: u16,
}

/// The recorded calls.
#[derive(Debug)]
struct Script {
    /// The range of a message's digits, and its length, the same for all.
    digits: Range<usize>,
    length: usize,
    /// The calls with the offsets of their digits.
    acquire: (Vec<u8>, usize),
    write: (Vec<u8>, usize),
    release: (Vec<u8>, usize),
    answer: Vec<u8>,
    to: SocketAddr,
    /// Idle connections.
    idle: Mutex<Vec<TcpStream>>,
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let runs = plan.runs.beside(RELAY);
    let lap = async |stage: &Stage, samples: &mut Samples| match stage {
        Stage::Handler(scene) => steps::lap(scene, &runs, &AT_48, samples).await,
        Stage::Relay(scene, relay) => {
            steps::begin(scene, relay.port, &AT_48).await?;
            for step in AT_48 {
                let load = step.ready(scene, relay.port, &runs).await?;
                let before = relay.spent().await?;
                let answers = scene.drive(load).await?;
                step.record(&answers, relay.spent().await?.saturating_sub(before), samples);
            }
            Ok(())
        }
    };
    let by_target = runs.in_turn(bar, Stage::set, lap).await?;
    Ok(steps::unbounded(&by_target, &AT_48).into())
}

impl Stage {
    async fn set(target: &Target) -> anyhow::Result<Self> {
        if target.name != RELAY {
            return Ok(Self::Handler(Scene::apart(target).await?));
        }
        let mut scene = Scene::apart(&Target::handler(&target.path)).await?;
        let relay = Relay::start(Script::learnt(&scene).await?).await?;
        scene.target = target.clone();
        Ok(Self::Relay(scene, relay))
    }
}

impl Relay {
    async fn start(script: Script) -> anyhow::Result<Self> {
        let pinned = PinnedRuntime::start(RELAY)?;
        pinned.pin(TARGET_CORE)?;
        let listening = async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let port = listener.local_addr()?.port();
            tokio::spawn(accept(listener, Arc::new(script)));
            Ok(port)
        };
        let port = pinned.run(listening).await?;
        Ok(Self { pinned, port })
    }

    /// Its CPU time so far.
    async fn spent(&self) -> anyhow::Result<Duration> {
        self.pinned.run(async { meter::own_thread() }).await
    }
}

impl Script {
    /// Records the calls of the handler.
    async fn learnt(scene: &Scene) -> anyhow::Result<Self> {
        let (running, mut template) = (scene.running_on(Some(TARGET_CORE)).await?, steps::template());
        scene.null_server.keep_calls();
        // By the last response the first leases have been released.
        scene.drive(Load::of(&running, &template, 1, 4)).await?;
        let answer = answer_to(running.port(), template.fill(0)).await.context("reading a response")?;
        let calls = scene.null_server.calls();
        running.stop().await?;
        Self::of(&template, calls, answer, scene.null_server.address())
            .context("a recorded call has an unexpected form")
    }

    fn of(template: &Template, calls: Calls, answer: Vec<u8>, to: SocketAddr) -> Option<Self> {
        let (digits, length) = (template.number_at(), template.length());
        let lock = |call: &[u8]| call.iter().position(|byte| *byte == b'?')?.checked_sub(digits.len());
        let (acquire, release) = (lock(&calls.acquire)?, lock(&calls.release)?);
        let write = message::number_at(&calls.write)?;
        Some(Self {
            length,
            acquire: (calls.acquire, acquire),
            write: (calls.write, write),
            release: (calls.release, release),
            answer,
            to,
            idle: Mutex::default(),
            digits,
        })
    }

    async fn call(&self, (call, at): &(Vec<u8>, usize), digits: &[u8]) -> io::Result<()> {
        let mut call = call.clone();
        call[*at..*at + digits.len()].copy_from_slice(digits);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => connected(self.to).await?,
        };
        stream.write_all(&call).await?;
        // The null server's responses have no body.
        call.clear();
        while !call.ends_with(b"\r\n\r\n") {
            read_some(&mut stream, &mut call).await?;
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        Ok(())
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>) {
    // The load fails if a connection could not be accepted.
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, script.clone()));
    }
}

/// Serves messages until the load disconnects.
async fn serve(mut stream: TcpStream, script: Arc<Script>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = vec![0; script.length];
    loop {
        stream.read_exact(&mut message).await?;
        let digits = &message[script.digits.clone()];
        script.call(&script.acquire, digits).await?;
        script.call(&script.write, digits).await?;
        stream.write_all(&script.answer).await?;
        let (script, digits) = (script.clone(), digits.to_vec());
        tokio::spawn(async move { script.call(&script.release, &digits).await });
    }
}

async fn answer_to(port: u16, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connected((Ipv4Addr::LOCALHOST, port).into()).await?;
    stream.write_all(message).await?;
    let mut answer = Vec::new();
    while whole(&answer).is_none() {
        read_some(&mut stream, &mut answer).await?;
    }
    Ok(answer)
}

async fn connected(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(bytes).await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::null_server::{Blobs, NullServer};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    fn calls() -> Calls {
        let lease = |action| {
            format!(
                "PUT /nullserver/locks/contacts-0123456789?comp=lease HTTP/1.1\r\nx-ms-lease-action: {action}\r\n\r\n"
            )
        };
        let write = "PATCH /api/data/v9.2/contacts(employeeid=%27E-0000000%27) HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        Calls { acquire: lease("acquire").into(), write: write.into(), release: lease("release").into() }
    }

    #[tokio::test]
    async fn a_message_makes_its_own_calls_and_gets_the_recorded_response() {
        let null_server = NullServer::start(Blobs::Known, None).await.expect("loopback has free ports");
        let mut template = steps::template();
        let script =
            Script::of(&template, calls(), ANSWER.to_vec(), null_server.address()).expect("the calls are whole");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(accept(listener, Arc::new(script)));
        null_server.keep_calls();
        assert_eq!(answer_to(port, template.fill(42)).await.expect("an answer"), ANSWER);
        let kept = null_server.calls();
        assert_eq!((null_server.leases(), null_server.writes()), (1, 1));
        for (call, record) in [(&kept.acquire, "contacts-0120000042?"), (&kept.write, "E-0000042")] {
            assert!(String::from_utf8_lossy(call).contains(record), "{record}");
        }
    }

    #[tokio::test]
    async fn a_handler_that_ends_is_reported() {
        let stage = Stage::set(&Target { name: RELAY, path: "/bin/true".into() }).await;
        let error = stage.err().expect("it ends at once");
        assert_eq!(error.to_string(), "the handler ended by itself (exit status: 0)");
    }

    #[test]
    fn calls_without_digits_are_rejected() {
        let to = (Ipv4Addr::LOCALHOST, 1).into();
        let calls = Calls { write: b"PATCH /contacts HTTP/1.1\r\n\r\n".to_vec(), ..calls() };
        assert!(Script::of(&steps::template(), calls, ANSWER.to_vec(), to).is_none());
    }
}
