//! An address of its own for the metrics, without a token: whoever reaches it reads them.

use super::response;
use crate::app::App;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Most sockets at the same time.
const SOCKETS: usize = 16;
/// How long a socket may be open.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves `GET /metrics` until it is aborted.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>) {
    let router = Router::new()
        .route("/metrics", get(|State(app): State<Arc<App>>| async move { response(&app) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "the metrics are at /metrics\n") })
        .with_state(app.clone());
    let places = Arc::new(Semaphore::new(SOCKETS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection for the metrics");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (router, header) = (router.clone(), app.config.timeouts.header);
        tokio::spawn(async move {
            let _ = timeout(PATIENCE, answer(stream, router, header)).await;
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, router: Router, header: Duration) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request for the metrics failed");
    }
}
