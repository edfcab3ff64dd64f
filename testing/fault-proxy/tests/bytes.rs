//! Faults of bytes, with a server that echoes.

use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tidewire_fault_proxy::{Direction, Faults, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing must arrive to count as silence.
const SILENCE: Duration = Duration::from_millis(200);

async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await?;
                to.shutdown().await
            });
        }
    });
    address
}

async fn proxied() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(&echo().await).await.expect("starts");
    let client = TcpStream::connect(proxy.address()).await.expect("connects");
    (proxy, client)
}

fn up(up: Direction) -> Faults {
    Faults { up, ..Faults::default() }
}

fn down(down: Direction) -> Faults {
    Faults { down, ..Faults::default() }
}

async fn read(client: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    timeout(PATIENCE, client.read_exact(&mut buffer)).await.expect("in time").expect("all of it");
    buffer
}

/// Everything up to the end of the connection, and how it ended.
async fn rest(client: &mut TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut buffer = Vec::new();
    let end = timeout(PATIENCE, client.read_to_end(&mut buffer)).await.expect("in time");
    (buffer, end.map(|_| ()).map_err(|error| error.kind()))
}

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(SILENCE, client.read_u8()).await.is_err()
}

async fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_faults_everything_passes_also_the_half_close() {
    let (proxy, mut client) = proxied().await;
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut from, mut to) = client.split();
    let (received, ()) = tokio::join!(
        async {
            let mut received = Vec::new();
            from.read_to_end(&mut received).await.expect("read");
            received
        },
        async {
            to.write_all(&sent).await.expect("written");
            to.shutdown().await.expect("closed");
        }
    );
    assert!(received == sent);
    until(|| proxy.counters().open == 0).await;
    let counters = proxy.counters();
    assert_eq!((counters.accepted, counters.ended), (1, 0));
    assert_eq!((counters.up_bytes, counters.down_bytes), (1_000_000, 1_000_000));
}

#[tokio::test]
async fn a_delay_holds_bytes_up_and_keeps_their_order() {
    let (proxy, mut client) = proxied().await;
    proxy.set(up(Direction { delay_ms: 100, jitter_ms: 50, ..Direction::default() }));
    let begun = Instant::now();
    for n in 0..20 {
        client.write_all(&[n]).await.expect("written");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(read(&mut client, 20).await, (0..20).collect::<Vec<u8>>());
    let took = begun.elapsed();
    // All of them were under way at once.
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(1_000), "{took:?}");
}

#[tokio::test]
async fn a_slow_direction_moves_so_many_bytes_a_second() {
    let (proxy, mut client) = proxied().await;
    proxy.set(down(Direction { bytes_per_s: Some(10_000), ..Direction::default() }));
    let begun = Instant::now();
    client.write_all(&[7; 5_000]).await.expect("written");
    read(&mut client, 5_000).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_millis(3_000), "{took:?}");
}

#[tokio::test]
async fn a_truncated_stream_ends_after_exactly_so_many_bytes() {
    let (proxy, mut client) = proxied().await;
    client.write_all(&[1; 10]).await.expect("written");
    read(&mut client, 10).await;
    // Counted from here.
    proxy.set(down(Direction { truncate_after: Some(7), ..Direction::default() }));
    client.write_all(&[2; 10]).await.expect("written");
    assert_eq!(rest(&mut client).await, (vec![2; 7], Ok(())));
    assert_eq!(proxy.counters().ended, 1);
}

#[tokio::test]
async fn a_duplicated_chunk_comes_twice() {
    let (proxy, mut client) = proxied().await;
    proxy.set(up(Direction { duplicate_one_in: Some(1), ..Direction::default() }));
    client.write_all(b"abc").await.expect("written");
    assert_eq!(read(&mut client, 6).await, b"abcabc");
    proxy.set(Faults::default());
    client.write_all(b"d").await.expect("written");
    assert_eq!(read(&mut client, 1).await, b"d");
    assert_eq!(proxy.counters().duplicated, 1);
}

