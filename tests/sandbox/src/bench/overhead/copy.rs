//! The minimum cost of passing bytes through a process: read from one socket, written to another.
//!
//! A thread does only this, with blocking calls and without parsing; its CPU time is the operating system's figure. It is "the
//! copy" that is subtracted from the cost of large records: the kernel's part, which no program can avoid.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};

use crate::bench::meter;

/// The largest single read of hyper and write of reqwest.
const BUFFER: usize = 64 * 1024;

/// The mean CPU time of a thread to read `inward` bytes and write `outward` bytes.
pub(super) fn through(inward: usize, outward: usize, times: u32) -> anyhow::Result<Duration> {
    let ((from, mut feeder), (to, mut drain)) = (pair()?, pair()?);
    let fed = thread::spawn(move || {
        let bytes = vec![b'x'; inward];
        (0..times).try_for_each(|_| feeder.write_all(&bytes))
    });
    let drained = thread::spawn(move || std::io::copy(&mut drain, &mut std::io::sink()));
    let spent = thread::spawn(move || pass(from, to, [inward, outward], times));
    let spent = joined(spent)??;
    joined(fed)?.context("feeding the copy")?;
    let out = joined(drained)?.context("draining the copy")?;
    ensure!(
        u64::try_from(outward).ok().and_then(|one| one.checked_mul(times.into())) == Some(out),
        "the copy lost bytes"
    );
    Ok(spent / times)
}

fn pass(mut from: TcpStream, mut to: TcpStream, [inward, outward]: [usize; 2], times: u32) -> anyhow::Result<Duration> {
    let (mut body, mut buffer) = (Vec::with_capacity(inward), vec![0; BUFFER]);
    let before = meter::own_thread()?;
    for _ in 0..times {
        body.clear();
        while body.len() < inward {
            let wanted = BUFFER.min(inward - body.len());
            let read = from.read(&mut buffer[..wanted])?;
            ensure!(read > 0, "the feeder has gone");
            body.extend_from_slice(&buffer[..read]);
        }
        to.write_all(&body[..outward])?;
    }
    Ok(meter::own_thread()?.saturating_sub(before))
}

fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    one.set_nodelay(true)?;
    Ok((one, other))
}

fn joined<T>(thread: thread::JoinHandle<T>) -> anyhow::Result<T> {
    thread.join().map_err(|_| anyhow!("a thread of the copy panicked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_the_first_bytes_that_came_go_out() {
        let ((from, mut feeder), (to, mut drain)) = (pair().expect("loopback"), pair().expect("loopback"));
        feeder.write_all(b"abcdefgh").expect("it is read");
        pass(from, to, [4, 3], 2).expect("all bytes are there");
        let mut out = String::new();
        drain.read_to_string(&mut out).expect("the other end is closed");
        assert_eq!(out, "abcefg");
    }

    #[test]
    fn a_feeder_that_leaves_early_is_an_error() {
        let ((from, mut feeder), (to, _drain)) = (pair().expect("loopback"), pair().expect("loopback"));
        feeder.write_all(b"abc").expect("it is read");
        drop(feeder);
        let error = pass(from, to, [4, 3], 1).expect_err("a byte is missing");
        assert_eq!(error.to_string(), "the feeder has gone");
    }

    #[test]
    fn all_bytes_pass_however_many() {
        for (inward, outward, times) in [(1_000, 500, 200), (4_000_000, 2_000_000, 3), (1, 0, 1)] {
            through(inward, outward, times).expect("loopback works");
        }
    }
}
