//! One node as a process.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sidetalk_client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::binary::sidetalk_binary;
use crate::wait::{WAIT_MAX, eventually};

/// A node that runs. It is killed and reaped when this is dropped.
#[derive(Debug)]
pub struct Node {
    name: String,
    api: String,
    gossip: String,
    client: Client,
    process: Child,
    /// The node stops when this breaks, even if the test process is killed.
    _lifeline: ChildStdin,
    log: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
    /// Ends with the log.
    log_reader: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node on free ports and waits until it listens; it need not be ready then.
    ///
    /// # Panics
    /// It ends before it listens, or takes too long; with its log.
    pub async fn start(name: &str, arguments: &[String]) -> Self {
        Self::start_with(Command::new(sidetalk_binary()), name, arguments).await
    }

    /// The same, as the last arguments of a program that watches others: a profiler.
    ///
    /// # Panics
    /// It ends before it listens, or takes too long; with its log.
    pub async fn start_under(mut watcher: Command, name: &str, arguments: &[String]) -> Self {
        watcher.arg(sidetalk_binary());
        Self::start_with(watcher, name, arguments).await
    }

    async fn start_with(mut command: Command, name: &str, arguments: &[String]) -> Self {
        command.args(["run", "--stop-with-stdin", "--node-id", name]).args(arguments);
        for setting in ["--api", "--gossip"] {
            if !arguments.iter().any(|argument| argument == setting) {
                command.args([setting, "127.0.0.1:0"]);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary can be started");
        let lifeline = process.stdin.take().expect("standard input is a pipe");
        let (out, err) = (process.stdout.take(), process.stderr.take());
        let log = Arc::new(Mutex::new(Vec::new()));
        let log_reader = Some(keep_lines(err.expect("standard error is a pipe"), log.clone()));
        let said = Arc::new(Mutex::new(Vec::new()));
        let out = ready_line(out.expect("standard output is a pipe"), said.clone());
        let listening = tokio::time::timeout(WAIT_MAX, out).await;
        let Some((api, gossip)) = listening.ok().flatten() else {
            let _ = process.kill();
            let _ = process.wait();
            panic!("{name} did not come to listen:\n{}", log.lock().unwrap().join("\n"));
        };
        let client = Client::new(&api).expect("the address is one");
        Self {
            name: name.to_owned(),
            api,
            gossip,
            client,
            process,
            _lifeline: lifeline,
            log,
            log_reader,
            said,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its API, as a URL.
    #[must_use]
    pub fn api(&self) -> &str {
        &self.api
    }

    /// Where it gossips.
    #[must_use]
    pub fn gossip(&self) -> &str {
        &self.gossip
    }

    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A client of it.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A figure of its metrics, by name and labels as they stand there; 0 when there is none.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = plain_get(&self.api, "/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }

    /// The memory that its process has, in bytes.
    ///
    /// # Panics
    /// It has ended.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        kibibytes.and_then(|text| text.trim().parse::<u64>().ok()).expect("the system tells") << 10
    }

    /// Its log lines so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// What it has printed on standard output since it listened, so far.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// It takes too long.
    pub async fn ready(&self) {
        eventually(&format!("{} is ready", self.name), || async { self.client.ready().await }).await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Sends SIGTERM and waits until it has left; gives its exit code.
    ///
    /// # Panics
    /// It takes too long, or is ended by a signal.
    pub async fn terminate(&mut self) -> i32 {
        let pid =
            i32::try_from(self.process.id()).ok().and_then(Pid::from_raw).expect("a process has a number");
        kill_process(pid, Signal::TERM).expect("it runs");
        self.ended().await
    }

    /// Waits until it has ended by itself; gives its exit code.
    ///
    /// # Panics
    /// It takes too long, or is ended by a signal.
    pub async fn ended(&mut self) -> i32 {
        let end = tokio::time::timeout(WAIT_MAX, async {
            loop {
                if let Some(status) = self.process.try_wait().expect("its end can be asked for") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let status = end.await.unwrap_or_else(|_| panic!("{} did not stop within {WAIT_MAX:?}", self.name));
        if let Some(reader) = self.log_reader.take() {
            // Its last words count.
            let _ = reader.join();
        }
        status.code().unwrap_or_else(|| panic!("{} ended with {status}", self.name))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {} ----", self.name);
            for line in self.log() {
                eprintln!("{line}");
            }
        }
    }
}

/// Keeps lines on a thread of its own: a full pipe would stop the node.
fn keep_lines(pipe: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    })
}

/// The addresses in the line that says where the node listens; none when its output ends before.
async fn ready_line(
    pipe: impl Read + Send + 'static,
    said: Arc<Mutex<Vec<String>>>,
) -> Option<(String, String)> {
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe).lines().map_while(Result::ok);
        let _ = send.send(lines.find(|line| line.starts_with("sidetalk ready-to-accept ")));
        // Whatever else it prints must not fill the pipe.
        lines.for_each(|line| said.lock().unwrap().push(line));
    });
    let line = receive.await.ok().flatten()?;
    let field = |name: &str| {
        line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    Some((field("api")?, field("gossip")?))
}

/// The body of a plain request, whatever it is.
async fn plain_get(api: &str, path: &str) -> String {
    let address = api.strip_prefix("http://").unwrap_or(api);
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}
