//! These use flags and files only: all tests of a process share its environment.

use super::*;

fn config(args: &[&str]) -> Result<Config, ConfigError> {
    let args = std::iter::once("tidewire-server").chain(args.iter().copied()).map(OsString::from);
    match read(args)? {
        Command::Serve { config, .. } => Ok(*config),
        Command::Print(text) => panic!("{text}"),
        other @ (Command::PlanTables { .. } | Command::UnwatchTables { .. }) => {
            panic!("{:?}", std::mem::discriminant(&other))
        }
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
    assert_eq!(code(config(&["--cookie", "a b"])), "bad_value");
    assert_eq!(code(config(&["--cookie", ""])), "bad_value");
    assert_eq!(code(config(&["--message-bytes", "9"])), "bad_value");
    assert_eq!(code(with_file("[[keys]]\nalg = \"HS256\"\nsecret = \"short\"", &[])), "weak_secret");
    assert_eq!(code(with_file("[[keys]]\nalg = \"none\"", &[])), "bad_value");
    assert_eq!(code(with_file("[[keys]]\nalg = \"EdDSA\"\nsecret = \"x\"", &[])), "bad_value");
}

#[test]
fn rules_of_channels_are_read_from_the_file_in_their_order() {
    let text = r#"
        [[channel]]
        name = "guild:{id}"
        read = ["claim:guilds", "role:admin"]
        write = ["claim:guilds"]
        connections = 200
        [channel.kinds]
        "poll.vote" = ["claim:guilds"]

        [[channel]]
        name = "admins"
        read = ["role:admin"]

        [[channel]]
        name = "dialog:{id}:notes"
        read = ["operators"]
    "#;
    let [guild, admins, notes] = with_file(text, &[]).unwrap().channels.try_into().unwrap();
    assert_eq!(
        (guild.pattern.to_string(), guild.open, guild.answers),
        ("guild:{id}".to_owned(), true, false)
    );
    assert_eq!((guild.connections, guild.kinds.len()), (Some(200), 1));
    assert_eq!(admins.write, admins.read, "who reads writes, unless the rule says otherwise");
    assert!(!notes.open, "dialogs are created");
}

#[test]
fn mistakes_in_rules_of_channels_are_named() {
    for (text, part) in [
        (r#"{ name = "a b", read = [] }"#, "`a b`: name must have 1 to 128 characters"),
        (r#"{ name = "{id}{id}", read = [] }"#, "name may have one `{id}`, or `{rest}` at its end"),
        (r#"{ name = "a", read = ["all"] }"#, "`a`: read: `all` names nobody; it must be everyone"),
        (r#"{ name = "a", read = [], write = ["role:"] }"#, "`a`: write: `role:` names nobody"),
        (r#"{ name = "a", read = [], kinds = { x = ["me"] } }"#, "`a`: kinds.x: `me` names nobody"),
        (r#"{ name = "a", read = [], connections = 0 }"#, "`a`: connections must be at least 1"),
    ] {
        let error = with_file(&format!("channel = [{text}]"), &[]).err().unwrap();
        assert!(error.code() == "bad_value" && error.to_string().contains(part), "{error}");
    }
    for text in [
        r#"{ name = "a" }"#,
        "{ read = [] }",
        r#"{ name = "a", read = "everyone" }"#,
        r#"{ name = "a", read = [], x = 1 }"#,
    ] {
        assert_eq!(code(with_file(&format!("channel = [{text}]"), &[])), "config_invalid", "{text}");
    }
}

#[test]
fn limits_are_read_from_the_file() {
    let text = "[limits]\nsubscriptions = 3\nguest = { ops = 1, per_ms = 2, burst = 3 }";
    let limits = with_file(text, &[]).unwrap().limits;
    assert_eq!((limits.subscriptions, limits.guest.burst, limits.user.burst), (3, 3, 40));
}

#[test]
fn limits_by_address_are_off_where_all_clients_share_one() {
    let of = |args: &[&str], listening: &str| {
        let of = config(args).unwrap().per_address(listening.parse().unwrap());
        (of.connections, of.handshakes, of.sockets)
    };
    assert_eq!(of(&[], "127.0.0.1"), (None, None, None));
    assert_eq!(of(&[], "::1"), (None, None, None));
    assert_eq!(of(&["--demo"], "192.0.2.1"), (None, None, None));
    assert_eq!(of(&[], "0.0.0.0"), (Some(20), Some(10), Some(64)));
    assert_eq!(of(&["--trusted-proxy", "127.0.0.1,::1"], "127.0.0.1"), (Some(20), Some(10), Some(64)));
    let set = ["--max-ip-connections", "3", "--max-ip-handshakes", "4"];
    assert_eq!(of(&set, "127.0.0.1"), (Some(3), Some(4), Some(30)));
    assert_eq!(of(&["--max-ip-connections", "0"], "0.0.0.0"), (None, Some(10), None));
    assert_eq!(of(&["--max-ip-sockets", "9"], "127.0.0.1"), (None, None, Some(9)));
    assert_eq!(with_file("max_dialog_connections = 7", &[]).unwrap().limits.connections_per_dialog, 7);
    assert_eq!(code(config(&["--max-dialog-connections", "0"])), "bad_value");
    assert_eq!(code(config(&["--trusted-proxy", "nowhere"])), "bad_flag");
}

#[test]
fn retention_is_told_in_days_and_events() {
    let kept = with_file("retention_days = 7\nretention_events = 100", &["--retention-days", "3"]).unwrap();
    assert_eq!((kept.retention.age.as_secs(), kept.retention.events), (3 * 86_400, 100));
    assert!(summary(&kept).contains("3 days, at most 100 a dialog"));
    assert!(summary(&config(&["--retention-days", "0"]).unwrap()).contains("for ever"));
    assert_eq!(config(&[]).unwrap().retention.age.as_secs(), 30 * 86_400);
    assert_eq!(code(config(&["--retention-days", "40000"])), "bad_value");
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

#[test]
fn tables_are_named_in_the_file_and_found_by_their_source() {
    let text = "[tables]\nlog_minutes = 5\nlog_mb = 8\n[tables.watch.tasks]\ntable = \"task\"\ncolumns = [\"id\"]\n\
                access = { user = \"owner=eq.{sub}\", operator = \"*\" }";
    let tables = with_file(text, &["--tables-source", "sqlite:app.db"]).unwrap();
    assert!(summary(&tables).contains("tables           tasks in app.db"), "{}", summary(&tables));
    let [watch] = &tables.tables.watch[..] else { panic!("one table") };
    assert_eq!((watch.name.as_str(), watch.table.as_deref(), watch.access.len()), ("tasks", Some("task"), 2));
    assert_eq!((tables.tables.limits.log_ms, tables.tables.limits.log_bytes), (300_000, 8 << 20));
    assert!(summary(&config(&[]).unwrap()).contains("tables           none"));
    let secret = ["--tables-source", "postgres://role:secret@db.example/app?sslmode=require"];
    let there = summary(&with_file(text, &secret).unwrap());
    assert!(there.contains("tasks in postgres://db.example/app\n"), "{there}");
    let own = with_file("[tables.watch.a]\naccess = { user = \"*\" }", &[]).unwrap();
    assert!(summary(&own).contains("a in tidewire.db"));
}

#[test]
fn a_plan_of_tables_takes_its_flags_before_or_behind() {
    let plan = |args: &[&str]| match read(args.iter().map(OsString::from)) {
        Ok(Command::PlanTables { config, role }) => (config.tables.watch.len(), role),
        Ok(_) => panic!("no plan"),
        Err(error) => panic!("{error}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidewire.toml").display().to_string();
    std::fs::write(&path, "[tables.watch.a]\naccess = { user = \"*\" }").unwrap();
    assert_eq!(plan(&["x", "--config", &path, "tables", "plan"]), (1, "tidewire".to_owned()));
    assert_eq!(plan(&["x", "tables", "plan", "--role", "r", "--config", &path]), (1, "r".to_owned()));
    assert_eq!(read(["x", "tables"].map(OsString::from)).err().map(|error| error.code()), Some("bad_flag"));
}

#[test]
fn mistakes_about_tables_are_named() {
    for (text, args, part) in [
        ("[tables.watch.a]", &[][..], "`a` lets nobody see a row"),
        ("[tables]\nsource = \"sqlite:a.db\"", &[], "names no table"),
        ("", &["--tables-source", "sqlite:a.db"], "names no table"),
        ("[tables]\nsource = \"oracle\"", &[], "must be sqlite: and a file"),
        ("[tables]\nsource = \"sqlite:\"", &[], "must be sqlite: and a file"),
        ("[tables]\nlog_minutes = 0", &[], "must be 1 to 1440"),
        ("[tables]\nlog_mb = 5000", &[], "must be 1 to 4096"),
        ("[tables]\nmax_rows = 0", &[], "must be at least 1"),
        ("[tables.watch.a]\naccess = { everybody = \"*\" }", &[], "unknown field"),
    ] {
        let error = with_file(text, args).err().unwrap_or_else(|| panic!("{text} was taken")).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn secrets_are_no_flags_and_may_stand_in_files() {
    for flag in ["--jwt-hs256-secret", "--model-key"] {
        for args in [vec![flag, "a secret of 32 bytes, or of a few more"], vec![&*format!("{flag}=x")]] {
            let error = config(&args).err().unwrap();
            assert_eq!(error.code(), "secret_flag");
            assert!(
                error.to_string().contains("TIDEWIRE_") && !error.to_string().contains("32 bytes"),
                "{error}"
            );
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "a secret of 32 bytes, or of a few more\n").unwrap();
    let keys =
        |more: &str| format!("[[keys]]\nalg = \"HS256\"\nsecret_file = \"{}\"\n{more}", path.display());
    let config = with_file(&keys(""), &[]).unwrap();
    let KeyMaterial::Hs256(secret) = &config.keys[0].material else { panic!("no secret") };
    assert_eq!(secret, "a secret of 32 bytes, or of a few more");
    assert_eq!(code(with_file(&keys("secret = \"x\""), &[])), "bad_value");
    assert_eq!(
        code(with_file("[[keys]]\nalg = \"HS256\"\nsecret_file = \"/nowhere\"", &[])),
        "config_unreadable"
    );
}

#[test]
fn sites_are_read_from_the_file() {
    let text = "[[site]]\nkey = \"shop-1\"\norigins = [\"https://shop.example\"]\naccount = \"shop\"";
    let config = with_file(text, &[]).unwrap();
    let site = &config.sites[0];
    assert_eq!((site.key.as_str(), site.account.as_deref()), ("shop-1", Some("shop")));
    for bad in [
        "[[site]]\nkey = \"a\"",
        "[[site]]\nkey = \"a b\"\norigins = [\"https://shop.example\"]",
        "[[site]]\nkey = \"a\"\norigins = [\"*\"]",
        "[[site]]\nkey = \"a\"\norigins = []",
    ] {
        assert!(["bad_value", "config_invalid"].contains(&code(with_file(bad, &[]))), "{bad}");
    }
    assert_eq!(code(with_file("session_claim = \"\"", &[])), "bad_value");
    let named = with_file("cookie = \"__Host-session\"\nsession_claim = \"sid\"", &[]).unwrap();
    assert_eq!(
        (named.cookie.as_deref(), named.session_claim.as_deref()),
        (Some("__Host-session"), Some("sid"))
    );
}

#[test]
fn idle_connections_are_closed_only_if_that_is_set() {
    assert_eq!(config(&[]).unwrap().timeouts.idle, Duration::ZERO);
    assert_eq!(config(&["--idle-s", "1800"]).unwrap().timeouts.idle, Duration::from_secs(1_800));
    assert_eq!(with_file("idle_s = 1800", &["--idle-s", "0"]).unwrap().timeouts.idle, Duration::ZERO);
    assert_eq!(code(config(&["--idle-s", "1"])), "bad_value");
}

#[test]
fn ten_milliseconds_or_ten_messages_is_a_setting_of_the_writer() {
    assert_eq!(config(&[]).unwrap().flush, Flush::default());
    let ten = Flush { every: Duration::from_millis(10), writes: 10 };
    assert_eq!(config(&["--flush-ms", "10", "--flush-messages", "10"]).unwrap().flush, ten);
    assert_eq!(with_file("flush_ms = 10\nflush_messages = 10", &[]).unwrap().flush, ten);
    for wrong in [["--flush-ms", "1001"], ["--flush-messages", "0"], ["--flush-messages", "1001"]] {
        assert_eq!(code(config(&wrong)), "bad_value", "{wrong:?}");
    }
    assert_eq!(code(with_file("flush_ms = -1", &[])), "config_invalid");
}

#[test]
fn metrics_have_an_address_of_their_own_only_if_that_is_set() {
    let none = config(&[]).unwrap();
    assert_eq!(none.metrics_listen, None);
    assert!(summary(&none).contains("metrics          with a service's token"));
    let local = config(&["--metrics-listen", "127.0.0.1:9464"]).unwrap();
    assert_eq!(local.metrics_listen.as_deref(), Some("127.0.0.1:9464"));
    assert!(summary(&local).contains("metrics          without a token on 127.0.0.1:9464"));
}
