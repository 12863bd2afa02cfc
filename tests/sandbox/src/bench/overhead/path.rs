//! The critical path of a write that nobody disputes: how many calls to the network its answer waits for.
//!
//! One message at a time. A call counts when it was answered before the message was; the network takes its time, so that a call
//! that goes on beside the answer is answered after it. What is asked for later is counted too: a lease has to be given back.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::time::sleep;

use super::steps::FIXED;
use crate::bench::driver::{Keys, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::runs::{Book, Runs, compared};
use crate::bench::scene::Scene;
use crate::bench::target::Running;
use crate::bench::{Bound, Measurement, number, report};

const MESSAGES: u64 = 20;

/// What is not asked for by then belongs to no message.
const AFTERWARDS: Duration = Duration::from_millis(100);

const WAITED_FOR: &str = "calls that the answer waits for";
const IN_ALL: &str = "calls in all";

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let mut books = Vec::new();
    report::begin(bar, MESSAGES * u64::try_from(runs.subjects.len())?, "messages");
    for subject in &runs.subjects {
        let (scene, mut book) = (Scene::set(subject, false).await?, Book::default());
        let running = scene.running_on(None).await?;
        let template = Template::new(Columns::Many(1_024));
        // The first messages bring the token and open the connections.
        scene.drive(Load::of(&running, &template, 1, 4)).await?;
        scene.sink.pace(FIXED);
        for record in 0..MESSAGES {
            count(&scene, &running, &template, record, &mut book).await?;
            bar.inc(1);
        }
        running.stop().await?;
        books.push((subject.name, book));
    }
    let mut all = compared(&books, WAITED_FOR, "calls", Some(Bound::Exactly(2.0)));
    all.extend(compared(&books, IN_ALL, "calls", Some(Bound::AtMost(3.0))));
    Ok(all)
}

/// The calls of one message.
async fn count(
    scene: &Scene,
    running: &Running,
    template: &Template,
    record: u64,
    book: &mut Book,
) -> anyhow::Result<()> {
    sleep(AFTERWARDS).await;
    scene.sink.answered();
    let mut load = Load::of(running, template, 1, 1);
    load.keys = Keys::Fresh(record);
    scene.drive(load).await?;
    let answered = Instant::now();
    sleep(AFTERWARDS).await;
    let calls = scene.sink.answered();
    book.note(WAITED_FOR, number(calls.iter().filter(|call| **call <= answered).count()));
    book.note(IN_ALL, number(calls.len()));
    Ok(())
}
