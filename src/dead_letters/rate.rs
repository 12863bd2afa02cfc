//! The rate at which messages are sent.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The time between two messages at a rate such as `50`, `50/s` or `30/m`.
///
/// # Errors
/// How a rate is written.
pub(crate) fn parse_rate(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "a rate is a whole number from 1 to 1000 and perhaps a unit, such as 50, 50/s or 30/m";
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let number: u32 = number.parse().ok().filter(|number| (1..=1000).contains(number)).ok_or(WRONG)?;
    match unit {
        "s" => Ok(Duration::from_secs(1) / number),
        "m" => Ok(Duration::from_mins(1) / number),
        _ => Err(WRONG),
    }
}

/// Messages that are sent one after the other, with a pause between two of them.
#[derive(Debug)]
pub(crate) struct Rate(Option<Mutex<Interval>>);

impl Rate {
    /// With this pause, or without one.
    pub(crate) fn new(pause: Option<Duration>) -> Self {
        Self(pause.map(|pause| {
            let mut ticks = interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Mutex::new(ticks)
        }))
    }

    /// Waits until the next message may be sent.
    pub(crate) async fn turn(&self) {
        if let Some(ticks) = &self.0 {
            ticks.lock().await.tick().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_rate_is_a_number_and_perhaps_a_unit() {
        for rate in ["50", "50/s"] {
            assert_eq!(parse_rate(rate), Ok(Duration::from_millis(20)));
        }
        assert_eq!(parse_rate("30/m"), Ok(Duration::from_secs(2)));
        for text in ["", "0", "0/s", "1001/s", "-1/s", "1.5/s", "5/h", "/s", "5 /s"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_a_pause_apart_and_a_late_one_is_not_made_up_for() {
        let pause = Duration::from_secs(2);
        let (rate, begun) = (Rate::new(Some(pause)), Instant::now());
        for turns in 0..3 {
            rate.turn().await;
            assert_eq!(begun.elapsed(), pause * turns);
        }
        tokio::time::sleep(pause * 10).await;
        rate.turn().await;
        rate.turn().await;
        assert_eq!(begun.elapsed(), pause * 13);
    }
}
