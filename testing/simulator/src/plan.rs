//! Makes a script from a seed, or from bytes. In each run only some kinds of faults strike, with
//! strengths over several orders of magnitude: faults that always strike together hide what only
//! happens without one of them ("Swarm Testing", Groce et al., ISSTA 2012).

use crate::dice::Dice;
use crate::script::{Action, DiskFault, FAULTS_MS, Script, Setup, Way};

const DAY_MS: u64 = 86_400_000;

/// The kinds of faults that a run may have.
const KINDS: usize = 37;

/// The script of a seed.
pub fn of_seed(seed: u64) -> Script {
    let mut dice = Dice::new(seed ^ 0x7469_6465);
    let devices = 2 + dice.below(2) as usize;
    let world = setup(&mut dice);
    let mut actions = Vec::new();
    let pace = dice.log_uniform(200, 6_000);
    for on in 0..devices {
        let mut at = dice.below(2_000);
        while at < FAULTS_MS {
            actions.push((at, use_of(&mut dice, on)));
            at += 1 + dice.below(2 * pace);
        }
    }
    let kinds: Vec<usize> = (0..KINDS).filter(|_| dice.once_in(4)).collect();
    let pace = dice.log_uniform(1_000, 15_000);
    let mut at = dice.below(pace);
    while at < FAULTS_MS && !kinds.is_empty() {
        let kind = kinds[dice.below(kinds.len() as u64) as usize];
        let on = dice.below(devices as u64) as usize;
        actions.push((at, fault(&mut dice, kind, on)));
        at += 1 + dice.below(2 * pace);
    }
    actions.sort_by_key(|(at, _)| *at);
    Script { seed, devices, world, trace: false, actions }
}

/// A script from any bytes: eight for the set-up, then five for each action.
pub fn of_bytes(bytes: &[u8]) -> Script {
    let (head, rest) = bytes.split_at(bytes.len().min(8));
    let mut seed = [0; 8];
    seed[..head.len()].copy_from_slice(head);
    let seed = u64::from_le_bytes(seed);
    let mut dice = Dice::new(seed);
    let (world, devices) = (setup(&mut dice), 2);
    let (mut at, mut actions) = (0, Vec::new());
    for chunk in rest.chunks_exact(5).take(200) {
        at += u64::from(chunk[0]) * 20;
        if at >= FAULTS_MS {
            break;
        }
        let on = usize::from(chunk[1]) % devices;
        let kind = usize::from(chunk[2]) % (2 * KINDS);
        let mut dice = Dice::new(u64::from(u16::from_le_bytes([chunk[3], chunk[4]])));
        let action = if kind < KINDS { fault(&mut dice, kind, on) } else { use_of(&mut dice, on) };
        actions.push((at, action));
    }
    Script { seed, devices, world, trace: false, actions }
}

fn setup(dice: &mut Dice) -> Setup {
    Setup {
        delay_ms: dice.log_uniform(1, 2_000),
        commit_ms: dice.log_uniform(1, 200),
        disk_ms: dice.log_uniform(1, 500),
        token_s: if dice.once_in(3) { dice.log_uniform(20, 120) } else { 86_400 },
        guests: dice.once_in(4),
        operator: dice.once_in(2),
        handshakes: if dice.once_in(6) { 4 + dice.below(40) } else { 0 },
        seats: if dice.once_in(8) { 1 + dice.below(2) as usize } else { 50 },
        fallbacks: dice.once_in(2),
        batch_ms: if dice.once_in(4) { 10 } else { 0 },
        answers: dice.once_in(2),
        twice_in: if dice.once_in(4) { dice.log_uniform(3, 100) } else { 0 },
    }
}

fn use_of(dice: &mut Dice, on: usize) -> Action {
    match dice.below(27) {
        0 => Action::Signal { on },
        1 => Action::Nudge { on },
        2 => Action::Stop { on },
        3 => Action::Backup,
        20 | 21 => Action::Type { on, ends: dice.once_in(4) },
        23 | 24 => Action::Read { on, back: if dice.once_in(3) { dice.below(6) } else { 0 } },
        25 => Action::Hand { on, what: dice.below(10) },
        22 => Action::Hold { on, number: (!dice.once_in(3)).then(|| dice.below(5)) },
        4 => Action::LookBack { on, most: dice.log_uniform(1, 60) },
        n => Action::Write { on, channel: (n % 2) as usize },
    }
}

fn way(dice: &mut Dice) -> Way {
    [Way::Up, Way::Down, Way::Both][dice.below(3) as usize]
}

fn fault(dice: &mut Dice, kind: usize, on: usize) -> Action {
    let ms = dice.log_uniform(100, 30_000);
    match kind {
        0 | 1 => Action::Cut { on },
        2 => Action::HalfOpen { on, way: Way::Up },
        3 => Action::HalfOpen { on, way: Way::Down },
        4 => Action::HalfOpen { on, way: Way::Both },
        5 => Action::Slow { on, ms, bytes_per_s: dice.log_uniform(50, 20_000) },
        6 => Action::Lag { on, ms, delay_ms: dice.log_uniform(100, 20_000) },
        7 => Action::Twice { on, way: way(dice) },
        8 => Action::Truncate { on, way: way(dice) },
        9 => Action::BlockSockets { on, ms: ms * 4 },
        10 => Action::NoNetwork { on, ms, hinted: dice.once_in(2) },
        11 => Action::OtherNetwork { on },
        12 | 13 => Action::ServerCrash { ms: ms / 4 },
        14 => Action::PowerLoss { ms: ms / 2 },
        15 => Action::Drain { ms: ms / 8 },
        16 => Action::Goaway { spread_ms: dice.log_uniform(100, 10_000) },
        17 => Action::ServerDisk { ms: ms / 2, disk: DiskFault::Slow },
        18 => Action::ServerDisk { ms: ms / 2, disk: DiskFault::Full },
        19 => Action::ServerDisk { ms: ms / 2, disk: DiskFault::Fails },
        20 => Action::ServerDisk { ms: ms / 8, disk: DiskFault::Lies },
        21 => Action::Restore { ms: ms / 8 },
        22 => Action::Trim { keep: dice.log_uniform(1, 50) },
        23 => Action::Crash { on, ms: ms / 4 },
        24 => Action::ClientDisk { on, ms, disk: DiskFault::Slow },
        25 => Action::ClientDisk {
            on,
            ms,
            disk: if dice.once_in(2) { DiskFault::Full } else { DiskFault::Fails },
        },
        26 => Action::Clock { on, ms: dice.log_uniform(1_000, 3_650 * DAY_MS), back: dice.once_in(2) },
        27 => Action::Suspend { on, ms, asleep_ms: dice.log_uniform(1_000, 7 * DAY_MS - 30_000) },
        28 => Action::Freeze { on, ms },
        29 => Action::Hide { on, ms },
        30 => {
            if dice.once_in(2) {
                Action::Expire { on }
            } else {
                Action::Rekey { on }
            }
        }
        31 => Action::NoToken { on, ms },
        32 => Action::Revoke { on, ms },
        33 => Action::MissPiece { on },
        // Often so short that the server's earlier answers are still on their way.
        34 => Action::Leave { on, ms: dice.log_uniform(1, 5_000) },
        35 => Action::SecondScreen { on, ms },
        _ => match dice.below(2) {
            0 => Action::Close { on, ms },
            _ => Action::Handover { on, ms: ms / 8 },
        },
    }
}
