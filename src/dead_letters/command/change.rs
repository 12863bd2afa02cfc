//! The two commands that change something: `replay` and `drop`.

use std::io::{IsTerminal as _, stderr, stdin};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::output::print_either;
use super::{Failure, Work, count, failed, print_listed};
use crate::dead_letters::arguments;
use crate::dead_letters::delete::{agreed, discard};
use crate::dead_letters::progress::{Progress, say};
use crate::dead_letters::queue_scan::Deleted;
use crate::dead_letters::replay::Replay;
use crate::dead_letters::report::{DropLine, ReplayLine};
use crate::dead_letters::scan::{End, read};
use crate::dead_letters::summary::Tally;
use crate::settings::Lookup;

pub(super) async fn replay(
    replay: arguments::Replay,
    lookup: &Lookup<'_>,
    stop: CancellationToken,
) -> Result<bool, Failure> {
    if replay.to == replay.place.queue {
        return Err(Failure::Usage { problem: "--to is the queue that the letters are in".to_owned() });
    }
    let json = replay.place.json;
    let mut work = Work::begin(&replay.place, replay.filter, replay.max, lookup).await?;
    let to = work.desk.queue(&replay.to)?;
    // Before anything is received: a queue that is not there would fail with the first letter.
    to.look().await.map_err(|source| failed(&work.desk, &replay.to, source))?;
    if replay.dry_run {
        let (tally, report) = count(&mut work, &stop).await;
        print_listed(&report, &tally, json)?;
        say(&format!("dry run: nothing was put on {}\n", replay.to));
        return Ok(report.is_good());
    }
    let progress = work.progress("replayed");
    let (result, end) = Replay::new(to, replay.rate, stop, progress).run(&mut work.sweep, &work.selection).await;
    let report = work.finish(result.matching, &end).await;
    if let Some(problem) = &result.problem {
        say(&format!("error: a letter could not be replayed: {problem}\n"));
    }
    let line = ReplayLine::new(&report, &replay.to, &result);
    print_either(json, &line, &line.in_words())?;
    Ok(report.is_good() && result.failed == 0)
}

pub(super) async fn drop(
    drop: arguments::Drop,
    lookup: &Lookup<'_>,
    stop: &CancellationToken,
) -> Result<bool, Failure> {
    let can_ask = stdin().is_terminal() && stderr().is_terminal();
    if !drop.yes && !can_ask {
        let problem = "drop asks before it deletes, and there is no terminal to ask on; give --yes if you mean it";
        return Err(Failure::Usage { problem: problem.to_owned() });
    }
    let mut work = Work::begin(&drop.place, drop.filter, drop.max, lookup).await?;
    let Gathered { ids, tally, end } = gather(&mut work, stop).await;
    let matching = u64::try_from(ids.len()).expect("usize fits u64");
    let (deleted, end) = match end {
        // Part of the letters only was counted: nothing is deleted on that.
        End::Stopped | End::Queue(_) | End::Output(_) => (Deleted::default(), end),
        End::All | End::Enough if ids.is_empty() => (Deleted::default(), end),
        End::All | End::Enough => {
            say(&tally.to_string());
            if drop.yes || confirmed(&mut work, matching, stop).await {
                let mut progress = Progress::begin("dropped", matching);
                let (deleted, fault) = discard(&mut work.sweep, &ids, stop, &mut progress).await;
                (deleted, if matches!(fault, End::All) { end } else { fault })
            } else {
                (Deleted::default(), if stop.is_cancelled() { End::Stopped } else { end })
            }
        }
    };
    let report = work.finish(matching, &end).await;
    let line = DropLine::new(&report, deleted);
    print_either(drop.place.json, &line, &line.in_words())?;
    Ok(report.is_good() && deleted.not_ours == 0)
}

/// What is meant, read and held.
struct Gathered {
    ids: Vec<Arc<str>>,
    tally: Tally,
    end: End,
}

async fn gather(work: &mut Work, stop: &CancellationToken) -> Gathered {
    let (mut ids, mut tally) = (Vec::new(), Tally::default());
    let mut progress = work.progress("read");
    let (_, end) = read(&mut work.sweep, &work.selection, stop, &mut progress, |found| {
        ids.push(found.id.clone());
        tally.add(found);
        Ok(())
    })
    .await;
    progress.end();
    Gathered { ids, tally, end }
}

async fn confirmed(work: &mut Work, letters: u64, stop: &CancellationToken) -> bool {
    say(&format!("Drop these {letters} letters for good? Type yes: "));
    let agreed = agreed(&mut work.sweep, stop).await;
    if !agreed {
        say("nothing is dropped\n");
    }
    agreed
}
