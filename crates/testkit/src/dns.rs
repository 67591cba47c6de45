//! A name server that says what a test tells it to. Never asks another one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// What a datagram holds; longer answers are cut off and asked for again over TCP.
const DATAGRAM_BYTES_MAX: usize = 512;
const SRV: u16 = 33;

/// What the server does with questions for one name and type.
#[derive(Clone, Debug)]
pub enum DnsAnswer {
    /// Answers with these records, which live so many seconds. None of them: the name exists.
    Records(u32, Vec<DnsRecord>),
    /// There is no such name.
    NxDomain,
    /// It cannot tell.
    ServFail,
    /// Nothing at all.
    Silence,
    /// Bytes that are no answer.
    Garbage,
}

/// One record of an answer.
#[derive(Clone, Debug)]
pub enum DnsRecord {
    /// A or AAAA.
    Address(IpAddr),
    /// The name of the question stands for this one, whose addresses follow.
    Alias(String, Vec<IpAddr>),
    /// Priority, weight, port, target.
    Service(u16, u16, u16, String),
}

/// Answers by name, and by type of record.
type Zone = Arc<Mutex<HashMap<(String, u16), DnsAnswer>>>;

/// A running name server, over UDP and TCP on one port of loopback. Dropping it ends it.
pub struct DnsServer {
    address: SocketAddr,
    zone: Zone,
    questions: Arc<Mutex<Vec<(String, u16)>>>,
    tasks: [JoinHandle<()>; 2],
}

impl DnsServer {
    /// Starts one that knows of no name.
    pub async fn start() -> DnsServer {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("loopback is there");
            let address = tcp.local_addr().expect("a bound socket has an address");
            // The same port of UDP may be somebody else's.
            if let Ok(udp) = UdpSocket::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = tcp.local_addr().expect("a bound socket has an address");
        let (zone, questions) = (Zone::default(), Arc::default());
        let desk = Desk {
            zone: Arc::clone(&zone),
            questions: Arc::clone(&questions),
        };
        let tasks = [
            tokio::spawn(desk.clone().serve_datagrams(udp)),
            tokio::spawn(desk.serve_connections(tcp)),
        ];
        DnsServer {
            address,
            zone,
            questions,
            tasks,
        }
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on IPv4 addresses of a name are asked for with this result; it has no IPv6 address.
    pub fn set(&self, name: &str, answer: DnsAnswer) {
        self.set_type(name, 28, DnsAnswer::Records(1, Vec::new()));
        self.set_type(name, 1, answer);
    }

    /// The same for one type of record: 1 for A, 28 for AAAA, 33 for SRV.
    pub fn set_type(&self, name: &str, record_type: u16, answer: DnsAnswer) {
        let key = (name.to_ascii_lowercase(), record_type);
        self.zone
            .lock()
            .expect("no test panics in here")
            .insert(key, answer);
    }

    /// How often a name was asked for.
    pub fn questions(&self, name: &str) -> usize {
        let asked = self.questions.lock().expect("no test panics in here");
        asked.iter().filter(|(known, _)| known == name).count()
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Clone)]
struct Desk {
    zone: Zone,
    questions: Arc<Mutex<Vec<(String, u16)>>>,
}

impl Desk {
    async fn serve_datagrams(self, socket: UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let Some(mut answer) = self.answer(&buffer[..length]) else {
                continue;
            };
            if answer.len() > DATAGRAM_BYTES_MAX && answer.len() >= 12 {
                let end = question_end(&answer).unwrap_or(12);
                answer.truncate(end);
                // Cut off, and no records in what is left.
                answer[2] |= 0x02;
                answer[6..12].fill(0);
            }
            let _ = socket.send_to(&answer, client).await;
        }
    }

    async fn serve_connections(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let desk = self.clone();
            tokio::spawn(async move {
                let _ = desk.serve(stream).await;
            });
        }
    }

    async fn serve(self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut question = vec![0; length.into()];
            stream.read_exact(&mut question).await?;
            if let Some(answer) = self.answer(&question) {
                let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
                stream.write_u16(length).await?;
                stream.write_all(&answer).await?;
            }
        }
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let end = question_end(question)?;
        let name = name_of(question.get(12..end - 4)?)?;
        let record_type = u16::from_be_bytes([question[end - 4], question[end - 3]]);
        let key = (name, record_type);
        self.questions
            .lock()
            .expect("no test panics in here")
            .push(key.clone());
        let zone = self.zone.lock().expect("no test panics in here");
        let (code, ttl, records) = match zone.get(&key) {
            Some(DnsAnswer::Records(ttl, records)) => (0, *ttl, records.clone()),
            Some(DnsAnswer::ServFail) => (2, 0, Vec::new()),
            Some(DnsAnswer::NxDomain) | None => (3, 0, Vec::new()),
            Some(DnsAnswer::Silence) => return None,
            Some(DnsAnswer::Garbage) => return Some([&question[..2], &[0xff; 20]].concat()),
        };
        let mut written = Vec::new();
        let count: u16 = records
            .iter()
            .map(|one| write(&mut written, one, ttl))
            .sum();
        let mut answer = question[..2].to_vec();
        answer.extend([0x84, 0x80 | code, 0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0, 0, 0, 0]);
        answer.extend(&question[12..end]);
        answer.extend(written);
        Some(answer)
    }
}

/// Where the first question of a message ends.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at + 4).filter(|end| *end <= message.len());
        }
    }
}

fn name_of(mut labels: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while let Some((length, rest)) = labels.split_first().filter(|(length, _)| **length > 0) {
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        name.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        labels = rest;
    }
    Some(name.join("."))
}

/// Writes a record, and those it stands for; returns how many.
fn write(to: &mut Vec<u8>, record: &DnsRecord, ttl: u32) -> u16 {
    // The name of the question, which begins at byte 12.
    const OF_QUESTION: [u8; 2] = [0xc0, 12];
    match record {
        DnsRecord::Address(address) => write_address(to, &OF_QUESTION, *address, ttl),
        DnsRecord::Alias(name, addresses) => {
            let name = encoded(name);
            write_one(to, &OF_QUESTION, 5, ttl, &name);
            let addresses = addresses
                .iter()
                .map(|one| write_address(to, &name, *one, ttl));
            1 + addresses.sum::<u16>()
        }
        DnsRecord::Service(priority, weight, port, target) => {
            let numbers = [priority, weight, port].map(|number| number.to_be_bytes());
            let data = [numbers.concat(), encoded(target)].concat();
            write_one(to, &OF_QUESTION, SRV, ttl, &data)
        }
    }
}

fn write_address(to: &mut Vec<u8>, name: &[u8], address: IpAddr, ttl: u32) -> u16 {
    match address {
        IpAddr::V4(address) => write_one(to, name, 1, ttl, &address.octets()),
        IpAddr::V6(address) => write_one(to, name, 28, ttl, &address.octets()),
    }
}

fn write_one(to: &mut Vec<u8>, name: &[u8], record_type: u16, ttl: u32, data: &[u8]) -> u16 {
    to.extend(name);
    to.extend(record_type.to_be_bytes());
    to.extend([0, 1]);
    to.extend(ttl.to_be_bytes());
    to.extend(
        u16::try_from(data.len())
            .expect("short records")
            .to_be_bytes(),
    );
    to.extend(data);
    1
}

fn encoded(name: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        encoded.push(u8::try_from(label.len()).expect("short labels"));
        encoded.extend(label.as_bytes());
    }
    encoded.push(0);
    encoded
}
