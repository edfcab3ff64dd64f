//! Replays the corpora.

use std::path::{Path, PathBuf};
use tidewire_fuzz::{Reached, TARGETS, client_reaches, tables_reach};

/// Maximum number of files of a corpus.
const FILES: usize = 200;
/// Fewer files of this corpus: each simulates minutes of several clients and a server.
const MACHINE: (&str, usize) = ("machine", 60);
/// Maximum size of a corpus, in bytes.
const BYTES: u64 = 300 * 1024;

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}

#[test]
fn every_corpus_passes() {
    for (name, target) in TARGETS {
        let files = corpus(name);
        assert!(files.len() >= 5, "the corpus of {name} is nearly empty");
        for file in files {
            let data = std::fs::read(&file).expect("readable");
            let result = std::panic::catch_unwind(|| target(&data));
            assert!(result.is_ok(), "{name} fails for {}", file.display());
        }
    }
}

#[test]
fn every_corpus_is_small() {
    for (name, _) in TARGETS {
        let files = corpus(name);
        let bytes: u64 = files.iter().map(|file| file.metadata().expect("readable").len()).sum();
        let most = if *name == MACHINE.0 { MACHINE.1 } else { FILES };
        assert!(files.len() <= most && bytes <= BYTES, "{name}: {} files, {bytes} bytes", files.len());
    }
}

#[test]
fn there_is_no_corpus_without_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for entry in std::fs::read_dir(folder).expect("readable") {
        let name = entry.expect("readable").file_name().into_string().expect("a name");
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name}");
    }
}

#[test]
fn the_lives_of_clients_come_everywhere_that_matters() {
    let lives =
        corpus("client").into_iter().map(|file| client_reaches(&std::fs::read(file).expect("readable")));
    let reached = lives.fold(Reached::default(), Reached::or);
    let everything = Reached {
        online: true,
        live: true,
        events: true,
        reset: true,
        acked: true,
        refused: true,
        handover: true,
        failed: true,
        requests: true,
    };
    assert_eq!(reached, everything);
    assert_eq!(client_reaches(&[]), Reached::default(), "by itself it comes nowhere");
}

#[test]
fn the_lives_of_tables_come_everywhere_that_matters() {
    let lives =
        corpus("tables").into_iter().map(|file| tables_reach(&std::fs::read(file).expect("readable")));
    let reached = lives.fold([false; 3], |all, one| [all[0] || one[0], all[1] || one[1], all[2] || one[2]]);
    assert_eq!(reached, [true; 3], "live, a transaction, a comparison");
}
