//! The server's process: its decisions come from `tidewire-server-core`, its disk is a database in
//! memory. What is handed in is committed all at once, later: until then a crash loses it.

use crate::dice::Dice;
use crate::log_watch::LogWatch;
use crate::script::{Disk, Setup};
use rusqlite::Connection;
use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewire_core::wire::{User, UserKind};
use tidewire_core::{Now, Time};
use tidewire_server_core::dialog::ops::Kinds;
use tidewire_server_core::store::{
    ChannelRow, CreateDialog, Done, Found, Got, Outcome, Read, Reply, Revocation, Store, StoreError, Trim,
    Write,
};
use tidewire_server_core::{
    Answer as Answered, Answering, AuthError, Channel, Connections, Engine, Flow, Hub, Identity, Ids,
    Limiter, Peer, Revocations, Run, ServerLimits, Session, Step, Text, Timeouts, Verify, Wake, left_ended,
    reconcile,
};
use tidewire_server_sqlite::log::{self, Outside};
use uuid::Uuid;

/// The wall clock at the begin of a run.
pub(crate) const WALL: u64 = 1_795_000_000_000;
/// The two channels: the first as a dialog's rows, the second as bare events.
pub(crate) const CHANNELS: [&str; 2] = ["dialog:a", "dialog:b"];
/// Between two words of an answer.
const WORD_MS: u64 = 120;

/// What the application's backend thinks of tokens, by device.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// Older tokens have expired.
    pub(crate) expired_before: u64,
    /// Older tokens are no longer vouched for.
    pub(crate) refused_before: u64,
    /// When access was last given back: a token that the application keeps is not older.
    pub(crate) granted: u64,
    /// No access to the second channel.
    pub(crate) revoked: bool,
    /// The server was told, and has not forgotten it: no op of the device may be taken there.
    pub(crate) barred: bool,
}

/// Tokens are `device.issued.expires`, in ms and s.
struct Tokens {
    rules: Arc<Mutex<Vec<Rules>>>,
    kind: UserKind,
}

impl Verify for Tokens {
    fn verify(&self, token: &str, now: Now) -> Result<Identity, AuthError> {
        let mut parts = token.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        let (device, issued, expires_s) = (next(), next(), next());
        let rules = lock(&self.rules)[device as usize];
        if issued < rules.refused_before {
            return Err(AuthError::Refused("no key vouches for it".to_owned()));
        }
        if issued < rules.expired_before || expires_s * 1000 <= now.wall {
            return Err(AuthError::Expired { at: expires_s });
        }
        let issued_s = Some((WALL + issued) / 1000);
        let id = format!("u{device}");
        let mut dialogs = HashSet::from(["a".to_owned()]);
        if !rules.revoked {
            dialogs.insert("b".to_owned());
        }
        Ok(Identity {
            user: User { name: id.clone(), id, kind: self.kind },
            dialogs,
            claims: Default::default(),
            issued_s,
            expires_s,
        })
    }
}

struct Inbox {
    handed_in: Mutex<Vec<HandedIn>>,
    rules: Arc<Mutex<Vec<Rules>>>,
}

struct HandedIn {
    write: Write,
    done: Done,
    /// Its author had no access when it came.
    barred: bool,
}

impl Store for Inbox {
    fn write(&self, write: Write, done: Done) {
        let barred = match &write {
            Write::Append(event) if &*event.name == CHANNELS[1] => {
                let device = event.author.rsplit('u').next().and_then(|number| number.parse::<usize>().ok());
                device.is_some_and(|device| lock(&self.rules)[device].barred)
            }
            _ => false,
        };
        lock(&self.handed_in).push(HandedIn { write, done, barred });
    }

    /// The simulator reads the database itself.
    fn read(&self, _: Read, got: Got) {
        got(Err(StoreError::Unavailable));
    }
}

/// Ids in order of time, with nothing random in them.
struct Counting(AtomicU64);

impl Ids for Counting {
    fn next(&self) -> Uuid {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u128(0x0000_5e12_7e12_7000_8000_0000_0000_0000 + u128::from(n))
    }
}

#[derive(Default)]
struct Begun {
    channels: Mutex<Vec<Arc<Channel>>>,
    draining: AtomicBool,
}

impl Answering for Begun {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn start(self: Arc<Self>, channel: &Arc<Channel>) {
        lock(&self.channels).push(channel.clone());
    }
}

struct Clock(u64);

impl Outside for Clock {
    fn now_ms(&self) -> u64 {
        self.0
    }

