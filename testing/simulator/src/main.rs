//! `cargo xtask sim`: runs the simulator over many seeds, or over one script, and says what it did
//! and found.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tidewire_simulator::tables::{self, TableFigures};
use tidewire_simulator::{Broken, Figures, Script, crowd, plan, run, shrink};

/// One seed in this many is run twice, to check that both runs are the same.
const TWICE: u64 = 20;

/// Real clients and the real server's decisions on one virtual clock, under every fault.
#[derive(Parser)]
#[command(name = "cargo xtask sim")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Run this seed alone, and show its script.
    #[arg(long)]
    seed: Option<u64>,
    /// Run the script in this file, as a failing seed printed it.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Stop at the first broken promise, without cutting its script down.
    #[arg(long)]
    quick: bool,
    /// With --seed or --script: print everything that happens.
    #[arg(long)]
    trace: bool,
    /// Run scenarios of live tables instead.
    #[arg(long)]
    tables: bool,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(path) = &args.script {
        let script = match std::fs::read_to_string(path) {
            Ok(text) => Script::parse(&text),
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        return match script {
            Ok(script) => one(&Script { trace: args.trace, ..script }),
            Err(error) => fail(&error),
        };
    }
    if args.tables {
        return tables(&args);
    }
    match args.seed {
        Some(seed) => one(&Script { trace: args.trace, ..plan::of_seed(seed) }),
        None => many(&args),
    }
}

