//! `fuzz`: grows the corpora with libFuzzer, minimises them, and reports failing inputs.

use crate::progress::{self, seconds};
use crate::{tools, unknown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Compiler options that show a fuzzer which code an input reaches. They work with stable
/// compilers. No sanitizer is used, because the fuzzed code has no unsafe code.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";
/// Maximum number of files of a corpus, as in the test that replays them.
const FILES: usize = 200;
/// Fewer files of this corpus: each simulates minutes of several clients and a server.
const MACHINE: (&str, usize) = ("machine", 60);
/// Maximum size of a corpus, in bytes.
const BYTES: u64 = 300 * 1024;
/// Longest input, in bytes.
const LONGEST: &str = "-max_len=4096";

/// Time limit for shortening a failing input.
const SHORTENING: Duration = Duration::from_secs(20);

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let (mut chosen, mut limit) = (Vec::new(), 60_u64);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = rest.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                limit = number.ok_or("--seconds wants a number greater than 0")?;
            }
            flag if flag.starts_with('-') => return Err(unknown(flag)),
            target => chosen.push(target.to_owned()),
        }
    }
    let targets = targets()?;
    if let Some(name) = chosen.iter().find(|name| !targets.contains(name)) {
        return Err(format!("there is no target `{name}`; there are {}", targets.join(", ")));
    }
    if chosen.is_empty() {
        chosen = targets;
    }
    let fuzzer = build()?;
    let mut found = Vec::new();
    for target in &chosen {
        found.extend(one(&fuzzer, target, limit)?);
    }
    if found.is_empty() {
        println!("\n{} targets, nothing found", chosen.len());
        return Ok(());
    }
    println!(
        "\nInputs for which something does not hold; a fixed one belongs into fuzz/corpus, to stay fixed:"
    );
    for path in &found {
        println!("  {}", path.display());
    }
    Err(format!("{} inputs were found", found.len()))
}

/// The names of the targets, which are those of the corpora.
fn targets() -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(corpora()).map_err(|error| format!("fuzz/corpus: {error}"))?;
    let mut names: Vec<String> =
        entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn corpora() -> PathBuf {
    tools::top().join("fuzz/corpus")
}

/// The folder for files that don't belong into the repository.
fn work() -> PathBuf {
    tools::target().join("fuzz")
}

fn build() -> Result<PathBuf, String> {
    if tools::find("c++").is_none() {
        return Err(String::from("libFuzzer needs a C++ compiler; on Debian or Ubuntu: apt-get install g++"));
    }
    let host = tools::output_of("rustc", &["--version", "--verbose"])
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ").map(str::to_owned)))
        .ok_or("rustc does not say which host it runs on")?;
    let mut command = tools::cargo(&[
        "build",
        "--release",
        "--package",
        "tidewire-fuzz",
        "--features",
        "libfuzzer",
        "--bin",
        "libfuzzer",
        // With an explicit target the options don't apply to build scripts.
        "--target",
        &host,
    ]);
    command.env("CARGO_TARGET_DIR", work()).env("RUSTFLAGS", COVERAGE);
    progress::run("building the fuzz targets (some minutes, once)", &mut command).map_err(|error| {
        format!("{error}\nthe coverage that libFuzzer needs comes from LLVM passes of rustc")
    })?;
    Ok(work().join(host).join("release/libfuzzer"))
}

/// Fuzzes one target, and returns the failing inputs.
fn one(fuzzer: &Path, target: &str, limit: u64) -> Result<Vec<PathBuf>, String> {
    let trouble = |error: std::io::Error| format!("{target}: {error}");
    let (grown, found, kept) =
        (work().join("grown").join(target), work().join("found").join(target), corpora().join(target));
    for folder in [&grown, &found] {
        std::fs::create_dir_all(folder).map_err(trouble)?;
    }
    let before = files(&found).map_err(trouble)?;
    let begun = Instant::now();
    let mut command = libfuzzer(fuzzer, target);
    command.arg(format!("-max_total_time={limit}"));
    command.arg(format!("-artifact_prefix={}/", found.display())).args([&grown, &kept]);
    let log = work().join(format!("{target}.log"));
    let file = std::fs::File::create(&log).map_err(trouble)?;
    let copy = file.try_clone().map_err(trouble)?;
    // It ends when its time is over.
    let status = command.stdout(Stdio::from(copy)).stderr(Stdio::from(file)).status().map_err(trouble)?;
    let said = std::fs::read_to_string(&log).map_err(trouble)?;
    let new: Vec<PathBuf> =
        files(&found).map_err(trouble)?.into_iter().filter(|path| !before.contains(path)).collect();
    if !status.success() && new.is_empty() {
        return Err(format!("{target}: libFuzzer failed; its output is in {}", log.display()));
    }
    let mut shortest = Vec::new();
    for path in new {
        let panicked = said.lines().skip_while(|line| !line.contains("panicked at"));
        println!("{}", progress::bad(&format!("{target}: {}", path.display())));
        panicked.take(3).for_each(|line| println!("  {line}"));
        shortest.push(shorten(fuzzer, target, &path)?);
    }
    let (count, bytes) = keep(fuzzer, target, &grown, &kept)?;
    let runs =
        said.lines().filter_map(|line| line.strip_prefix("stat::number_of_executed_units:")).next_back();
    let runs = runs.map_or("unknown", str::trim);
    let took = seconds(begun.elapsed());
    progress::done(target, &format!("{runs} runs, {count} files, {bytes} bytes kept ({took})"));
    Ok(shortest)
}

