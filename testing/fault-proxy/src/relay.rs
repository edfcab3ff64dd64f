//! One connection: a pump for each direction, and the faults that may strike.

use crate::control::{Control, Tally};
use crate::faults::{Direction, HttpMode};
use crate::http::{self, Request};
use crate::rng::Rng;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// How long a WebSocket lives with [`HttpMode::KillEarly`].
const EARLY: Duration = Duration::from_millis(200);
/// Largest response that is held back, in bytes.
const MOST_HELD: usize = 64 * 1024 * 1024;
const CHUNK: usize = 16 * 1024;
/// Maximum number of chunks under way while bytes are delayed.
const UNDER_WAY: usize = 256;
/// How often a second a slow direction passes bytes on.
const STEPS: u64 = 20;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides closed it.
    Done,
    /// A fault, with a FIN to both sides.
    Cut,
    /// A fault or a failed side, with a RST to both sides.
    Reset,
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

type Told = watch::Receiver<Control>;

/// Carries one connection to its end.
pub(crate) async fn relay(mut client: TcpStream, target: &str, told: Told, tally: &Tally, rng: Rng) -> End {
    let mut server = None;
    let end = tokio::select! {
        end = carry(&mut client, &mut server, target, told.clone(), tally, rng) => end.unwrap_or(End::Reset),
        end = killed(told) => end,
    };
    if end == End::Reset {
        // Dropping a socket without this would send a FIN. A side that is gone needs neither.
        let _ = client.set_zero_linger();
        let _ = server.as_ref().map(TcpStream::set_zero_linger);
    }
    end
}

/// Returns when all connections are ended.
async fn killed(mut told: Told) -> End {
    let (cuts, resets) = {
        let now = told.borrow();
        (now.cuts, now.resets)
    };
    match told.wait_for(|control| control.cuts != cuts || control.resets != resets).await {
        Ok(control) if control.resets != resets => End::Reset,
        _ => End::Cut,
    }
}

/// `Err` if a side failed, or was never reached.
async fn carry(
    client: &mut TcpStream,
    server: &mut Option<TcpStream>,
    target: &str,
    told: Told,
    tally: &Tally,
    rng: Rng,
) -> io::Result<End> {
    let mode = told.borrow().faults.http;
    let request = match mode {
        HttpMode::Off => Request { bytes: Vec::new(), wants_websocket: false },
        _ => http::request(client).await?,
    };
    if request.wants_websocket && matches!(mode, HttpMode::KillUpgrade | HttpMode::CloseUpgrade) {
        tally.upgrades_killed.fetch_add(1, Ordering::SeqCst);
        if mode == HttpMode::KillUpgrade {
            client.write_all(http::BAD_GATEWAY).await?;
        }
        client.shutdown().await?;
        return Ok(End::Cut);
    }
    let server = server.insert(TcpStream::connect(target).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let (answered, first_answer) = watch::channel(false);
    let pump =
        |way, hold| Pump { way, hold, told: told.clone(), tally, rng: rng.clone(), answered: &answered };
    let hold = mode == HttpMode::Buffer;
    let up = pump(Way::Up, hold && request.wants_websocket);
    let down = pump(Way::Down, hold);
    let is_short_lived = mode == HttpMode::KillEarly && request.wants_websocket;
    tokio::select! {
        ended = async {
            tokio::try_join!(
                up.run(request.bytes, from_client, to_server),
                down.run(Vec::new(), from_server, to_client),
            )
        } => Ok(ended.err().unwrap_or(End::Done)),
        () = early(first_answer), if is_short_lived => Ok(End::Cut),
    }
}

async fn early(mut first_answer: watch::Receiver<bool>) {
    // The sender lives as long as the pumps.
    let _ = first_answer.wait_for(|answered| *answered).await;
    sleep(EARLY).await;
}

/// One direction.
struct Pump<'a> {
    way: Way,
    /// Whether everything is held back until it is complete.
    hold: bool,
    told: Told,
    tally: &'a Tally,
    rng: Rng,
    /// Set with the first bytes that reach the client.
    answered: &'a watch::Sender<bool>,
}

