//! The length of the queue over time: its rate, when it will be empty, and a sparkline.
//!
//! The rate is the change of the length over the last minute: messages that arrive offset those that are written. The sparkline shows
//! everything since the start: each block stands for twice as many samples whenever it is full.

use std::time::Duration;

use indicatif::HumanDuration;
use serde_json::{Value, json};
use tokio::time::Instant;

/// The rate is measured over this time, or over two samples if they are further apart.
const WINDOW: Duration = Duration::from_mins(1);

/// The time until the queue is empty is not less than the rate over this time says: at the end only messages that wait for their next
/// try may be left.
const TAIL: Duration = Duration::from_secs(10);

/// Two samples that are closer together, after one that took long, say nothing.
const MIN_WINDOW: Duration = Duration::from_millis(500);

/// Two days at the default interval; beyond it the older half is forgotten.
const MAX_SAMPLES: usize = 100_000;

/// The most blocks of the sparkline.
const MAX_BLOCKS: usize = 40;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shown where the storage did not answer.
const GAP: char = ' ';

/// The samples so far: each with its time, and the length if that is known.
#[derive(Debug, Default)]
pub(super) struct History(Vec<(Instant, Option<usize>)>);

/// How the length changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trend {
    /// Messages; negative when the queue gets shorter.
    pub(super) per_second: f64,
    pub(super) over: Duration,
    /// The time until the queue is empty, if it goes on like that; zero when it is, `None` when it does not get shorter.
    pub(super) drain: Option<Duration>,
}

impl History {
    /// Adds a sample: the length, if it is known, and of which moment.
    pub(super) fn add(&mut self, length: Option<(Instant, usize)>) {
        if self.0.len() == MAX_SAMPLES {
            self.0.drain(..MAX_SAMPLES / 2);
        }
        self.0.push(length.map_or_else(|| (Instant::now(), None), |(counted, length)| (counted, Some(length))));
    }

    /// `None` before the second sample, and while the length is not known.
    pub(super) fn trend(&self) -> Option<Trend> {
        let (now, length) = self.0.last().copied()?;
        let length = length?;
        let known = || self.0.iter().rev().filter_map(|(at, length)| Some((*at, (*length)?)));
        let previous = known().nth(1)?;
        let first = known().skip(1).take_while(|(at, _)| now - *at <= WINDOW).last().unwrap_or(previous);
        let over = now - first.0;
        if over < MIN_WINDOW {
            return None;
        }
        let rate = |(then, before): (Instant, usize)| (float(length) - float(before)) / (now - then).as_secs_f64();
        let per_second = rate(first);
        let slowest = per_second.max(rate(known().find(|(then, _)| now - *then >= TAIL.min(over))?));
        let drain = match length {
            0 => Some(Duration::ZERO),
            _ if slowest < 0.0 => Duration::try_from_secs_f64(float(length) / -slowest).ok(),
            _ => None,
        };
        Some(Trend { per_second, over, drain })
    }

    /// The time since the first sample.
    pub(super) fn span(&self) -> Duration {
        self.0.first().zip(self.0.last()).map_or(Duration::ZERO, |((begun, _), (now, _))| *now - *begun)
    }

    pub(super) fn peak(&self) -> usize {
        self.0.iter().filter_map(|(_, length)| *length).max().unwrap_or_default()
    }

    /// A block for as many samples as the width needs: the lowest one for an empty queue alone, the highest one for the peak.
    pub(super) fn sparkline(&self) -> String {
        let (peak, top) = (self.peak().max(1), BLOCKS.len() - 1);
        let samples = self.0.len().div_ceil(MAX_BLOCKS).next_power_of_two();
        let largest = self.0.chunks(samples).map(|chunk| chunk.iter().filter_map(|(_, length)| *length).max());
        largest.map(|length| length.map_or(GAP, |length| BLOCKS[(length * top).div_ceil(peak)])).collect()
    }
}

fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

impl Trend {
    pub(super) fn to_json(self) -> Value {
        let rounded = (self.per_second * 1000.0).round() / 1000.0;
        let drain = self.drain.map(|drain| drain.as_secs());
        json!({ "perSecond": rounded, "overSeconds": self.over.as_secs(), "drainSeconds": drain })
    }

    /// A clause such as `shrinking by 42/s (last 60 seconds); empty in about 2 minutes`.
    pub(super) fn describe(self) -> String {
        let over = HumanDuration(self.over);
        let pace = pace(self.per_second.abs());
        match self.drain {
            Some(drain) if drain.is_zero() && self.per_second == 0.0 => format!("empty (last {over})"),
            Some(drain) if drain.is_zero() => format!("empty; shrank by {pace} (last {over})"),
            Some(drain) => format!("shrinking by {pace} (last {over}); empty in about {}", HumanDuration(drain)),
            None if self.per_second < 0.0 => format!("shrinking by {pace} (last {over}), but not any more"),
            None if self.per_second > 0.0 => format!("growing by {pace} (last {over})"),
            None => format!("no progress (last {over}), unless as many messages arrive as are written"),
        }
    }
}

