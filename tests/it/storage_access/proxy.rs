//! A forward proxy, as in company networks: clients send it absolute URLs or CONNECT.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Forwards every connection to one server, whichever server the client named.
pub(super) struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl Proxy {
    /// A proxy in front of the server at `address`.
    pub(super) async fn start(address: &str) -> Self {
        let url = reqwest::Url::parse(address).expect("an address");
        let behind = url.port().expect("stand-ins have a port of their own");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let (asked, mut serving) = (Arc::default(), JoinSet::new());
        serving.spawn(serve(listener, behind, Arc::clone(&asked)));
        Self { port, asked, _serving: serving }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The first line of each connection's first request.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no task panics with it").clone()
    }
}

async fn serve(listener: TcpListener, behind: u16, asked: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(pass_on(stream, behind, Arc::clone(&asked)));
    }
}

async fn pass_on(mut stream: TcpStream, behind: u16, asked: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut head = vec![0; 16 * 1024];
    let length = stream.read(&mut head).await?;
    let line = String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned();
    asked.lock().expect("no task panics with it").push(line);
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, behind)).await?;
    server.write_all(&head[..length]).await?;
    copy_bidirectional(&mut stream, &mut server).await?;
    Ok(())
}
