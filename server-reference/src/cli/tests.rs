//! These give all settings by flags and files: the environment belongs to the whole process.

use super::*;

fn config(args: &[&str]) -> Result<Config, ConfigError> {
    let args = std::iter::once("tidewire-server").chain(args.iter().copied()).map(OsString::from);
    match read(args)? {
        Command::Serve { config, .. } => Ok(*config),
        Command::Print(text) => panic!("{text}"),
    }
}

fn with_file(text: &str, args: &[&str]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidewire.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    config(&[&["--config", path.as_str()], args].concat())
}

fn code(result: Result<Config, ConfigError>) -> &'static str {
    result.err().map_or("fine", |error| error.code())
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let text = "listen = \"127.0.0.1:1\"\nissuer = \"me\"\npublic_dialog = [\"a\"]";
    let config = with_file(text, &["--listen", "127.0.0.1:2"]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:2");
    assert_eq!(config.issuer, "me");
    assert_eq!(config.public_dialogs, ["a"]);
    assert_eq!(config.audience, "tidewire");
}

#[test]
fn mistakes_are_named_by_stable_codes() {
    assert_eq!(code(config(&["--nonsense"])), "bad_flag");
    assert_eq!(code(config(&["--config", "/does/not/exist"])), "config_unreadable");
    assert_eq!(code(with_file("nonsense = 1", &[])), "config_invalid");
    assert_eq!(code(with_file("= =", &[])), "config_invalid");
    assert_eq!(code(config(&["--ping-ms", "1"])), "bad_value");
    assert_eq!(code(config(&["--model", "parrot"])), "bad_value");
    assert_eq!(code(config(&["--model", "openai"])), "bad_value");
    assert_eq!(code(config(&["--message-bytes", "9"])), "bad_value");
    assert_eq!(code(with_file("[[keys]]\nalg = \"HS256\"\nsecret = \"short\"", &[])), "weak_secret");
    assert_eq!(code(with_file("[[keys]]\nalg = \"none\"", &[])), "bad_value");
    assert_eq!(code(with_file("[[keys]]\nalg = \"EdDSA\"\nsecret = \"x\"", &[])), "bad_value");
}

#[test]
fn limits_are_read_from_the_file() {
    let text = "[limits]\nsubscriptions = 3\nguest = { ops = 1, per_ms = 2, burst = 3 }";
    let limits = with_file(text, &[]).unwrap().limits;
    assert_eq!((limits.subscriptions, limits.guest.burst, limits.user.burst), (3, 3, 40));
}

#[test]
fn the_summary_holds_no_secret() {
    let secret = "0123456789abcdef0123456789abcdef";
    let text = format!("model_key = \"{secret}\"\n[[keys]]\nalg = \"HS256\"\nsecret = \"{secret}\"");
    let url = "https://me:password@model.example/v1?key=abc";
    let config = with_file(&text, &["--model-url", url, "--model-name", "m"]).unwrap();
    let summary = summary(&config);
    assert!(
        !summary.contains(secret) && !summary.contains("password") && !summary.contains("abc"),
        "{summary}"
    );
    assert!(summary.contains("https://model.example/v1") && summary.contains("HS256"));
}

#[test]
fn help_names_every_way_to_set_something() {
    let args = ["tidewire-server", "--help"].map(OsString::from);
    let Ok(Command::Print(help)) = read(args) else { panic!("no help") };
    for part in ["--listen", "TIDEWIRE_MODEL_URL", "[[keys]]", "--demo", "SIGTERM"] {
        assert!(help.contains(part), "{part}");
    }
}