    fn digest(&self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn enough(&self) -> bool {
        false
    }
}

/// An answer under way.
struct Answer {
    run: Run,
    channel: Option<Arc<Channel>>,
    stop: Arc<AtomicBool>,
    told: Arc<Mutex<Vec<Result<Outcome, StoreError>>>>,
    words: u64,
    next_word: u64,
    /// A crash left it open: it only ends.
    left: bool,
}

/// A committed event, for whoever compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) offset: u64,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) body: String,
}

pub(crate) struct Server {
    db: Connection,
    backup: Option<Connection>,
    pub(crate) rules: Arc<Mutex<Vec<Rules>>>,
    setup: Setup,
    ids: Arc<Counting>,
    life: Option<Life>,
    epochs: u64,
    disk: Option<(Disk, u64)>,
    dice: Dice,
    logs: [LogWatch; 2],
    now: u64,
    /// What must not be, found in the log.
    pub(crate) found: Vec<(&'static str, String)>,
}

/// From a start to an end.
struct Life {
    engine: Arc<Engine>,
    inbox: Arc<Inbox>,
    begun: Arc<Begun>,
    answers: Vec<Answer>,
}

impl Server {
    pub(crate) fn new(setup: &Setup, devices: usize, seed: u64) -> rusqlite::Result<Server> {
        let mut db = Connection::open_in_memory()?;
        db.pragma_update(None, "synchronous", "OFF")?;
        db.pragma_update(None, "journal_mode", "MEMORY")?;
        log::tune(&db)?;
        log::migrate(&mut db).map_err(|_| rusqlite::Error::InvalidQuery)?;
        let dialogs: Vec<Write> = CHANNELS
            .iter()
            .map(|name| Write::CreateDialog(CreateDialog { name: (*name).to_owned(), owner: None }))
            .collect();
        log::begin(&db, &dialogs.iter().collect::<Vec<_>>(), &Clock(WALL))?;
        log::commit(&db)?;
        let rules = Arc::new(Mutex::new(vec![Rules::default(); devices]));
        Ok(Server {
            db,
            backup: None,
            rules,
            setup: setup.clone(),
            ids: Arc::new(Counting(AtomicU64::new(1))),
            life: None,
            epochs: 1,
            disk: None,
            dice: Dice::new(seed),
            logs: Default::default(),
            now: 0,
            found: Vec::new(),
        })
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub(crate) fn engine(&self) -> Option<&Arc<Engine>> {
        self.life.as_ref().map(|life| &life.engine)
    }

    pub(crate) fn start(&mut self, now: u64) -> rusqlite::Result<()> {
        let inbox = Arc::new(Inbox { handed_in: Mutex::default(), rules: self.rules.clone() });
        let begun = Arc::new(Begun::default());
        let known = ask(&self.db, &Read::Revocations, Reply::revocations)?;
        for (device, rules) in lock(&self.rules).iter_mut().enumerate() {
            rules.barred &= known.iter().any(|one| one.user == self.user(device));
        }
        let kind = if self.setup.guests { UserKind::Guest } else { UserKind::User };
        let limits = ServerLimits { connections_per_dialog: self.setup.seats, ..ServerLimits::default() };
        let answers: Option<Arc<dyn Answering>> = if self.setup.answers { Some(begun.clone()) } else { None };
        let engine = Arc::new(Engine {
            limits,
            timeouts: Timeouts::default(),
            handshakes: (self.setup.handshakes > 0).then_some(self.setup.handshakes),
            epoch: format!("e{}", self.epochs),
            auth: Arc::new(Tokens { rules: self.rules.clone(), kind }),
            store: inbox.clone(),
            kinds: Kinds::standard(),
            hub: Arc::new(Hub::new(HashSet::new())),
            limiter: Limiter::default(),
            connections: Connections::new(1_000, 1_000, None, Box::new(|| ())),
            revocations: Revocations::new(known),
            answers,
            tables: None,
        });
        let mut life = Life { engine, inbox, begun, answers: Vec::new() };
        for left in ask(&self.db, &Read::Unfinished, Reply::unfinished)? {
            let channel = load(&self.db, &life.engine, &left.name)?;
            life.answers.push(Answer {
                run: Run::left(left, channel.clone(), self.ids.clone()),
                channel,
                stop: Arc::default(),
                told: Arc::default(),
                words: 0,
                next_word: now,
                left: true,
            });
        }
        if self.setup.answers {
            for (name, offset) in ask(&self.db, &Read::Wanting, Reply::wanting)? {
                if let Some(channel) = load(&self.db, &life.engine, &name)? {
                    channel.want_answer(offset).carry_out(life.engine.answers.as_ref(), &channel);
                }
            }
        }
        self.life = Some(life);
        Ok(())
    }

    /// The process ends; what was not committed is gone.
    pub(crate) fn crash(&mut self) {
        self.life = None;
    }

    /// No answer is begun any more, and those under way end.
    pub(crate) fn drain(&mut self) {
        if let Some(life) = &mut self.life {
            life.begun.draining.store(true, Ordering::Relaxed);
            life.answers.iter_mut().for_each(|answer| answer.run.drain());
        }
    }

    pub(crate) fn break_disk(&mut self, disk: Disk, until: u64) {
        self.disk = Some((disk, until));
    }

    pub(crate) fn heal(&mut self) {
        self.disk = None;
    }

    pub(crate) fn take_backup(&mut self) -> rusqlite::Result<()> {
        let mut copy = Connection::open_in_memory()?;
        rusqlite::backup::Backup::new(&self.db, &mut copy)?.step(-1)?;
        self.backup = Some(copy);
        Ok(())
    }

    /// Takes back what a device may see of the second channel.
    pub(crate) fn revoke(&self, device: usize, now: u64) {
        let revocation =
            Revocation { user: self.user(device), dialog: Some("b".to_owned()), since_ms: WALL + now };
        if let Some(engine) = self.engine() {
            engine.revoke(revocation, Box::new(|_| ()));
            lock(&self.rules)[device].barred = true;
        }
    }

    fn user(&self, device: usize) -> String {
        format!("{}:u{device}", if self.setup.guests { "guest" } else { "user" })
    }

    /// Puts the last backup in the place of the database, which must be down: another life of the
    /// log begins.
    pub(crate) fn restore(&mut self) -> rusqlite::Result<bool> {
        let Some(backup) = &self.backup else { return Ok(false) };
        rusqlite::backup::Backup::new(backup, &mut self.db)?.step(-1)?;
        self.epochs += 1;
        for (name, watch) in CHANNELS.iter().zip(&mut self.logs) {
            watch.begins_after(row(&self.db, name)?.map_or(0, |row| row.floor));
        }
        self.look()?;
        Ok(true)
    }

    /// Hands in what trims both channels.
    pub(crate) fn trim(&mut self, keep: u64) -> rusqlite::Result<()> {
        for name in CHANNELS {
            let Some(row) = row(&self.db, name)? else { continue };
            let Some(life) = &self.life else { continue };
            let (channel, trim) = (
                life.engine.hub.loaded(name),
                Trim { channel: row.id, name: Arc::from(name), before_ms: 0, keep, remember_ms: 0 },
            );
            life.inbox.write(
                Write::Trim(trim),
                Box::new(move |result| {
                    if let (Ok(Outcome::Trimmed(trimmed)), Some(channel)) = (result, channel) {
                        channel.trimmed(trimmed.floor);
                    }
                }),
            );
        }
        Ok(())
    }

    /// A new connection.
    pub(crate) fn accept(&self, now: u64, wake: Wake) -> Option<(Session, Flow)> {
        let peer = Peer { origin_allowed: true, address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        Some(Session::open(self.engine()?, peer, wake, clock(now)))
    }

    /// Reads for a session until it needs no more from the log.
    pub(crate) fn read(&self, now: u64, session: &mut Session, mut flow: Flow) -> Flow {
        while let Flow::Ask(read) = &flow {
            let Some(engine) = self.engine() else { return Flow::End };
            let reply = log::read(&self.db, read).map_err(|error| log::store_error(&error));
            flow = session.answered(clock(now), Answered::new(read, reply, &engine.hub));
        }
        flow
    }

    /// How long the next commit takes, if something waits to be committed.
    pub(crate) fn commit_takes(&mut self, now: u64) -> Option<u64> {
        let life = self.life.as_ref()?;
        if lock(&life.inbox.handed_in).is_empty() {
            return None;
        }
        let slow = matches!(self.disk, Some((Disk::Slow, until)) if until > now);
        Some(1 + self.dice.below(if slow { 4_000 } else { self.setup.commit_ms }))
    }

    /// Commits what was handed in and tells of it.
    pub(crate) fn commit(&mut self, now: u64) -> rusqlite::Result<()> {
        self.now = now;
        let Some(life) = &self.life else { return Ok(()) };
        let (mut writes, mut dones, mut barred) = (Vec::new(), Vec::new(), Vec::new());
        for one in std::mem::take(&mut *lock(&life.inbox.handed_in)) {
            writes.push(one.write);
            dones.push(one.done);
            barred.push(one.barred);
        }
        let batch: Vec<&Write> = writes.iter().collect();
        let broken = self.disk.filter(|(_, until)| *until > now).map(|(disk, _)| disk);
        let error = match broken {
            Some(Disk::Full) => Some(StoreError::Full),
            Some(Disk::Fails | Disk::Lies) => Some(StoreError::Unavailable),
            _ => None,
        };
        if matches!(broken, Some(Disk::Full | Disk::Fails)) {
            dones.into_iter().for_each(|done| done(Err(error.unwrap_or(StoreError::Unavailable))));
            return Ok(());
        }
        let applied = log::begin(&self.db, &batch, &Clock(WALL + now))?;
        log::commit(&self.db)?;
        let taken = |answer: &Result<Outcome, StoreError>| matches!(answer, Ok(Outcome::Stored(_)));
        if applied.answers.iter().zip(&barred).any(|(answer, barred)| *barred && taken(answer)) {
            self.found.push(("S17", "an op was taken of somebody who had no access when it came".to_owned()));
        }
        match error {
            None => dones.into_iter().zip(applied.answers).for_each(|(done, answer)| done(answer)),
            Some(error) => {
                let doubtful: BTreeSet<Arc<str>> =
                    writes.iter().filter_map(Write::channel).cloned().collect();
                dones.into_iter().for_each(|done| done(Err(error)));
                self.reconcile(&doubtful);
            }
        }
        self.look()
    }

    /// Reads what the log has got since it was looked at last.
    fn look(&mut self) -> rusqlite::Result<()> {
        for (name, watch) in CHANNELS.iter().zip(&mut self.logs) {
            let Some(row) = row(&self.db, name)? else { continue };
            if watch.seen() < row.floor {
                watch.begins_after(row.floor);
            }
            while watch.seen() < row.head {
                let Found::Events(events) = page(&self.db, row.id, watch.seen(), row.head)? else {
                    break;
                };
                let before = watch.seen();
                for event in events.iter().filter_map(|(_, frame)| logged(frame)) {
                    self.found
                        .extend(watch.read(&event, self.now).map(|how| ("S19", format!("{name}: {how}"))));
                }
                if watch.seen() == before {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Answers that have been under way for longer than any takes.
    pub(crate) fn overdue(&self, now: u64) -> Vec<&str> {
        self.logs.iter().filter_map(|watch| watch.overdue(now)).collect()
    }

    /// The channels in which a message waits for an answer that nobody began.
    pub(crate) fn unanswered(&self) -> Vec<&'static str> {
        let waits = |(name, watch): (&&'static str, &LogWatch)| watch.waits().then_some(*name);
        CHANNELS.iter().zip(&self.logs).filter_map(waits).collect()
    }

    /// A commit reported an error and was carried out all the same.
    fn reconcile(&self, doubtful: &BTreeSet<Arc<str>>) {
        let Some(life) = &self.life else { return };
        for channel in doubtful.iter().filter_map(|name| life.engine.hub.loaded(name)) {
            let read = |read| log::read(&self.db, &read).map_err(|error| log::store_error(&error));
            // What can't be read is found with the next event.
            let _ = reconcile(&channel, &life.engine.kinds, life.engine.answers.as_ref(), read);
        }
    }

    /// Lets the answers go on; when to do so again.
    pub(crate) fn answer(&mut self, now: u64) -> rusqlite::Result<Option<u64>> {
        let Some(life) = &mut self.life else { return Ok(None) };
        for channel in std::mem::take(&mut *lock(&life.begun.channels)) {
            let answer = begin(&channel, &self.ids, &mut self.dice, now);
            life.answers.push(answer);
        }
        let mut wake: Option<u64> = None;
        let mut at = 0;
        while at < life.answers.len() {
            let answer = &mut life.answers[at];
            if answer.stop.load(Ordering::Relaxed) {
                answer.run.stop();
            }
            for told in std::mem::take(&mut *lock(&answer.told)) {
                answer.run.written(Time(now), told);
            }
            if answer.run.listens() && answer.next_word <= now {
                let word = (answer.words > 0).then(|| Ok(format!("word{} ", answer.words)));
                answer.words = answer.words.saturating_sub(1);
                answer.next_word = now + WORD_MS;
                answer.run.part(word);
            }
            match answer.run.poll(Time(now)) {
                Step::Write(write, publish) => {
                    let told = answer.told.clone();
                    life.inbox.write(
                        *write,
                        Box::new(move |result| {
                            if let Ok(outcome) = &result {
                                publish.publish(outcome);
                            }
                            lock(&told).push(result);
                        }),
                    );
                }
                Step::Read(read) => {
                    let reply = log::read(&self.db, &read).map_err(|error| log::store_error(&error));
                    answer.run.context(reply.and_then(Reply::frames));
                }
                Step::Model(_) => {}
                Step::Wait(until) => {
                    let word = answer.run.listens().then_some(answer.next_word);
                    for due in [until.map(|until| until.0), word].into_iter().flatten() {
                        wake = Some(wake.map_or(due, |wake| wake.min(due)).max(now + 1));
                    }
                    at += 1;
                }
                Step::Done(covered) => {
                    let over = life.answers.remove(at);
                    if over.left
                        && let Some(channel) = &over.channel
                    {
                        left_ended(life.begun.clone(), channel);
                    } else if let (Some(channel), Some(covered)) = (over.channel, covered)
                        && channel.wants_another(covered)
                    {
                        let answer = begin(&channel, &self.ids, &mut self.dice, now);
                        life.answers.push(answer);
                    }
                }
            }
        }
        Ok(wake)
    }

    /// The log of a channel as it is on disk, with its floor.
    pub(crate) fn log(&self, channel: &str) -> rusqlite::Result<(u64, Vec<Logged>)> {
        let Some(row) = row(&self.db, channel)? else { return Ok((0, Vec::new())) };
        let mut events = Vec::new();
        let mut from = row.floor;
        while from < row.head {
            match page(&self.db, row.id, from, row.head)? {
                Found::Events(found) if !found.is_empty() => {
                    for (offset, frame) in found {
                        from = offset;
                        events.extend(logged(&frame));
                    }
                }
                _ => break,
            }
        }
        Ok((row.floor, events))
    }

    /// What stands at this offset on disk.
    pub(crate) fn at(&self, channel: &str, offset: u64) -> rusqlite::Result<Option<Logged>> {
        let Some(row) = row(&self.db, channel)? else { return Ok(None) };
        match page(&self.db, row.id, offset.saturating_sub(1), offset)? {
            Found::Events(found) => Ok(found.first().and_then(|(_, frame)| logged(frame))),
            Found::Trimmed(_) => Ok(None),
        }
    }

    /// Every event up to here was trimmed.
    pub(crate) fn floor(&self, channel: &str) -> rusqlite::Result<u64> {
        Ok(row(&self.db, channel)?.map_or(0, |row| row.floor))
    }

    pub(crate) fn epoch(&self) -> String {
        format!("e{}", self.epochs)
    }
}

fn begin(channel: &Arc<Channel>, ids: &Arc<Counting>, dice: &mut Dice, now: u64) -> Answer {
    let stop = Arc::<AtomicBool>::default();
    let raise = stop.clone();
    let run = Run::new(channel, ids.clone(), Arc::new(move || raise.store(true, Ordering::Relaxed)));
    let words = dice.log_uniform(1, 60);
    Answer {
        run,
        channel: Some(channel.clone()),
        stop,
        told: Arc::default(),
        words,
        next_word: now,
        left: false,
    }
}

fn load(db: &Connection, engine: &Arc<Engine>, name: &str) -> rusqlite::Result<Option<Arc<Channel>>> {
    Ok(row(db, name)?.map(|row| engine.hub.add(name, row)))
}

/// Asks the database; a reply of another kind than the question's is a fault of it.
fn ask<T>(
    db: &Connection,
    read: &Read,
    reply: impl FnOnce(Reply) -> Result<T, StoreError>,
) -> rusqlite::Result<T> {
    reply(log::read(db, read)?).map_err(|_| rusqlite::Error::InvalidQuery)
}

fn row(db: &Connection, name: &str) -> rusqlite::Result<Option<ChannelRow>> {
    ask(db, &Read::Channel(name.to_owned()), Reply::channel)
}

fn page(db: &Connection, channel: i64, from: u64, to: u64) -> rusqlite::Result<Found> {
    ask(db, &Read::Events { channel, from, to }, Reply::events)
}

fn logged(frame: &Text) -> Option<Logged> {
    let event = tidewire_core::wire::EventFrame::decode(frame).ok()?;
    Some(Logged { offset: event.offset, id: event.id, kind: event.kind, body: event.body })
}

/// The server's clocks never jump.
pub(crate) fn clock(now: u64) -> Now {
    Now { mono: Time(now), wall: WALL + now }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
