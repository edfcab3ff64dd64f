//! The real server's process, to be killed and started again.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::build::build;

const SECRET: &str = "only for tests, and long enough for HS256";

/// A key, so that tokens outlive the process, and limits that stand in nobody's way.
fn config() -> String {
    format!(
        r#"
    [[keys]]
    id = "tests"
    alg = "HS256"
    secret = "{SECRET}"
    [limits]
    user = {{ ops = 1000, per_ms = 1000, burst = 1000 }}
"#
    )
}

pub struct Server {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
    options: Vec<String>,
}

impl Server {
    /// Starts one with an empty database, demo users and a model that says a piece each `pace_ms`.
    pub fn start(pace_ms: u64) -> Server {
        Server::with(&["--model-pace-ms", &pace_ms.to_string()])
    }

    pub fn with(options: &[&str]) -> Server {
        Server::configured("", options)
    }

    /// One with more in its configuration file.
    pub fn configured(more: &str, options: &[&str]) -> Server {
        let port = tidewire_ports::free();
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("server.toml"), config() + more).expect("written");
        let mut server = Server { child: None, port, folder, options };
        server.restart();
        server
    }

    /// One that serves tables of a SQLite file, which this SQL makes; `tables` is what its
    /// configuration says of them.
    pub fn with_tables(sql: &str, tables: &str, options: &[&str]) -> Server {
        let mut server = Server::with(options);
        server.app().execute_batch(sql).expect("made");
        let source =
            format!("{}[tables]\nsource = \"sqlite:{}\"\n{tables}", config(), server.app_path().display());
        std::fs::write(server.folder.path().join("server.toml"), source).expect("written");
        server.restart();
        server
    }

    fn app_path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    /// The application's own connection to the tables.
    pub fn app(&self) -> rusqlite::Connection {
        let app = rusqlite::Connection::open(self.app_path()).expect("opens");
        app.busy_timeout(super::PATIENCE).expect("set");
        app
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: the process gets no chance to finish anything.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("reaped");
        }
    }

    /// Starts it again on the same port and database, and waits until it listens.
    pub fn restart(&mut self) {
        self.kill();
        let mut child = Command::new(binary())
            .arg("--listen")
            .arg(format!("127.0.0.1:{}", self.port))
            .arg("--database")
            .arg(self.folder.path().join("server.db"))
            .arg("--config")
            .arg(self.folder.path().join("server.toml"))
            .args(["--public-dialog", "demo", "--demo"])
            .args(&self.options)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .env("TIDEWIRE_LOG", std::env::var("SERVER_LOG").unwrap_or_else(|_| String::from("error")))
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        self.child = Some(child);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert!(stdout.read_line(&mut line).expect("read") > 0, "the server ended instead of listening");
        }
        // Somebody must read on, or the server blocks one day.
        std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
    }

    /// Forgets everything, the key of guests' tokens too, and starts anew.
    pub fn wipe(&mut self) {
        self.kill();
        for suffix in ["", "-wal", "-shm", "-key"] {
            // Some of them may not exist.
            let _ = std::fs::remove_file(self.folder.path().join(format!("server.db{suffix}")));
        }
        self.restart();
    }

    /// A token for a user with these claims.
    pub fn token_with(&self, user: &str, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut all =
            json!({"sub": user, "name": user, "iss": "tidewire", "aud": "tidewire", "exp": now + 3_600});
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &all, &key).expect("signed")
    }

    /// A token for a user of this name.
    pub async fn token(&self, name: &str, ttl_s: u64) -> String {
        let answer =
            post(self.port, "/demo/token", &json!({"role": "user", "name": name, "ttl_s": ttl_s})).await;
        answer["token"].as_str().expect("a token").to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Posts JSON to a server on this machine and returns the JSON of its answer.
pub async fn post(port: u16, path: &str, body: &Value) -> Value {
    use http_body_util::BodyExt;
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connected");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let request = hyper::Request::post(path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(bytes::Bytes::from(body.to_string())))
        .expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert!(response.status().is_success(), "{path} answered {}", response.status());
    serde_json::from_slice(&response.into_body().collect().await.expect("a body").to_bytes()).expect("JSON")
}

/// The server's program: `TIDEWIRE_SERVER`, or built beside this test.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("TIDEWIRE_SERVER") {
        Some(path) => PathBuf::from(path),
        None => build(&["--bin", "tidewire-server"]).join("tidewire-server"),
    })
}
