//! Something that calls itself systemd on a private bus, and does what a test wants of it. It knows as much of D-Bus as that takes;
//! the bus, Debian's dbus-daemon, checks every message on its way.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use harness::wait_until;

/// What it answers to StartTransientUnit.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// An error of this name and text.
    Refuse(&'static str, &'static str),
    /// A job, whose result is this word.
    Job(&'static str),
    /// A job that never ends.
    EndlessJob,
    /// Nothing.
    Silence,
}

/// A bus of a test's own.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    pub address: String,
}

impl Bus {
    pub fn start(dir: &Path) -> Self {
        let address = format!("unix:path={}", dir.join("bus").display());
        let config = dir.join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>"
        );
        std::fs::write(&config, text).unwrap();
        let config = format!("--config-file={}", config.display());
        let mut command = std::process::Command::new("setpriv");
        let daemon = ["--pdeathsig", "KILL", "dbus-daemon", &config, "--nofork", "--nopidfile"];
        command.args(daemon).stdin(Stdio::null()).stdout(Stdio::null());
        let daemon = command.spawn().expect("dbus-daemon is installed by `make setup`");
        let socket = dir.join("bus");
        wait_until("the bus listens", Duration::from_secs(10), || UnixStream::connect(&socket).is_ok());
        Self { daemon, address }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

/// Answers to the name of systemd until the bus ends. What it is called is told: the method, and the first argument if it is a string.
pub fn answer(dir: &Path, answer: Answer) -> Receiver<(String, String)> {
    let mut stream = UnixStream::connect(dir.join("bus")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\n").unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") || !line.windows(3).any(|three| three == b"OK ") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    stream.write_all(b"BEGIN\r\n").unwrap();
    let to_bus = [(1, "/org/freedesktop/DBus"), (6, "org.freedesktop.DBus")];
    stream.write_all(&message(1, 1, None, &to_bus, "Hello", &[])).unwrap();
    let name = [Argument::Text("org.freedesktop.systemd1"), Argument::Number(0)];
    stream.write_all(&message(1, 2, None, &to_bus, "RequestName", &name)).unwrap();
    // The second reply: the name is ours.
    while read(&mut stream).is_some_and(|message| message.reply_to != Some(2)) {}
    let (told, calls) = channel();
    std::thread::spawn(move || {
        while let Some(call) = read(&mut stream) {
            if call.kind != 1 {
                continue;
            }
            let replies = replies(&call, answer);
            if told.send((call.member, call.first)).is_err() || stream.write_all(&replies).is_err() {
                return;
            }
        }
    });
    calls
}

const JOB: &str = "/org/freedesktop/systemd1/job/7";

fn replies(call: &Message, answer: Answer) -> Vec<u8> {
    let to = [(6, call.sender.as_str())];
    let back = |arguments: &[Argument<'_>]| message(2, 10, Some(call.serial), &to, "", arguments);
    match (call.member.as_str(), answer) {
        ("StartTransientUnit", Answer::Silence) => Vec::new(),
        ("StartTransientUnit", Answer::EndlessJob) => back(&[Argument::Path(JOB)]),
        ("StartTransientUnit", Answer::Refuse(name, text)) => {
            let fields = [(6, call.sender.as_str()), (4, name)];
            message(3, 10, Some(call.serial), &fields, "", &[Argument::Text(text)])
        }
        ("StartTransientUnit", Answer::Job(result)) => {
            let mut all = back(&[Argument::Path(JOB)]);
            let from = [(1, "/org/freedesktop/systemd1"), (2, "org.freedesktop.systemd1.Manager")];
            // One of another job comes first.
            for (job, result) in [("/org/freedesktop/systemd1/job/6", "canceled"), (JOB, result)] {
                let arguments = [
                    Argument::Number(7),
                    Argument::Path(job),
                    Argument::Text(&call.first),
                    Argument::Text(result),
                ];
                all.extend(message(4, 11, None, &from, "JobRemoved", &arguments));
            }
            all
        }
        _ => back(&[]),
    }
}

/// An argument that the fake can write.
#[derive(Debug, Clone, Copy)]
enum Argument<'a> {
    Text(&'a str),
    Path(&'a str),
    Number(u32),
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    align(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.bytes());
    bytes.push(0);
}

/// The code of a header field, and the signature of its value.
fn field(bytes: &mut Vec<u8>, code: u8, kind: u8) {
    align(bytes, 8);
    bytes.extend([code, 1, kind, 0]);
}

/// `fields` are the texts of header fields by their codes; `member` and `reply_to` come on top.
fn message(
    kind: u8,
    serial: u32,
    reply_to: Option<u32>,
    fields: &[(u8, &str)],
    member: &str,
    arguments: &[Argument<'_>],
) -> Vec<u8> {
    let (mut body, mut signature) = (Vec::new(), String::new());
    for argument in arguments {
        match argument {
            Argument::Text(text) | Argument::Path(text) => string(&mut body, text),
            Argument::Number(number) => {
                align(&mut body, 4);
                body.extend(number.to_le_bytes());
            }
        }
        signature.push(match argument {
            Argument::Text(_) => 's',
            Argument::Path(_) => 'o',
            Argument::Number(_) => 'u',
        });
    }
    let mut all = vec![b'l', kind, 0, 1];
    for number in [body.len() as u32, serial, 0] {
        all.extend(number.to_le_bytes());
    }
    for (code, text) in fields.iter().copied().chain([(3, member)]).filter(|(_, text)| !text.is_empty()) {
        field(&mut all, code, if code == 1 { b'o' } else { b's' });
        string(&mut all, text);
    }
    if let Some(serial) = reply_to {
        field(&mut all, 5, b'u');
        all.extend(serial.to_le_bytes());
    }
    if !signature.is_empty() {
        field(&mut all, 8, b'g');
        all.push(signature.len() as u8);
        all.extend(signature.bytes());
        all.push(0);
    }
    let length = (all.len() - 16) as u32;
    all[12..16].copy_from_slice(&length.to_le_bytes());
    align(&mut all, 8);
    all.extend(body);
    all
}

/// What the fake reads of a message.
#[derive(Debug, Default)]
struct Message {
    kind: u8,
    serial: u32,
    reply_to: Option<u32>,
    member: String,
    sender: String,
    first: String,
}

fn read(stream: &mut UnixStream) -> Option<Message> {
    let mut head = [0u8; 16];
    stream.read_exact(&mut head).ok()?;
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (body, fields) = (number(&head, 4) as usize, number(&head, 12) as usize);
    let mut rest = vec![0; fields.next_multiple_of(8) + body];
    stream.read_exact(&mut rest).ok()?;
    let mut found = Message { kind: head[1], serial: number(&head, 8), ..Message::default() };
    let text = |bytes: &[u8], at: usize, length: usize| {
        String::from_utf8_lossy(&bytes[at..at + length]).into_owned()
    };
    let (mut at, mut signature) = (0, String::new());
    while at < fields {
        let (code, kind) = (rest[at], rest[at + 2]);
        at += 4;
        match kind {
            b'u' => {
                if code == 5 {
                    found.reply_to = Some(number(&rest, at));
                }
                at += 4;
            }
            b'g' => {
                let length = rest[at] as usize;
                signature = text(&rest, at + 1, length);
                at += length + 2;
            }
            _ => {
                let length = number(&rest, at) as usize;
                let value = text(&rest, at + 4, length);
                match code {
                    3 => found.member = value,
                    7 => found.sender = value,
                    _ => {}
                }
                at += length + 5;
            }
        }
        at = at.next_multiple_of(8);
    }
    let start = fields.next_multiple_of(8);
    if signature.starts_with('s') {
        found.first = text(&rest, start + 4, number(&rest, start) as usize);
    }
    Some(found)
}
