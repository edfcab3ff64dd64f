//! What middleboxes do to HTTP, with a small server that streams a response, and upgrades.

use std::time::{Duration, Instant};
use tidewire_fault_proxy::{Faults, HttpMode, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const SLOW: Duration = Duration::from_millis(300);

/// Answers `/slow` in two halves, anything else at once, and echoes after an upgrade. Keeps
/// connections open unless a request says otherwise.
async fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        if head.contains("upgrade: websocket") {
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n").await?;
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await?;
            return Ok(());
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf").await?;
        if head.starts_with("get /slow") {
            sleep(SLOW).await;
        }
        stream.write_all(b"half").await?;
        if head.contains("connection: close") {
            return Ok(());
        }
    }
}

async fn proxied(http: HttpMode) -> Proxy {
    let proxy = Proxy::start(&server().await).await.expect("starts");
    proxy.set(Faults { http, ..Faults::default() });
    proxy
}

async fn ask(proxy: &Proxy, path: &str, headers: &str) -> TcpStream {
    let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    // In two parts: heads need not come at once.
    client.write_all(&request.as_bytes()[..20]).await.expect("written");
    sleep(Duration::from_millis(5)).await;
    client.write_all(&request.as_bytes()[20..]).await.expect("written");
    client
}

async fn upgrade(proxy: &Proxy) -> TcpStream {
    ask(proxy, "/v1/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n").await
}

/// What comes until the connection ends or is silent for a moment.
async fn heard(client: &mut TcpStream) -> (String, bool) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match timeout(Duration::from_millis(100), client.read(&mut buffer)).await {
            Err(_) => return (String::from_utf8_lossy(&bytes).into_owned(), false),
            Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&bytes).into_owned(), true),
            Ok(Ok(read)) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
}

async fn to_the_end(client: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // How it ends does not matter.
    let _ = timeout(PATIENCE, client.read_to_end(&mut text)).await.expect("in time");
    String::from_utf8_lossy(&text).into_owned()
}

async fn plain_requests_pass(proxy: &Proxy) {
    for _ in 0..2 {
        let answer = to_the_end(&mut ask(proxy, "/", "connection: keep-alive\r\n").await).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("halfhalf"), "{answer}");
    }
}

#[tokio::test]
async fn kill_upgrade_answers_websockets_with_502_and_lets_the_rest_pass() {
    let proxy = proxied(HttpMode::KillUpgrade).await;
    assert!(to_the_end(&mut upgrade(&proxy).await).await.starts_with("HTTP/1.1 502 "));
    plain_requests_pass(&proxy).await;
    assert_eq!(proxy.counters().upgrades_killed, 1);
}

#[tokio::test]
async fn close_upgrade_closes_without_a_word() {
    let proxy = proxied(HttpMode::CloseUpgrade).await;
    assert_eq!(to_the_end(&mut upgrade(&proxy).await).await, "");
    plain_requests_pass(&proxy).await;
    assert_eq!(proxy.counters().upgrades_killed, 1);
}

#[tokio::test]
async fn kill_early_gives_websockets_200_ms() {
    let proxy = proxied(HttpMode::KillEarly).await;
    let begun = Instant::now();
    let mut client = upgrade(&proxy).await;
    client.write_all(b"echo").await.expect("written");
    let answer = to_the_end(&mut client).await;
    let took = begun.elapsed();
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("echo"), "{answer}");
    assert!(took >= Duration::from_millis(195) && took < Duration::from_millis(2_000), "{took:?}");
    // Plain requests may take longer than that.
    assert!(to_the_end(&mut ask(&proxy, "/slow", "").await).await.ends_with("halfhalf"));
    plain_requests_pass(&proxy).await;
}

#[tokio::test]
async fn buffer_holds_a_response_back_until_it_is_complete() {
    let proxy = proxied(HttpMode::Buffer).await;
    let begun = Instant::now();
    let mut client = ask(&proxy, "/slow", "").await;
    assert_eq!(heard(&mut client).await, (String::new(), false));
    assert!(to_the_end(&mut client).await.ends_with("halfhalf"));
    assert!(begun.elapsed() >= SLOW);
    plain_requests_pass(&proxy).await;
}

#[tokio::test]
async fn buffer_holds_everything_of_a_websocket_until_it_is_closed() {
    let proxy = proxied(HttpMode::Buffer).await;
    let mut client = upgrade(&proxy).await;
    client.write_all(b"echo").await.expect("written");
    assert_eq!(heard(&mut client).await, (String::new(), false));
    client.shutdown().await.expect("closed");
    assert!(to_the_end(&mut client).await.ends_with("echo"));
}

#[tokio::test]
async fn without_a_mode_both_pass_at_once() {
    let proxy = proxied(HttpMode::Off).await;
    let (answer, ended) = heard(&mut upgrade(&proxy).await).await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && !ended);
    let (answer, ended) = heard(&mut ask(&proxy, "/slow", "").await).await;
    assert!(answer.ends_with("\r\n\r\nhalf") && !ended);
}