/// `42/s`, or `3.5/min` below one a second.
fn pace(per_second: f64) -> String {
    match per_second {
        10.0.. => format!("{per_second:.0}/s"),
        1.0.. => format!("{per_second:.1}/s"),
        _ => format!("{:.1}/min", per_second * 60.0),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Samples two seconds apart.
    async fn history(lengths: impl IntoIterator<Item = Option<usize>>) -> History {
        let mut history = History::default();
        for (number, length) in lengths.into_iter().enumerate() {
            if number > 0 {
                advance(Duration::from_secs(2)).await;
            }
            history.add(length.map(|length| (Instant::now(), length)));
        }
        history
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_and_the_time_to_drain_are_those_of_the_last_minute() {
        assert_eq!(history([Some(5_000)]).await.trend(), None);
        // Ten minutes of growth, then 40 messages fewer every second.
        let growth = (0..300).map(|sample| sample * 10);
        let decline = (1..=31).map(|sample| 2_990 - 80 * sample);
        let trend = history(growth.chain(decline).map(Some)).await.trend().expect("many samples");
        assert_eq!(trend, Trend { per_second: -40.0, over: WINDOW, drain: Some(Duration::from_millis(12_750)) });
        assert_eq!(trend.to_json(), json!({ "perSecond": -40.0, "overSeconds": 60, "drainSeconds": 12 }));
        assert_eq!(trend.describe(), "shrinking by 40/s (last 60 seconds); empty in about 13 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_grows_rests_or_is_empty_has_no_time_to_drain() {
        for (lengths, text) in [
            ([10, 13], "growing by 1.5/s (last 2 seconds)"),
            ([10, 10], "no progress (last 2 seconds), unless as many messages arrive as are written"),
            ([100, 0], "empty; shrank by 50/s (last 2 seconds)"),
            ([0, 0], "empty (last 2 seconds)"),
        ] {
            assert_eq!(history(lengths.map(Some)).await.trend().expect("two samples").describe(), text);
        }
        let slow = Trend { per_second: -0.1, over: WINDOW, drain: Some(Duration::from_mins(80)) };
        assert_eq!(slow.describe(), "shrinking by 6.0/min (last 60 seconds); empty in about 80 minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_to_drain_follows_a_rate_that_falls_at_the_end() {
        let fast = (0..20).map(|sample| 2_030 - 100 * sample).collect::<Vec<_>>();
        let described = async |tail: [usize; 6]| {
            history(fast.iter().copied().chain(tail).map(Some)).await.trend().expect("many samples").describe()
        };
        let slower = described([124, 118, 112, 106, 100, 94]).await;
        assert!(slower.ends_with("; empty in about 31 seconds"), "{slower}");
        let stuck = described([130; 6]).await;
        assert_eq!(stuck, "shrinking by 38/s (last 50 seconds), but not any more");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_a_gap_and_does_not_count_for_the_rate() {
        assert_eq!(history([Some(80), Some(40), None]).await.trend(), None, "nothing is known of now");
        let history = history([Some(80), None, Some(40)]).await;
        assert_eq!(history.trend().map(|trend| trend.per_second), Some(-10.0));
        assert_eq!((history.sparkline().as_str(), history.peak()), ("█ ▅", 80));
    }

    #[tokio::test(start_paused = true)]
    async fn samples_further_apart_than_a_minute_have_a_rate_too() {
        let mut history = History::default();
        for length in [100, 400, 100] {
            history.add(Some((Instant::now(), length)));
            advance(Duration::from_mins(5)).await;
        }
        assert_eq!(history.trend().map(|trend| (trend.per_second, trend.over)), Some((-1.0, Duration::from_mins(5))));
    }

    #[tokio::test(start_paused = true)]
    async fn blocks_go_from_empty_to_the_peak() {
        assert_eq!(history([0, 0].map(Some)).await.sparkline(), "▁▁");
        assert_eq!(history([0, 1, 2_500, 4_999, 5_000].map(Some)).await.sparkline(), "▁▂▅██");
        assert_eq!(History::default().sparkline(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_line_is_halved_and_shows_everything_since_the_start() {
        let history = history((0..=MAX_BLOCKS).rev().map(Some)).await;
        assert_eq!(history.sparkline().chars().count(), MAX_BLOCKS / 2 + 1);
        assert!(history.sparkline().starts_with('█') && history.sparkline().ends_with('▁'), "{}", history.sparkline());
        assert_eq!((history.peak(), history.span()), (MAX_BLOCKS, Duration::from_secs(80)));
        let long = self::history((0..1_000).map(Some)).await.sparkline();
        assert!((MAX_BLOCKS / 2..=MAX_BLOCKS).contains(&long.chars().count()), "{long}");
        let mut full = History(vec![(Instant::now(), None); MAX_SAMPLES]);
        full.add(None);
        assert_eq!(full.0.len(), MAX_SAMPLES / 2 + 1);
    }
}