impl Pump<'_> {
    async fn run(self, first: Vec<u8>, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Result<(), End> {
        let (queue, chunks) = mpsc::channel(UNDER_WAY);
        tokio::try_join!(self.read(first, from, queue), self.write(chunks, to)).map(|_| ())
    }

    fn faults(&self) -> Direction {
        let control = self.told.borrow();
        match self.way {
            Way::Up => control.faults.up.clone(),
            Way::Down => control.faults.down.clone(),
        }
    }

    async fn out_of_the_hole(&self) {
        let way = self.way;
        let open = |control: &Control| match way {
            Way::Up => !control.faults.up.black_hole,
            Way::Down => !control.faults.down.black_hole,
        };
        // The sender lives longer than this task.
        let _ = self.told.clone().wait_for(open).await;
    }

    /// Reads until the end, and gives each chunk its time of arrival.
    async fn read(
        &self,
        first: Vec<u8>,
        mut from: ReadHalf<'_>,
        queue: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> Result<(), End> {
        let (mut rng, mut due) = (self.rng.clone(), Instant::now());
        let mut chunk = first;
        loop {
            self.out_of_the_hole().await;
            if !chunk.is_empty() {
                let faults = self.faults();
                let delay = faults.delay_ms.saturating_add(rng.up_to(faults.jitter_ms));
                due = due.max(Instant::now() + Duration::from_millis(delay));
                let twice = faults.duplicate_one_in.is_some_and(|n| rng.up_to(u64::from(n.max(1)) - 1) == 0);
                if twice {
                    self.tally.duplicated.fetch_add(1, Ordering::SeqCst);
                    queue.send((due, chunk.clone())).await.map_err(|_| End::Reset)?;
                }
                queue.send((due, chunk)).await.map_err(|_| End::Reset)?;
            }
            chunk = vec![0; CHUNK];
            let read = from.read(&mut chunk).await.map_err(|_| End::Reset)?;
            if read == 0 {
                self.out_of_the_hole().await;
                return Ok(());
            }
            chunk.truncate(read);
        }
    }

    async fn write(
        &self,
        mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
        mut to: WriteHalf<'_>,
    ) -> Result<(), End> {
        let mut budget = Budget::default();
        let mut held = Vec::new();
        while let Some((due, chunk)) = chunks.recv().await {
            sleep_until(due).await;
            if self.hold {
                held.extend_from_slice(&chunk);
                if held.len() > MOST_HELD {
                    return Err(End::Cut);
                }
            } else {
                self.pass(&chunk, &mut to, &mut budget).await?;
            }
        }
        self.pass(&held, &mut to, &mut budget).await?;
        to.shutdown().await.map_err(|_| End::Reset)
    }

    async fn pass(&self, mut bytes: &[u8], to: &mut WriteHalf<'_>, budget: &mut Budget) -> Result<(), End> {
        while !bytes.is_empty() {
            self.out_of_the_hole().await;
            let faults = self.faults();
            budget.follow(faults.truncate_after);
            let step = faults.bytes_per_s.map(|rate| rate.div_ceil(STEPS).max(1));
            let most = budget.left.unwrap_or(u64::MAX).min(step.unwrap_or(u64::MAX));
            let now = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
            to.write_all(&bytes[..now]).await.map_err(|_| End::Reset)?;
            self.count(now as u64);
            bytes = &bytes[now..];
            if budget.spend(now as u64) {
                return Err(End::Cut);
            }
            if let Some(rate) = faults.bytes_per_s {
                sleep(Duration::from_micros(now as u64 * 1_000_000 / rate.max(1))).await;
            }
        }
        Ok(())
    }

    fn count(&self, bytes: u64) {
        let counter = match self.way {
            Way::Up => &self.tally.up_bytes,
            Way::Down => {
                self.answered.send_replace(true);
                &self.tally.down_bytes
            }
        };
        counter.fetch_add(bytes, Ordering::SeqCst);
    }
}

/// How many bytes may pass before the connection ends.
#[derive(Default)]
struct Budget {
    setting: Option<u64>,
    left: Option<u64>,
}

impl Budget {
    fn follow(&mut self, setting: Option<u64>) {
        if setting != self.setting {
            (self.setting, self.left) = (setting, setting);
        }
    }

    /// Counts bytes; true if the limit is reached.
    fn spend(&mut self, bytes: u64) -> bool {
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        self.left == Some(0)
    }
}
