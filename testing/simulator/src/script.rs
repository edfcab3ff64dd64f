//! The script of a run: its set-up, and which action happens when. It can be written as text and
//! replayed.

use serde::{Deserialize, Serialize};

/// How long faults strike, in ms of virtual time.
pub const FAULTS_MS: u64 = 90_000;
/// The wall clock at the beginning of a run, in ms.
pub(crate) const WALL_MS: u64 = 1_795_000_000_000;
/// The two channels: clients show the first as a dialog's rows, and the second as bare events.
pub(crate) const CHANNELS: [&str; 2] = ["dialog:a", "dialog:b"];

/// A whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The seed for delays, ids and the clients' own randomness.
    pub seed: u64,
    /// How many clients there are.
    pub devices: usize,
    /// The set-up.
    pub world: Setup,
    /// Whether to print what happens.
    #[serde(skip)]
    pub trace: bool,
    /// The actions, with their times in ms.
    pub actions: Vec<(u64, Action)>,
}

/// The set-up of a world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Longest delay of a message, in ms.
    pub delay_ms: u64,
    /// Longest time that a commit takes at the server, in ms.
    pub commit_ms: u64,
    /// Longest time that a change takes on a client's disk, in ms.
    pub disk_ms: u64,
    /// How long tokens last, in s.
    pub token_s: u64,
    /// Whether clients have the small budget of guests.
    pub guests: bool,
    /// Whether the last client's user is an operator.
    #[serde(default)]
    pub operator: bool,
    /// Handshakes of all clients together in a minute; 0 for no limit.
    pub handshakes: u64,
    /// Most connections subscribed to a channel.
    pub seats: usize,
    /// Whether clients have other transports than the WebSocket.
    pub fallbacks: bool,
    /// How long clients collect ops for one message, in ms.
    pub batch_ms: u64,
    /// Whether messages are answered.
    pub answers: bool,
    /// One message in this many arrives twice; 0 for none.
    pub twice_in: u64,
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFault {
    /// A change takes up to seconds.
    Slow,
    /// It is full.
    Full,
    /// It reports an error, and nothing was written.
    Fails,
    /// It reports an error, and everything was written.
    Lies,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// From the client.
    Up,
    /// To the client.
    Down,
    /// Both.
    Both,
}

/// Something that users do, or a fault. `on` is the client's number; `ms` is how long it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
#[allow(missing_docs)] // The comment above explains the members.
pub enum Action {
    /// A user writes a message into one of the two channels.
    Write { on: usize, channel: usize },
    /// A user sends an op of the session lane.
    Nudge { on: usize },
    /// A user types, which is sent as a signal.
    Signal { on: usize },
    /// A user writes a letter of a message, or takes the last one away.
    Type { on: usize, ends: bool },
    /// A user holds a lease with this number, or gives it up.
    Hold { on: usize, number: Option<u64> },
    /// A user has read the first channel up to this many events before the newest one shown.
    Read { on: usize, back: u64 },
    /// A user asks for an operator or an operator takes a dialog, and so on, in the first channel.
    Hand { on: usize, what: u64 },
    /// A user stops the newest answer.
    Stop { on: usize },
    /// The connection breaks, and both sides are notified.
    Cut { on: usize },
    /// Messages vanish for as long as this connection lasts.
    HalfOpen { on: usize, way: Way },
    /// Links carry only this many bytes per second.
    Slow { on: usize, ms: u64, bytes_per_s: u64 },
    /// Messages take this much longer.
    Lag { on: usize, ms: u64, delay_ms: u64 },
    /// The next message arrives twice.
    Twice { on: usize, way: Way },
    /// The next message is cut in half.
    Truncate { on: usize, way: Way },
    /// The next piece of an answer is lost, and nothing else.
    MissPiece { on: usize },
    /// WebSockets break soon after they opened.
    BlockSockets { on: usize, ms: u64 },
    /// There is no network. If `hinted`, the system reports it.
    NoNetwork { on: usize, ms: u64, hinted: bool },
    /// The client changes to another network.
    OtherNetwork { on: usize },
    /// The server's process ends; its sockets are reset.
    ServerCrash { ms: u64 },
    /// The server's machine loses its power; its clients are not notified.
    PowerLoss { ms: u64 },
    /// The server drains and restarts.
    Drain { ms: u64 },
    /// The server sends its clients to other nodes, but accepts new connections.
    Goaway { spread_ms: u64 },
    /// The server's disk fails.
    ServerDisk { ms: u64, disk: DiskFault },
    /// A backup is made.
    Backup,
    /// The server restarts with the last backup.
    Restore { ms: u64 },
    /// Retention removes all but this many events of each channel.
    Trim { keep: u64 },
    /// The client's process ends: what is not on its disk is lost.
    Crash { on: usize, ms: u64 },
    /// The client's disk fails.
    ClientDisk { on: usize, ms: u64, disk: DiskFault },
    /// The wall clock jumps by `ms`: back if `back`, otherwise ahead.
    Clock { on: usize, ms: u64, back: bool },
    /// The machine sleeps: no timer fires, the monotonic clock stands still, and the wall clock
    /// shows `asleep_ms` more afterwards.
    Suspend { on: usize, ms: u64, asleep_ms: u64 },
    /// The page is frozen.
    Freeze { on: usize, ms: u64 },
    /// The page is hidden.
    Hide { on: usize, ms: u64 },
    /// Tokens issued before now are refused as expired.
    Expire { on: usize },
    /// Tokens issued before now are refused permanently, as after a change of keys.
    Rekey { on: usize },
    /// The application has no token.
    NoToken { on: usize, ms: u64 },
    /// The client may no longer see the second channel.
    Revoke { on: usize, ms: u64 },
    /// Another tab becomes the leader, and this one runs on for a while.
    Handover { on: usize, ms: u64 },
    /// The application goes offline.
    Close { on: usize, ms: u64 },
    /// The application leaves the dialog and comes back.
    Leave { on: usize, ms: u64 },
    /// Another screen of the application shows the dialog for a while.
    SecondScreen { on: usize, ms: u64 },
    /// A person looks at older rows of the dialog.
    LookBack { on: usize, most: u64 },
}