fn libfuzzer(fuzzer: &Path, target: &str) -> Command {
    let mut command = Command::new(fuzzer);
    command.env("TIDEWIRE_FUZZ_TARGET", target).env("RUST_BACKTRACE", "0").current_dir(work());
    command.args(["-timeout=10", "-print_final_stats=1", LONGEST]);
    command
}

/// Shortens a failing input while it still fails: half of it is left out, then a quarter, down to
/// single bytes.
fn shorten(fuzzer: &Path, target: &str, path: &Path) -> Result<PathBuf, String> {
    let trouble = |error: std::io::Error| format!("{target}: {error}");
    let (tried, short) = (path.with_extension("tried"), path.with_extension("short"));
    let fails = |input: &[u8]| {
        std::fs::write(&tried, input)?;
        let mut command = libfuzzer(fuzzer, target);
        let status = command.arg(&tried).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        Ok(!status.success())
    };
    let input = std::fs::read(path).map_err(trouble)?;
    let shortest = shortened(input, Instant::now() + SHORTENING, fails).map_err(trouble)?;
    std::fs::write(&short, shortest).map_err(trouble)?;
    std::fs::remove_file(&tried).map_err(trouble)?;
    Ok(short)
}

/// Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input",
/// 2002), until the deadline.
fn shortened<E>(
    mut input: Vec<u8>,
    deadline: Instant,
    mut fails: impl FnMut(&[u8]) -> Result<bool, E>,
) -> Result<Vec<u8>, E> {
    let mut chunk = input.len().div_ceil(2);
    while chunk > 0 {
        let (mut at, before) = (0, input.len());
        while at < input.len() && Instant::now() < deadline {
            let end = input.len().min(at + chunk);
            let without = [&input[..at], &input[end..]].concat();
            if fails(&without)? {
                input = without;
            } else {
                at = end;
            }
        }
        if chunk == 1 && (input.len() == before || Instant::now() >= deadline) {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    Ok(input)
}

/// Keeps the smallest inputs that together reach the same code as all inputs, within the limits of
/// a corpus.
fn keep(fuzzer: &Path, target: &str, grown: &Path, kept: &Path) -> Result<(usize, u64), String> {
    let trouble = |error: std::io::Error| format!("{target}: {error}");
    let merged = work().join("merged").join(target);
    let _ = std::fs::remove_dir_all(&merged);
    std::fs::create_dir_all(&merged).map_err(trouble)?;
    let mut command = libfuzzer(fuzzer, target);
    command.arg("-set_cover_merge=1").args([&merged, &grown.to_path_buf(), &kept.to_path_buf()]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().map_err(trouble)?;
    let inputs = files(&merged).map_err(trouble)?;
    if !status.success() || inputs.is_empty() {
        return Err(format!("{target}: the corpus could not be minimised and is as it was"));
    }
    let mut sized: Vec<(u64, PathBuf)> = Vec::new();
    for path in inputs {
        sized.push((path.metadata().map_err(trouble)?.len(), path));
    }
    let chosen = choose(sized);
    // Seeds have names and stay.
    for path in files(kept).map_err(trouble)? {
        if !is_seed(&path) {
            std::fs::remove_file(path).map_err(trouble)?;
        }
    }
    let most = if target == MACHINE.0 { MACHINE.1 } else { FILES };
    let (mut count, mut bytes) = (0, 0);
    for path in files(kept).map_err(trouble)? {
        (count, bytes) = (count + 1, bytes + path.metadata().map_err(trouble)?.len());
    }
    for (size, path) in chosen {
        if count < most && bytes + size <= BYTES {
            let name = path.file_name().unwrap_or_default();
            std::fs::copy(&path, kept.join(name)).map_err(trouble)?;
            (count, bytes) = (count + 1, bytes + size);
        }
    }
    Ok((count, bytes))
}

/// The order in which inputs are kept: large and small ones alternate, because with small ones
/// first no large input, which reaches more code, would be kept.
fn choose(mut sized: Vec<(u64, PathBuf)>) -> Vec<(u64, PathBuf)> {
    sized.sort();
    let middle = sized.len() / 2;
    let mut large = sized.split_off(middle).into_iter().rev();
    let mut small = sized.into_iter();
    let mut chosen = Vec::new();
    loop {
        let next = [large.next(), small.next()];
        if next.iter().all(Option::is_none) {
            return chosen;
        }
        chosen.extend(next.into_iter().flatten());
    }
}

fn is_seed(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains('-'))
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        found.push(entry?.path());
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_inputs_are_kept_by_turns() {
        let sized = [5, 1, 4, 2, 3].map(|size| (size, PathBuf::from(size.to_string()))).to_vec();
        let sizes: Vec<u64> = choose(sized).into_iter().map(|(size, _)| size).collect();
        assert_eq!(sizes, [5, 1, 4, 2, 3]);
    }

    #[test]
    fn what_is_found_is_made_as_short_as_it_gets() {
        let fails = |input: &[u8]| Ok::<_, ()>(input.contains(&7) && input.contains(&9));
        let input: Vec<u8> = (0..100).collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(shortened(input.clone(), deadline, fails), Ok(vec![7, 9]));
        assert_eq!(shortened(input.clone(), Instant::now(), fails), Ok(input), "no time, no change");
    }

    #[test]
    fn what_has_a_name_stays() {
        assert!(
            is_seed(Path::new("corpus/client/seed-01")) && is_seed(Path::new("corpus/client/fixed-overflow"))
        );
        assert!(!is_seed(Path::new("corpus/cli-ent/9c0bb14aff7c422a730e697779404c3024486b15")));
    }
}
