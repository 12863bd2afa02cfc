//! CPU time per message by what the message is: large or small columns, a record that is seen for the first time, TLS.
//!
//! Sixteen messages in flight, as many as a batch of the queue, and a network that takes no time. A record of 32 KiB may cost
//! twice one of 1 KiB and the copy of what it has more: see `copy.rs`.

use std::time::Duration;

use indicatif::ProgressBar;

use super::copy;
use crate::bench::driver::{Keys, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::meter::{Cpu, Spent};
use crate::bench::null_server::Blobs;
use crate::bench::runs::{Book, Runs, compared};
use crate::bench::scene::{LOAD, SUBJECT, Scene};
use crate::bench::target::Subject;
use crate::bench::{Bound, Measurement, cores, microseconds, number};

const IN_FLIGHT: u64 = 16;
const MESSAGES: u64 = 3_000;
const WARM_UP: u64 = 200;

/// Copies are cheap to measure.
const COPIES: u32 = 3_000;

const SMALL: usize = 1_024;
const LARGE: usize = 32 * 1_024;

const KNOWN: &str = "CPU per message, columns of 1 KiB";
const NEW: &str = "the same, lock seen for the first time";
const MANY: &str = "CPU per message, columns of 32 KiB, hundreds of them";
const TEXT: &str = "CPU per message, columns of 32 KiB, one long text";
const TLS: &str = "CPU per message, columns of 1 KiB, TLS to both services";
const COPY: &str = "the copy of what 32 KiB have more";
const RATIO: &str = "32 KiB less the copy, in messages of 1 KiB";
const TEXT_RATIO: &str = "the same, one long text";

/// One kind of message.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    columns: Columns,
    blobs: Blobs,
    tls: bool,
}

const KINDS: [Kind; 5] = [
    Kind { name: KNOWN, columns: Columns::Many(SMALL), blobs: Blobs::Known, tls: false },
    Kind { name: NEW, columns: Columns::Many(SMALL), blobs: Blobs::New, tls: false },
    Kind { name: MANY, columns: Columns::Many(LARGE), blobs: Blobs::Known, tls: false },
    Kind { name: TEXT, columns: Columns::LongText(LARGE), blobs: Blobs::Known, tls: false },
    Kind { name: TLS, columns: Columns::Many(SMALL), blobs: Blobs::Known, tls: true },
];

/// Both kinds of network for one subject.
struct Side {
    clear: Scene,
    tls: Scene,
}

impl Side {
    async fn set(subject: &Subject) -> anyhow::Result<Self> {
        let (clear, tls) = (Scene::apart(subject).await?, Scene::set(subject, true).await?);
        tls.load_on(LOAD)?;
        Ok(Self { clear, tls })
    }
}

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    cores::must_be_apart()?;
    let books = runs.in_turn(bar, Side::set, async |side, book| lap(side, runs, book).await).await?;
    Ok(measurements(&books))
}

/// The copy of what a message with large columns has more, in and out.
fn copied() -> anyhow::Result<Duration> {
    let bytes = |size| Template::new(Columns::Many(size)).length();
    let large = copy::through(bytes(LARGE), LARGE, COPIES)?;
    Ok(large.saturating_sub(copy::through(bytes(SMALL), SMALL, COPIES)?))
}

async fn lap(side: &Side, runs: &Runs, book: &mut Book) -> anyhow::Result<()> {
    let mut costs = Vec::with_capacity(KINDS.len());
    for kind in KINDS {
        let cost = cost(if kind.tls { &side.tls } else { &side.clear }, kind, runs).await?;
        book.note(kind.name, microseconds(cost));
        costs.push(cost);
    }
    let copy = microseconds(copied()?);
    let less_the_copy = |at: usize| (microseconds(costs[at]) - copy) / microseconds(costs[0]);
    book.note(COPY, copy);
    book.note(RATIO, less_the_copy(2));
    book.note(TEXT_RATIO, less_the_copy(3));
    Ok(())
}

/// What one message of a kind costs, in a process of its own.
async fn cost(scene: &Scene, kind: Kind, runs: &Runs) -> anyhow::Result<Duration> {
    let template = Template::new(kind.columns);
    scene.sink.knows(Blobs::Known);
    let running = scene.running_on(Some(SUBJECT)).await?;
    scene.drive(Load::of(&running, &template, 1, 4)).await?;
    scene.drive(Load::of(&running, &template, IN_FLIGHT, WARM_UP)).await?;
    scene.sink.knows(kind.blobs);
    let messages = runs.messages(MESSAGES).max(IN_FLIGHT);
    let mut load = Load::of(&running, &template, IN_FLIGHT, messages);
    load.keys = Keys::Fresh(0);
    let before = Cpu::of(running.pid()?)?;
    scene.drive(load).await?;
    let Spent { total, .. } = Cpu::of(running.pid()?)?.since(&before);
    running.stop().await?;
    Ok(total.div_f64(number(messages)))
}

fn measurements(books: &[(&'static str, Book)]) -> Vec<Measurement> {
    let mut all = compared(books, KNOWN, "µs", Some(Bound::AtMost(150.0)));
    for name in [NEW, TLS, MANY, TEXT] {
        all.extend(compared(books, name, "µs", None));
    }
    // It is nobody's own.
    all.extend(compared(&books[..1], COPY, "µs", None));
    all.extend(compared(books, RATIO, "×", Some(Bound::AtMost(2.0))));
    all.extend(compared(books, TEXT_RATIO, "×", Some(Bound::AtMost(2.0))));
    all
}
