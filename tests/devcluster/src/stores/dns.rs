//! A name server for pods of a test cluster, which has no DNS of its own: it knows the names that it is told, and says of
//! all others that they do not exist. RFC 1035 over UDP; IPv4 only.

use super::lock;
use super::proxy::fits;
use anyhow::{Context as _, Result};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How soon a name may be somewhere else, in seconds.
const LIFETIME: u32 = 1;
const HEADER: usize = 12;
/// Types of records: an address of IPv4; any.
const A: u16 = 1;
const ANY: u16 = 255;
const NO_SUCH_NAME: u8 = 3;
/// How soon the thread sees that it shall end.
const TICK: Duration = Duration::from_millis(100);

/// A running name server; it ends when it is dropped.
#[derive(Debug)]
pub struct Dns {
    asked: Arc<Mutex<Vec<String>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Dns {
    /// Listens at the address, with these names; `*.NAME` stands for every name below NAME, at any depth.
    pub fn start(address: SocketAddr, names: Vec<(String, Ipv4Addr)>) -> Result<Self> {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen at {address} (UDP)"))?;
        socket.set_read_timeout(Some(TICK))?;
        let address = socket.local_addr()?;
        let (asked, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, ended) = (asked.clone(), end.clone());
        let thread = std::thread::Builder::new().name("dns".into()).spawn(move || {
            let mut buffer = [0; 1500];
            while !ended.load(Ordering::Relaxed) {
                let Ok((count, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                let question = buffer.get(..count).unwrap_or_default();
                if let Some((name, reply)) = answer(question, &names) {
                    lock(&heard).push(name);
                    // Who does not get it asks again.
                    let _ = socket.send_to(&reply, from);
                }
            }
        });
        Ok(Self {
            asked,
            end,
            thread: Some(thread.context("cannot start a thread")?),
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names asked for so far, in lower case.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The name that a message asks for, and the reply to it; none to what is no question.
fn answer(message: &[u8], names: &[(String, Ipv4Addr)]) -> Option<(String, Vec<u8>)> {
    let flags = message.get(2)?;
    let questions = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
    // A question, of the standard kind, about one name.
    if flags & 0xf8 != 0 || questions != 1 {
        return None;
    }
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
    let name = labels.join(".");
    let kind = u16::from_be_bytes([*message.get(at + 1)?, *message.get(at + 2)?]);
    let end = at + 5;
    let found = names.iter().find(|(pattern, _)| fits(pattern, &name));
    let address = found.filter(|_| matches!(kind, A | ANY)).map(|(_, address)| address);
    let mut reply = message.get(..end)?.to_vec();
    // A reply, of the authority; what was desired is repeated, and available.
    let code = if found.is_some() { 0 } else { NO_SUCH_NAME };
    reply.splice(2..4, [0x84 | (flags & 1), 0x80 | code]);
    reply.splice(6..HEADER, [0, u8::from(address.is_some()), 0, 0, 0, 0]);
    if let Some(address) = address {
        // The name is the one of the question; class IN.
        reply.extend([0xc0, 0x0c, 0, 1, 0, 1]);
        reply.extend(LIFETIME.to_be_bytes());
        reply.extend([0, 4]);
        reply.extend(address.octets());
    }
    Some((name, reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message
    }

    #[test]
    fn known_names_have_an_address_and_others_do_not_exist() {
        let names = [("*.example.test".to_owned(), Ipv4Addr::new(198, 18, 0, 2))];
        let (name, reply) = answer(&question("B.s3.Example.test", A), &names).unwrap();
        assert_eq!(name, "b.s3.example.test");
        assert_eq!(reply[..8], [0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1]);
        assert_eq!(reply[reply.len() - 6..], [0, 4, 198, 18, 0, 2]);
        let (_, six) = answer(&question("b.example.test", 28), &names).unwrap();
        assert_eq!((six[3], six[7]), (0x80, 0), "it exists, but has no address of IPv6");
        let (_, unknown) = answer(&question("example.org", A), &names).unwrap();
        assert_eq!((unknown[3], unknown[7]), (0x83, 0));
        assert!(answer(&reply, &names).is_none(), "a reply is no question");
        assert!(answer(&question("b.example.test", A)[..20], &names).is_none());
    }
}
