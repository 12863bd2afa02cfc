//! What this machine asks of anybody who makes a message's calls: the handler beside a relay that understands nothing.
//!
//! The relay sends the handler's own bytes, as they came to the sink: the lease, the PATCH, the handler's answer, and behind it
//! the release. Of a message it looks at the seven digits that tell records apart, and of an answer at where its head ends. It
//! is one thread on bare sockets, on the handler's core while no handler runs, built as the sandbox is. So the ratio of the two says what is the handler's
//! doing, on a fast machine and on a slow one, and the relay's own figures are what hardly any program can fall below there.

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
use crate::bench::cores::{self, Lane};
use crate::bench::driver::{Load, whole};
use crate::bench::message::{self, Template};
use crate::bench::null_server::Calls;
use crate::bench::runs::Book;
use crate::bench::scene::{SUBJECT, Scene};
use crate::bench::target::Subject;
use crate::bench::{Findings, meter};

const RELAY: &str = "relay";

/// Where the handler runs, or where the relay does.
enum Stage {
    Handler(Scene),
    Relay(Scene, Relay),
}

/// A relay, for as long as it is not dropped.
#[derive(Debug)]
struct Relay {
    lane: Lane,
    port: u16,
}

/// What it sends.
#[derive(Debug)]
struct Script {
    /// Where a message's digits are, and how long it is: each is made of the same template.
    digits: Range<usize>,
    length: usize,
    /// The calls, and where their digits are.
    acquire: (Vec<u8>, usize),
    write: (Vec<u8>, usize),
    release: (Vec<u8>, usize),
    answer: Vec<u8>,
    to: SocketAddr,
    /// Connections that nobody uses now.
    idle: Mutex<Vec<TcpStream>>,
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let runs = plan.runs.beside(RELAY);
    let lap = async |stage: &Stage, book: &mut Book| match stage {
        Stage::Handler(scene) => steps::lap(scene, &runs, &AT_48, book).await,
        Stage::Relay(scene, relay) => {
            steps::begin(scene, relay.port, &AT_48).await?;
            for step in AT_48 {
                let load = step.ready(scene, relay.port, &runs).await?;
                let before = relay.spent().await?;
                let answers = scene.drive(load).await?;
                step.note(&answers, relay.spent().await?.saturating_sub(before), book);
            }
            Ok(())
        }
    };
    let books = runs.in_turn(bar, Stage::set, lap).await?;
    Ok(steps::told(&books, &AT_48).into())
}

impl Stage {
    async fn set(subject: &Subject) -> anyhow::Result<Self> {
        if subject.name != RELAY {
            return Ok(Self::Handler(Scene::apart(subject).await?));
        }
        let mut scene = Scene::apart(&Subject::handler(&subject.path)).await?;
        let relay = Relay::start(Script::learnt(&scene).await?).await?;
        scene.subject = subject.clone();
        Ok(Self::Relay(scene, relay))
    }
}

impl Relay {
    async fn start(script: Script) -> anyhow::Result<Self> {
        let lane = Lane::start(RELAY)?;
        lane.pin(SUBJECT)?;
        let listening = async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let port = listener.local_addr()?.port();
            tokio::spawn(accept(listener, Arc::new(script)));
            Ok(port)
        };
        let port = lane.run(listening).await?;
        Ok(Self { lane, port })
    }

    /// The CPU time that it has used so far.
    async fn spent(&self) -> anyhow::Result<Duration> {
        self.lane.run(async { meter::own_thread() }).await
    }
}

impl Script {
    /// Has the handler show what it sends.
    async fn learnt(scene: &Scene) -> anyhow::Result<Self> {
        let (running, mut template) = (scene.running_on(Some(SUBJECT)).await?, steps::template());
        scene.sink.keep_calls();
        // The first of them are given back by the time that the last is answered.
        scene.drive(Load::of(&running, &template, 1, 4)).await?;
        let answer = answer_to(running.port(), template.fill(0)).await.context("looking at an answer")?;
        let calls = scene.sink.calls();
        running.stop().await?;
        Self::of(&template, calls, answer, scene.sink.address()).context("a call is not as it was expected")
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
        // What the sink answers has no body.
        call.clear();
        while !call.ends_with(b"\r\n\r\n") {
            read_some(&mut stream, &mut call).await?;
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        Ok(())
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>) {
    // A connection that could not be accepted is the load's to miss.
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, script.clone()));
    }
}

/// One message after the other until the load leaves.
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
    use crate::bench::null_server::{Blobs, Sink};

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

    fn calls() -> Calls {
        let lease = |action| {
            format!("PUT /sink/locks/contacts-0123456789?comp=lease HTTP/1.1\r\nx-ms-lease-action: {action}\r\n\r\n")
        };
        let write = "PATCH /api/data/v9.2/contacts(employeeid=%27E-0000000%27) HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        Calls { acquire: lease("acquire").into(), write: write.into(), release: lease("release").into() }
    }

    #[tokio::test]
    async fn a_message_has_its_own_calls_made_and_the_answer_that_was_given() {
        let sink = Sink::start(Blobs::Known, None).await.expect("loopback has free ports");
        let mut template = steps::template();
        let script = Script::of(&template, calls(), ANSWER.to_vec(), sink.address()).expect("the calls are whole");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        tokio::spawn(accept(listener, Arc::new(script)));
        sink.keep_calls();
        assert_eq!(answer_to(port, template.fill(42)).await.expect("an answer"), ANSWER);
        let kept = sink.calls();
        assert_eq!((sink.leases(), sink.writes()), (1, 1));
        for (call, record) in [(&kept.acquire, "contacts-0120000042?"), (&kept.write, "E-0000042")] {
            assert!(String::from_utf8_lossy(call).contains(record), "{record}");
        }
    }

    #[tokio::test]
    async fn a_handler_that_shows_nothing_is_the_one_to_blame() {
        let stage = Stage::set(&Subject { name: RELAY, path: "/bin/true".into() }).await;
        let error = stage.err().expect("it says nothing and ends");
        assert_eq!(error.to_string(), "the handler ended by itself (exit status: 0)");
    }

    #[test]
    fn calls_that_have_no_room_for_a_number_are_refused() {
        let to = (Ipv4Addr::LOCALHOST, 1).into();
        let calls = Calls { write: b"PATCH /contacts HTTP/1.1\r\n\r\n".to_vec(), ..calls() };
        assert!(Script::of(&steps::template(), calls, ANSWER.to_vec(), to).is_none());
    }
}
