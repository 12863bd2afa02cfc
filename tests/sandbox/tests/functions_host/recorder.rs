//! The handler of the cases: it records every request and answers as its script says.
//!
//! The host starts this test binary again, with the test [`recorder`] alone. Its folder is the app's: there lie the script, the
//! numbers of its processes, and the requests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The script's file.
pub(crate) const SCRIPT: &str = "script.json";

/// The file with the process id of every start, a line each.
pub(crate) const STARTS: &str = "starts";

/// The file with the requests, a line each.
pub(crate) const REQUESTS: &str = "requests";

const DONE: &str = r#"{"Outputs": {}, "Logs": [], "ReturnValue": null}"#;

/// How it behaves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Script {
    /// The answer to every request.
    pub(crate) answer: Answer,
    /// Never listens.
    pub(crate) silent: bool,
    /// Ends at once with this code.
    pub(crate) exit_at_start: Option<i32>,
    /// The first whose text is in the request's body applies.
    pub(crate) rules: Vec<Rule>,
}

/// The effect of a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) text: String,
    /// For the first process only.
    pub(crate) once: bool,
    /// How long it takes.
    pub(crate) milliseconds: u64,
    /// Ends the process with this code instead of answering.
    pub(crate) exit: Option<i32>,
    /// Lines for stdout and stderr.
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

/// An answer; what is missing has a default that depends on the function.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Option<Vec<(String, String)>>,
    pub(crate) body: Option<String>,
    /// Closes the connection instead.
    pub(crate) close: bool,
    /// Sends this and closes.
    pub(crate) raw: Option<String>,
}

/// A request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The number of the process.
    pub(crate) handler: usize,
    /// The number of the connection in its process.
    pub(crate) connection: usize,
    /// Requests in work, including this one.
    pub(crate) running: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    /// The body of a call for a message.
    pub(crate) fn envelope(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

#[test]
#[ignore = "it is the handler of the other tests"]
fn recorder() {
    let Ok(port) = std::env::var("FUNCTIONS_CUSTOMHANDLER_PORT") else { return };
    let script = fs::read_to_string(SCRIPT).expect("the case has written it");
    let script: Script = serde_json::from_str(&script).expect("the case has written it");
    writeln!(appending(STARTS), "{}", std::process::id()).expect("the folder is writable");
    let number = fs::read_to_string(STARTS).expect("it was written").lines().count();
    if let Some(code) = script.exit_at_start {
        std::process::exit(code);
    }
    if script.silent {
        thread::sleep(Duration::from_hours(1));
    }
    serve(&port, number, &script);
}

fn serve(port: &str, number: usize, script: &Script) {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the host has chosen it");
    let running = AtomicUsize::new(0);
    thread::scope(|threads| {
        for (connection, stream) in listener.incoming().flatten().enumerate() {
            let running = &running;
            // A connection that breaks is the host's to notice.
            threads.spawn(move || serve_connection(stream, (number, connection), running, script));
        }
    });
}

fn serve_connection(
    stream: TcpStream,
    (handler, connection): (usize, usize),
    running: &AtomicUsize,
    script: &Script,
) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (first, headers) = head(&mut reader)?;
        let mut parts = first.split(' ').map(str::to_owned);
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let body = body(&mut reader, &headers)?;
        // The host's readiness check.
        if target == "/" {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let running_now = running.fetch_add(1, Ordering::SeqCst) + 1;
        let request = Request { handler, connection, running: running_now, method, target, headers, body };
        let line = serde_json::to_string(&request).expect("it is text") + "\n";
        appending(REQUESTS).write_all(line.as_bytes())?;
        let rule = script.rules.iter().find(|rule| request.body.contains(&rule.text) && !(rule.once && handler > 1));
        apply(&rule.cloned().unwrap_or_default());
        let answer = answer(&script.answer, &request.target);
        running.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(&answer)?;
        if script.answer.close || script.answer.raw.is_some() {
            return stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn apply(rule: &Rule) {
    for line in &rule.stdout {
        println!("{line}");
    }
    for line in &rule.stderr {
        eprintln!("{line}");
    }
    thread::sleep(Duration::from_millis(rule.milliseconds));
    if let Some(code) = rule.exit {
        std::process::exit(code);
    }
}

fn answer(answer: &Answer, target: &str) -> Vec<u8> {
    if answer.close {
        return Vec::new();
    }
    if let Some(raw) = &answer.raw {
        return raw.clone().into_bytes();
    }
    let is_http = target.starts_with("/api");
    let status = answer.status.unwrap_or(200);
    let usual = match status {
        200 => "OK",
        204 => "No Content",
        _ => "Some Reason",
    };
    let json = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    let headers = answer.headers.clone().unwrap_or_else(|| if is_http { Vec::new() } else { json });
    let body = answer.body.as_deref().unwrap_or(if is_http { "ok" } else { DONE });
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let lines = lines.concat();
    let length = if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let reason = answer.reason.as_deref().unwrap_or(usual);
    format!("HTTP/1.1 {status} {reason}\r\n{lines}{length}\r\n{body}").into_bytes()
}

fn head(reader: &mut BufReader<TcpStream>) -> io::Result<(String, Vec<(String, String)>)> {
    let first = line(reader)?;
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(": ") else { return Ok((first, headers)) };
        headers.push((name.to_owned(), value.to_owned()));
    }
}

/// Its text; of a long one its size.
fn body(reader: &mut BufReader<TcpStream>, headers: &[(String, String)]) -> io::Result<String> {
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if header("Transfer-Encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&line(reader)?, 16).map_err(io::Error::other)?;
            let start = body.len();
            body.resize(start + size, 0);
            reader.read_exact(&mut body[start..])?;
            line(reader)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = header("Content-Length") {
        body.resize(length.parse().map_err(io::Error::other)?, 0);
        reader.read_exact(&mut body)?;
    }
    if body.len() > 1024 * 1024 {
        return Ok(format!("({} MiB)", body.len() / (1024 * 1024)));
    }
    String::from_utf8(body).map_err(io::Error::other)
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut bytes = Vec::new();
    if reader.read_until(b'\n', &mut bytes)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned())
}

fn appending(name: &str) -> File {
    OpenOptions::new().create(true).append(true).open(name).expect("the folder is writable")
}