#[tokio::test]
async fn a_hole_swallows_one_direction_until_it_heals() {
    let (proxy, mut client) = proxied().await;
    for (hole, reach_the_server) in [(up as fn(Direction) -> Faults, 0), (down, 5)] {
        proxy.set(hole(Direction { black_hole: true, ..Direction::default() }));
        let before = proxy.counters();
        client.write_all(b"lost?").await.expect("written");
        assert!(is_silent(&mut client).await);
        let after = proxy.counters();
        assert_eq!(after.down_bytes, before.down_bytes);
        // The other direction continues.
        assert_eq!(after.up_bytes - before.up_bytes, reach_the_server);
        proxy.set(Faults::default());
        assert_eq!(read(&mut client, 5).await, b"lost?");
    }
}

#[tokio::test]
async fn a_hole_hides_the_end_of_the_connection_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let target = listener.local_addr().expect("bound").to_string();
    let proxy = Proxy::start(&target).await.expect("starts");
    let client = TcpStream::connect(proxy.address()).await.expect("connects");
    let (mut server, _) = listener.accept().await.expect("accepted");
    proxy.set(up(Direction { black_hole: true, ..Direction::default() }));
    drop(client);
    // For the server the connection is open: half-open.
    assert!(is_silent(&mut server).await);
    proxy.set(Faults::default());
    assert_eq!(rest(&mut server).await, (vec![], Ok(())));
}

#[tokio::test]
async fn a_cut_is_a_fin_and_a_reset_is_a_rst_for_both_sides() {
    for (reset, end) in [(false, Ok(())), (true, Err(ErrorKind::ConnectionReset))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = listener.local_addr().expect("bound").to_string();
        let proxy = Proxy::start(&target).await.expect("starts");
        let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
        let (mut server, _) = listener.accept().await.expect("accepted");
        client.write_all(b"x").await.expect("written");
        read(&mut server, 1).await;
        if reset {
            proxy.reset_all()
        } else {
            proxy.cut_all()
        }
        assert_eq!(rest(&mut client).await, (vec![], end));
        assert_eq!(rest(&mut server).await, (vec![], end));
        assert_eq!(proxy.counters().ended, 1);
        // The next connection is not concerned.
        let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
        let (mut server, _) = listener.accept().await.expect("accepted");
        client.write_all(b"y").await.expect("written");
        assert_eq!(read(&mut server, 1).await, b"y");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses_does_so_until_it_heals() {
    let (proxy, mut client) = proxied().await;
    client.write_all(b"a").await.expect("written");
    read(&mut client, 1).await;
    proxy.set(Faults { refuse: true, ..Faults::default() });
    let refused = async {
        // One that comes in this very moment may be reset instead.
        while TcpStream::connect(proxy.address()).await.err().map(|error| error.kind())
            != Some(ErrorKind::ConnectionRefused)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("in time");
    // Those that are open stay so.
    client.write_all(b"b").await.expect("written");
    assert_eq!(read(&mut client, 1).await, b"b");
    proxy.set(Faults::default());
    let again = async {
        while TcpStream::connect(proxy.address()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("in time");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset_for_the_client() {
    let nowhere = format!("127.0.0.1:{}", tidewire_ports::free());
    let proxy = Proxy::start(&nowhere).await.expect("starts");
    let mut client = TcpStream::connect(proxy.address()).await.expect("connects");
    assert_eq!(rest(&mut client).await.1, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn dropping_the_proxy_ends_its_connections() {
    let (proxy, mut client) = proxied().await;
    client.write_all(b"a").await.expect("written");
    read(&mut client, 1).await;
    let address = proxy.address();
    drop(proxy);
    assert_eq!(rest(&mut client).await.0, vec![]);
    assert!(TcpStream::connect(address).await.is_err());
}
