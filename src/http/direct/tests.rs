use std::convert::Infallible;

use axum::http::Version;
use http_body_util::{BodyExt as _, Empty};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use sandbox::net::Tls;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::{settled, tls};
use super::*;

fn direct(address: &str, kind: Server, tls: &ClientConfig) -> Direct {
    let address = address.parse().expect("an address");
    Direct::to(&address, kind, tls, &Matcher::builder().build()).expect("there is no proxy")
}

fn request(address: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = address.parse().expect("an address");
    request
}

async fn listening(scheme: &str) -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = format!("{scheme}://{}", server.local_addr().expect("it is bound"));
    (server, address)
}

/// The body of an answer whose head has so many bytes more.
async fn answered(kind: Server, more: usize) -> Option<Bytes> {
    let (server, address) = listening("http").await;
    let direct = direct(&address, kind, &tls());
    let serve = async {
        let (mut stream, _) = server.accept().await.expect("it connects");
        let _ = stream.read(&mut [0; 1_024]).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\nx-ms-meta-a: {}\r\n\r\n", "x".repeat(more));
        // Who does not want all of it closes.
        let _ = stream.write_all(&[head.as_bytes(), &[b'y'; 9_000]].concat()).await;
    };
    let (answer, ()) = tokio::join!(direct.send(request(&address)), serve);
    Some(answer.ok()?.into_body().collect().await.ok()?.to_bytes())
}

#[tokio::test]
async fn an_answer_is_read_whatever_its_length_and_a_head_like_no_storages_is_an_error_of_a_storage() {
    for (kind, more, is_read) in
        [(Server::Storage, 3_000, true), (Server::Storage, 5_000, false), (Server::Dataverse, 30_000, true)]
    {
        let length = answered(kind, more).await.map(|body| body.len());
        assert_eq!(length, is_read.then_some(9_000), "{kind:?} {more}");
    }
}

#[test]
fn where_a_proxy_stands_between_there_is_no_direct_way() {
    let proxies = Matcher::builder().http("http://proxy.example:3128").no("127.0.0.1").build();
    for (address, is_direct) in [
        ("http://a.example/locks", false),
        ("http://127.0.0.1:10000/devstoreaccount1", true),
        ("https://a.example/locks", true),
    ] {
        let address = address.parse().expect("an address");
        let direct = Direct::to(&address, Server::Storage, &tls(), &proxies);
        assert_eq!(direct.is_some(), is_direct, "{address}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_connection_and_says_nothing_gives_none() {
    let (server, address) = listening("https").await;
    let direct = direct(&address, Server::Dataverse, &tls());
    let sent = timeout(CONNECT_TIMEOUT + Duration::from_secs(1), direct.send(request(&address))).await;
    let error = sent.expect("it is given up in time").expect_err("there is no handshake");
    assert!(error.is_connect(), "{error:?}");
    drop(server);
}

/// Takes connections that offer one of `spoken`, and answers as it was agreed upon; gives how many there were.
async fn serve(server: TcpListener, keys: &Tls, spoken: &[&str], requests: usize) -> usize {
    let certificate = CertificateDer::from_pem_slice(keys.certificate_pem().as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(keys.key_pem().as_bytes()).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has the ciphers");
    let mut config =
        builder.with_no_client_auth().with_single_cert(vec![certificate], key).expect("they belong together");
    config.alpn_protocols = spoken.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (answered, mut done) = tokio::sync::watch::channel(0);
    let mut connections = 0;
    loop {
        let (stream, _) = tokio::select! {
            stream = server.accept() => stream.expect("it connects"),
            _ = done.wait_for(|answered| *answered == requests) => return connections,
        };
        connections += 1;
        let (acceptor, answered) = (acceptor.clone(), answered.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            let service = service_fn(|_| {
                answered.send_modify(|answered| *answered += 1);
                async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
            });
            let stream = TokioIo::new(stream);
            // A client that leaves is none of the server's business.
            let _ = match agreed.as_deref() {
                Some(b"h2") => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
                _ => http1::Builder::new().serve_connection(stream, service).await,
            };
        });
    }
}

#[tokio::test]
async fn http_2_is_spoken_over_one_connection_where_both_sides_know_it_and_else_1_1() {
    let keys = Tls::generate().expect("a key pair can always be made");
    let authority = CertificateDer::from_pem_slice(keys.ca_pem().as_bytes()).expect("a certificate");
    let mut trusted = RootCertStore::empty();
    trusted.add(authority).expect("it is an authority");
    let tls = settled(|builder| builder.with_root_certificates(trusted));
    for (kind, spoken, version) in [
        (Server::Dataverse, &["h2", "http/1.1"][..], Version::HTTP_2),
        (Server::Dataverse, &["http/1.1"], Version::HTTP_11),
        (Server::Storage, &["h2", "http/1.1"], Version::HTTP_11),
        (Server::Dataverse, &[], Version::HTTP_11),
    ] {
        let (server, address) = listening("https").await;
        let direct = direct(&address, kind, &tls);
        let send = async {
            for _ in 0..3 {
                let answer = direct.send(request(&address)).await.expect("it answers");
                assert_eq!(answer.version(), version, "{kind:?} {spoken:?}");
            }
        };
        let ((), connections) = tokio::join!(send, serve(server, &keys, spoken, 3));
        assert_eq!(connections, 1, "{kind:?} {spoken:?}");
    }
}