/// Runs scenarios of live tables.
fn tables(args: &Args) -> ExitCode {
    let started = Instant::now();
    let (first, count) = args.seed.map_or((args.from, args.seeds), |seed| (seed, 1));
    let next = AtomicU64::new(first);
    let all = Mutex::new((TableFigures::default(), Vec::<(u64, Broken)>::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let (figures, broken) = tables::play(seed);
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.0.merge(&figures);
                    all.1.extend(broken.map(|broken| (seed, broken)));
                    if args.quick && !all.1.is_empty() {
                        next.store(first + count, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (figures, mut found) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(seed, _)| *seed);
    let seconds = started.elapsed().as_secs_f64();
    if args.json {
        let TableFigures { scenarios, commits, changes, marks } = &figures;
        let (broken, first) = (found.len(), found.first().map(|(seed, _)| seed));
        println!(
            "{}",
            serde_json::json!({"scenarios": scenarios, "commits": commits, "changes": changes, "broken": broken,
                "first_broken": first, "marks": marks, "seconds": seconds})
        );
    } else {
        println!(
            "{} scenarios of live tables, {} transactions, {} changes told, {} promises broken, {seconds:.0} s",
            figures.scenarios,
            figures.commits,
            figures.changes,
            found.len()
        );
        let marks: Vec<String> =
            figures.marks.iter().map(|(mark, count)| format!("{mark} {count}")).collect();
        println!("what happened: {}", marks.join(", "));
    }
    for (seed, broken) in found.iter().take(10) {
        print!("seed {seed} ");
        say(broken);
    }
    let never = figures.never();
    let covered = never.is_empty() || figures.scenarios < 1_000;
    if !covered {
        println!("never happened: {}", never.join(", "));
    }
    if found.is_empty() && covered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(error: &str) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(2)
}

/// Runs one script, and prints everything about it.
fn one(script: &Script) -> ExitCode {
    let outcome = match run(script) {
        Ok(outcome) => outcome,
        Err(error) => return fail(&error),
    };
    print!("{}", script.to_text());
    println!("{} steps, {} events, trace {:016x}", outcome.steps, outcome.events, outcome.hash);
    match outcome.broken {
        None => {
            println!("every promise was kept");
            ExitCode::SUCCESS
        }
        Some(broken) => {
            say(&broken);
            if !script.trace {
                println!("cut down to:\n{}", shrink(script).to_text());
            }
            ExitCode::FAILURE
        }
    }
}

fn say(broken: &Broken) {
    println!("broken at {} ms: {}: {}", broken.at, broken.what, broken.how);
}

fn many(args: &Args) -> ExitCode {
    let started = Instant::now();
    let next = AtomicU64::new(args.from);
    let end = args.from + args.seeds;
    let all = Mutex::new((Figures::default(), Vec::<(u64, Broken)>::new(), None::<String>));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                let mut figures = Figures::default();
                let mut found = Vec::new();
                let mut error = None;
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let script = plan::of_seed(seed);
                    match run(&script) {
                        Err(fault) => {
                            error = Some(format!("seed {seed}: {fault}"));
                            break;
                        }
                        Ok(outcome) => {
                            figures.add(&outcome);
                            if seed.is_multiple_of(TWICE) {
                                figures.run_twice += 1;
                                let same = run(&script).is_ok_and(|again| again.hash == outcome.hash);
                                figures.nondeterministic += u64::from(!same);
                            }
                            if let Some(broken) = outcome.broken {
                                found.push((seed, broken));
                                if args.quick {
                                    next.store(end, Ordering::Relaxed);
                                }
                            }
                        }
                    }
                    if seed.is_multiple_of(1_000) {
                        eprintln!("seed {seed}, {:.0} s", started.elapsed().as_secs_f64());
                    }
                }
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.0.merge(&figures);
                all.1.append(&mut found);
                all.2 = all.2.take().or(error);
            });
        }
    });
    let (figures, mut found, error) = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = error {
        return fail(&error);
    }
    let returned = crowd::come_back(10_000, 30_000, args.from);
    found.sort_by_key(|(seed, _)| *seed);
    report(args, &figures, &returned, started.elapsed().as_secs_f64());
    for (seed, broken) in found.iter().take(40) {
        print!("seed {seed} ");
        say(broken);
    }
    if let Some((seed, _)) = found.first()
        && !args.quick
    {
        println!(
            "seed {seed} cut down to (replay it with --script FILE):\n{}",
            shrink(&plan::of_seed(*seed)).to_text()
        );
    }
    let never = figures.never();
    // A few seeds can't reach everything.
    let covered = never.is_empty() || figures.seeds < 5_000;
    if !covered {
        println!("never happened: {}", never.join(", "));
    }
    // Without and with a pause that the server asks for.
    let crashes = [0, 90_000].map(|floor_ms| crowd::after_a_crash(10_000, floor_ms, args.from));
    let [crash, told] = &crashes;
    let crowded = returned.most() > returned.bound || crashes.iter().any(|crash| crash.most() > crash.bound);
    if crowded {
        println!(
            "crowd: {} of 10000 return in one second, bound {}; {} in 20 ms after a crash, {} after a pause, bound {}",
            returned.most(),
            returned.bound,
            crash.most(),
            told.most(),
            crash.bound
        );
    }
    if figures.is_clean() && covered && !crowded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(args: &Args, figures: &Figures, returned: &crowd::Return, seconds: f64) {
    if args.json {
        let mut value = serde_json::to_value(figures).unwrap_or_default();
        value["seconds"] = seconds.into();
        value["arrivals_in_a_second"] = returned.most().into();
        value["arrivals_bound"] = returned.bound.into();
        println!("{value}");
        return;
    }
    let strikes: u64 = figures.faults.values().sum();
    println!(
        "{} seeds, {:.3} client-years, {} events, {} acknowledged, {strikes} actions of {} kinds, {seconds:.0} s",
        figures.seeds,
        figures.client_years,
        figures.events,
        figures.acked,
        figures.faults.len()
    );
    let kinds: Vec<String> = figures.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("faults by kind: {}", kinds.join(", "));
    println!(
        "lost {}, duplicated {}, reordered {}, gaps {}, stuck {}, other promises broken {}, non-deterministic {} of {} run twice",
        figures.lost,
        figures.duplicated,
        figures.reordered,
        figures.gaps,
        figures.stuck,
        figures.broken,
        figures.nondeterministic,
        figures.run_twice
    );
    if let Some((name, count)) = figures.least() {
        println!("least hit of what must be hit: {name}, {count} times");
    }
    println!(
        "10000 clients after a restart with a spread of 30 s: at most {} arrivals in a second, bound {}",
        returned.most(),
        returned.bound
    );
}
