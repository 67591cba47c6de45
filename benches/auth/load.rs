//! Clients on kept connections, on a few threads of their own, that do as little as can be beside sending and reading.
//! Never reads what an instance used, and never forgives a failed request.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use portcullis_testkit::machine::this_threads_nanoseconds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What was done in which time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
    /// Of the threads that did it.
    pub(crate) cpu_nanoseconds: u64,
}

impl Done {
    /// What several did side by side.
    pub(crate) fn sum(all: impl IntoIterator<Item = Result<Done>>) -> Result<Done> {
        let mut sum = Done::default();
        for done in all {
            let done = done?;
            sum.count += done.count;
            sum.cpu_nanoseconds += done.cpu_nanoseconds;
            sum.seconds = sum.seconds.max(done.seconds);
        }
        ensure!(sum.count > 0, "nothing was done");
        Ok(sum)
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// Microseconds of this many nanoseconds for each.
    pub(crate) fn share_us(&self, nanoseconds: u64) -> f64 {
        nanoseconds as f64 / 1e3 / self.count as f64
    }
}

/// One connection's worth of load.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) asking: Asking,
}

#[derive(Clone, Debug)]
pub(crate) enum Asking {
    /// The same bytes again and again.
    Same(Vec<u8>),
    /// A refresh with the token that the last one gave.
    Chain(String),
}

/// How long, and on how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) threads: usize,
    pub(crate) duration: Duration,
}

/// Lets all clients ask; those that follow a chain are further along it afterwards.
pub(crate) fn run(clients: &mut [Client], extent: Extent) -> Result<Done> {
    let threads = extent.threads.clamp(1, clients.len());
    let share = clients.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = clients
            .chunks_mut(share)
            .map(|clients| scope.spawn(move || on_this_thread(clients, extent.duration)))
            .collect();
        let done = running
            .into_iter()
            .map(|thread| thread.join().expect("clients return their errors"));
        Done::sum(done)
    })
}

fn on_this_thread(clients: &mut [Client], duration: Duration) -> Result<Done> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = this_threads_nanoseconds()?;
    let started = Instant::now();
    let until = started + duration;
    let (count, moved) = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for (index, client) in clients.iter().enumerate() {
            let client = client.clone();
            tasks.spawn(async move { (index, ask_until(client, until).await) });
        }
        let mut count = 0;
        let mut moved = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let (index, asked) = ended.context("a client panicked")?;
            let (asked, asking) = asked?;
            count += asked;
            moved.push((index, asking));
        }
        anyhow::Ok((count, moved))
    })?;
    for (index, asking) in moved {
        clients[index].asking = asking;
    }
    Ok(Done {
        count,
        seconds: started.elapsed().as_secs_f64(),
        cpu_nanoseconds: this_threads_nanoseconds()? - before,
    })
}

async fn ask_until(client: Client, until: Instant) -> Result<(u64, Asking)> {
    let mut connection = Connection::open(client.address).await?;
    let mut asking = client.asking;
    let mut count = 0;
    while Instant::now() < until {
        match &mut asking {
            Asking::Same(request) => {
                connection.exchange(request).await?;
            }
            Asking::Chain(token) => {
                let answer = connection.exchange(&refresh(token)).await?;
                *token = field(answer, "refresh_token")?.to_owned();
            }
        }
        count += 1;
    }
    Ok((count, asking))
}

/// The bytes of a request without a body.
pub(crate) fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: auth.example\r\n{fields}\r\n").into_bytes()
}

/// The bytes of a request with a JSON body.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    post_with(path, "", body)
}

/// As [`post`], with further fields.
pub(crate) fn post_with(path: &str, fields: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: auth.example\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn refresh(token: &str) -> Vec<u8> {
    post(
        "/api/v1/auth/refresh",
        &format!(r#"{{"refresh_token":"{token}"}}"#),
    )
}

/// The value of a text without escapes in a JSON object. Parsing all of it would be work beside the work.
fn field<'a>(json: &'a [u8], name: &str) -> Result<&'a str> {
    let text = std::str::from_utf8(json)?;
    let value = text
        .split_once(&format!(r#""{name}":""#))
        .and_then(|(_, rest)| rest.split_once('"'));
    Ok(value.with_context(|| format!("no {name}"))?.0)
}

/// One kept connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            buffer: Vec::with_capacity(8 * 1024),
        })
    }

    /// Sends a request and returns the body of its answer, which has to be a 200.
    async fn exchange(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.buffer.clear();
        self.stream.write_all(request).await.context("sending")?;
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read_more().await?;
        };
        let head = std::str::from_utf8(&self.buffer[..end])?;
        let length = head
            .split("\r\n")
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse::<usize>().ok());
        let is_good = head.starts_with("HTTP/1.1 200 ");
        let length = length.with_context(|| format!("no length in {:?}", self.text()))?;
        while self.buffer.len() < end + length {
            self.read_more().await?;
        }
        if !is_good {
            bail!("it answered {}", self.text());
        }
        Ok(&self.buffer[end..end + length])
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    async fn read_more(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.buffer).await;
        ensure!(
            read.context("receiving")? > 0,
            "closed in front of the answer's end"
        );
        Ok(())
    }
}
