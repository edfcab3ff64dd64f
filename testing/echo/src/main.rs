//! Echoes over WebSockets, with the settings of the server or of the native client:
//!
//! ```text
//! tidewire-echo server              prints its address, and echoes until its standard input ends
//! tidewire-echo client HOST:PORT    plays all cases of Autobahn's fuzzing server there
//! ```

use std::io::Read;
use std::process::ExitCode;

use axum::Router;
use axum::extract::ws::{Message as AxumMessage, WebSocket, WebSocketUpgrade};
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

type Failure = Box<dyn std::error::Error>;

/// The name in Autobahn's report.
const AGENT: &str = "tidewire-client";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["server"] => server().await,
        ["client", address] => client(address).await,
        _ => Err("tidewire-echo server | tidewire-echo client HOST:PORT".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn server() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    // Ends with the program that started it, even if that was killed.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let app = Router::new().fallback(any(|upgrade: WebSocketUpgrade| async {
        let limit = tidewire_server::Config::default().limits.message_bytes;
        tidewire_server::websocket_settings(upgrade, limit).on_upgrade(echo)
    }));
    axum::serve(listener, app).await?;
    Ok(())
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        // Pings and closes are answered by the library.
        if matches!(message, AxumMessage::Text(_) | AxumMessage::Binary(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

async fn client(address: &str) -> Result<(), Failure> {
    let mut socket = open(address, "getCaseCount").await?;
    let count = socket.next().await.ok_or("no count came")??.into_text()?;
    let count: u32 = count.parse()?;
    for case in 1..=count {
        // Autobahn decides whether a case that ends with an error has failed.
        let _ = play(address, case).await;
    }
    let mut socket = open(address, &format!("updateReports?agent={AGENT}")).await?;
    while let Some(Ok(_)) = socket.next().await {}
    Ok(())
}

async fn play(address: &str, case: u32) -> Result<(), Failure> {
    let mut socket = open(address, &format!("runCase?case={case}&agent={AGENT}")).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if matches!(message, Message::Text(_) | Message::Binary(_)) {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn open(address: &str, path: &str) -> Result<WebSocketStream<TcpStream>, Failure> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let url = format!("ws://{address}/{path}");
    let config = Some(tidewire::websocket_config());
    let (socket, _) = tokio_tungstenite::client_async_with_config(url, stream, config).await?;
    Ok(socket)
}