impl Action {
    /// The name under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Write { .. } => "write",
            Action::Nudge { .. } => "nudge",
            Action::Signal { .. } => "signal",
            Action::Type { .. } => "type",
            Action::Hold { .. } => "hold",
            Action::Read { .. } => "read",
            Action::Hand { .. } => "hand",
            Action::Stop { .. } => "stop",
            Action::Cut { .. } => "cut",
            Action::HalfOpen { way: Way::Up, .. } => "half_open_up",
            Action::HalfOpen { way: Way::Down, .. } => "half_open_down",
            Action::HalfOpen { way: Way::Both, .. } => "half_open_both",
            Action::Slow { .. } => "slow",
            Action::Lag { .. } => "lag",
            Action::Twice { .. } => "twice",
            Action::Truncate { .. } => "truncate",
            Action::MissPiece { .. } => "miss_piece",
            Action::BlockSockets { .. } => "block_sockets",
            Action::NoNetwork { .. } => "no_network",
            Action::OtherNetwork { .. } => "other_network",
            Action::ServerCrash { .. } => "server_crash",
            Action::PowerLoss { .. } => "power_loss",
            Action::Drain { .. } => "drain",
            Action::Goaway { .. } => "goaway",
            Action::ServerDisk { disk: DiskFault::Slow, .. } => "server_disk_slow",
            Action::ServerDisk { disk: DiskFault::Full, .. } => "server_disk_full",
            Action::ServerDisk { disk: DiskFault::Fails, .. } => "server_disk_fails",
            Action::ServerDisk { disk: DiskFault::Lies, .. } => "server_disk_lies",
            Action::Backup => "backup",
            Action::Restore { .. } => "restore",
            Action::Trim { .. } => "trim",
            Action::Crash { .. } => "client_crash",
            Action::ClientDisk { disk: DiskFault::Slow, .. } => "client_disk_slow",
            Action::ClientDisk { .. } => "client_disk_fails",
            Action::Clock { .. } => "clock_jump",
            Action::Suspend { .. } => "suspend",
            Action::Freeze { .. } => "freeze",
            Action::Hide { .. } => "hide",
            Action::Expire { .. } => "token_expired",
            Action::Rekey { .. } => "token_refused",
            Action::NoToken { .. } => "no_token",
            Action::Revoke { .. } => "revoke",
            Action::Handover { .. } => "tab_handover",
            Action::Close { .. } => "close",
            Action::Leave { .. } => "leave",
            Action::SecondScreen { .. } => "second_screen",
            Action::LookBack { .. } => "look_back",
        }
    }

    /// Whether it is something that users do, and not a fault.
    pub fn is_use(&self) -> bool {
        matches!(
            self,
            Action::Write { .. }
                | Action::Nudge { .. }
                | Action::Signal { .. }
                | Action::Type { .. }
                | Action::Hold { .. }
                | Action::Read { .. }
                | Action::Hand { .. }
                | Action::Stop { .. }
                | Action::LookBack { .. }
                | Action::Backup
        )
    }
}

impl Script {
    /// Reads a script as [`Script::to_text`] wrote it.
    pub fn parse(text: &str) -> Result<Script, String> {
        serde_json::from_str(text).map_err(|error| format!("not a script: {error}"))
    }

    /// One action a line.
    pub fn to_text(&self) -> String {
        let json = |value: &dyn erased::Json| value.text();
        let actions: Vec<String> = self.actions.iter().map(|action| format!("  {}", json(action))).collect();
        format!(
            "{{\"seed\":{},\"devices\":{},\"world\":{},\"actions\":[\n{}\n]}}\n",
            self.seed,
            self.devices,
            json(&self.world),
            actions.join(",\n")
        )
    }
}

mod erased {
    /// Anything that can be written as JSON.
    pub(super) trait Json {
        fn text(&self) -> String;
    }

    impl<T: serde::Serialize> Json for T {
        fn text(&self) -> String {
            serde_json::to_string(self).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::plan;

    #[test]
    fn a_script_survives_being_written() {
        for seed in 0..50 {
            let script = plan::of_seed(seed);
            assert_eq!(super::Script::parse(&script.to_text()), Ok(script));
        }
    }
}
