//! A destination on another machine: `ssh://[USER@]HOST[:PORT]/PATH`.
//!
//! Knows how such a destination is written, which command ssh runs for it, and what the answers mean;
//! `transfer` defines the bytes in between. Invariant: a file is reported to be in place only if the
//! receiver has said so.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;

use fifofs::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::retry_on_intr;

use super::consumer::{self, Outcome, Plan, Terminal};
use super::transfer::{Answer, PROTOCOL};
use crate::cli::status;

const SCHEME: &[u8] = b"ssh://";

/// Commands for a shell, in place of `ssh` here and `fifofs` there.
const SSH_VARIABLE: &str = "FIFOFS_SSH";
const REMOTE_VARIABLE: &str = "FIFOFS_REMOTE";

/// An idle connection is probed this often, and given up after three probes without an answer, unless
/// the user's configuration of ssh says otherwise.
const ALIVE: &str = "-oServerAliveInterval=15";

/// How much a remote shell may print before the receiver's first line.
const ANSWERS_BYTES: usize = 64 << 10;

/// How often to check whether an answer is still wanted.
const LOOK_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// A file on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// The address as it was written.
    text: OsString,
    /// `[USER@]HOST`, as ssh takes it.
    host: OsString,
    port: Option<u16>,
    /// Relative to the home directory if it was written with `/~/`.
    path: OsString,
}

impl Address {
    /// Parses an address; none if it does not begin with `ssh://`.
    pub(super) fn parse(text: &OsStr) -> Result<Option<Self>> {
        let Some(rest) = text.as_bytes().strip_prefix(SCHEME) else {
            return Ok(None);
        };
        let wrong = |why: &str| {
            Error::usage(format!(
                "invalid destination '{}': {why}; write ssh://[USER@]HOST[:PORT]/PATH, with /~/PATH for \
                 a path in the home directory",
                text.display()
            ))
        };
        let slash = rest.iter().position(|byte| *byte == b'/');
        let (place, path) = rest.split_at(slash.ok_or_else(|| wrong("it has no path"))?);
        let path = path.strip_prefix(b"/~/").unwrap_or(path);
        if path.is_empty() || path.ends_with(b"/") {
            return Err(wrong("it names no file"));
        }
        let (host, port) = split_port(place);
        let port = port.map(|port| {
            std::str::from_utf8(port)
                .ok()?
                .parse()
                .ok()
                .filter(|n| *n > 0)
        });
        let port = match port {
            Some(None) => return Err(wrong("its port is no number")),
            Some(port) => port,
            None => None,
        };
        let (user, name) = match host.iter().rposition(|byte| *byte == b'@') {
            Some(at) => (Some(&host[..at]), &host[at + 1..]),
            None => (None, host),
        };
        if user.is_some_and(<[u8]>::is_empty) || name.is_empty() || host.starts_with(b"-") {
            return Err(wrong("it names no host"));
        }
        // ssh takes an IPv6 address without brackets.
        let bare = name
            .strip_prefix(b"[")
            .and_then(|name| name.strip_suffix(b"]"));
        let host = match user {
            Some(user) => [user, b"@", bare.unwrap_or(name)].concat(),
            None => bare.unwrap_or(name).to_vec(),
        };
        Ok(Some(Address {
            text: text.into(),
            host: OsStr::from_bytes(&host).into(),
            port,
            path: OsStr::from_bytes(path).into(),
        }))
    }

    /// The command to run: ssh, with the program for the other side.
    pub(super) fn plan(&self) -> Plan {
        let variable = |name, default: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.unwrap_or_else(|| default.into())
        };
        let mut script = OsString::from("exec ");
        script.push(variable(SSH_VARIABLE, "ssh"));
        script.push(" \"$@\"");
        let mut remote = variable(REMOTE_VARIABLE, "fifofs");
        remote.push(format!(" receive --protocol {PROTOCOL} -- "));
        remote.push(quoted(&self.path));
        let mut words: Vec<OsString> = ["sh", "-c"].map(OsString::from).into();
        words.extend([script, "ssh".into(), ALIVE.into()]);
        if let Some(port) = self.port {
            words.extend(["-p".into(), port.to_string().into()]);
        }
        words.extend([self.host.clone(), remote]);
        Plan {
            words,
            output: consumer::Output::Back,
            terminal: Terminal::Shared,
        }
    }

    fn failed(&self, why: impl Into<String>) -> Error {
        Error::io("write to", self.to_string(), io::Error::other(why.into()))
    }

    /// The error if ssh has ended without a reason from the receiver.
    fn ended(&self, outcome: Outcome) -> Error {
        let host = self.host.display();
        let try_it = |command: &str| {
            let port = self
                .port
                .map_or_else(String::new, |port| format!("-p {port} "));
            format!("try `ssh {port}{host} {command}`")
        };
        let status = match outcome {
            Outcome::Ended(status) => status,
            Outcome::NotStarted(errno) => {
                return self.failed(format!("sh cannot be started: {}", io::Error::from(errno)));
            }
            Outcome::Lost => return self.failed("the process that watches over ssh was killed"),
            Outcome::NotRun => return self.failed("ssh was not started"),
        };
        let signal = |number| self.failed(format!("ssh was killed by signal {number}"));
        match status.code() {
            Some(255) => self
                .failed("there is no connection, or it was cut")
                .with_remedy(try_it("true")),
            Some(127) => self
                .failed(format!("there is no fifofs on {host}, or no ssh here"))
                .with_remedy(format!(
                    "{}; {REMOTE_VARIABLE} says where fifofs is there",
                    try_it("fifofs --version")
                )),
            Some(code) if code == i32::from(status::FAILED) => self
                .failed(format!("fifofs on {host} does not know `receive`"))
                .with_remedy("install the same version on both sides"),
            Some(code) => self.failed(format!(
                "`fifofs receive` did not answer, and ssh ended with status {code}"
            )),
            None => status
                .signal()
                .map_or_else(|| self.failed("ssh ended"), signal),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.display().fmt(f)
    }
}

/// Splits `HOST:PORT`, ignoring colons within brackets.
fn split_port(place: &[u8]) -> (&[u8], Option<&[u8]>) {
    match place.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !place[colon..].contains(&b']') => {
            (&place[..colon], Some(&place[colon + 1..]))
        }
        _ => (place, None),
    }
}

/// Quotes one word for a shell.
fn quoted(word: &OsStr) -> OsString {
    let mut quoted = b"'".to_vec();
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsStr::from_bytes(&quoted).into()
}

/// Reads the receiver's answers.
#[derive(Debug)]
pub(super) struct Answers {
    address: Address,
    pipe: OwnedFd,
    /// The beginning of an unfinished line.
    rest: RefCell<Vec<u8>>,
}

impl Answers {
    pub(super) fn new(address: Address, pipe: OwnedFd) -> Self {
        Answers {
            address,
            pipe,
            rest: RefCell::default(),
        }
    }

    /// Waits until the receiver is ready, before the program is started: it is better to know then that
    /// a host cannot be reached, or a directory not be written. Waits as long as it `is_wanted`.
    ///
    /// # Errors
    ///
    /// The receiver's error, or the reason why there is no receiver.
    pub(super) fn wait_until_ready(
        &self,
        ssh: &consumer::Consumer,
        is_wanted: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        loop {
            match self.next() {
                None if !is_wanted() => return Ok(()),
                Some(Answer::Ready { protocol: PROTOCOL }) => return Ok(()),
                Some(Answer::Ready { protocol }) => {
                    return Err(self
                        .address
                        .failed(format!(
                            "its fifofs speaks protocol {protocol}, and this one {PROTOCOL}"
                        ))
                        .with_remedy("install the same version on both sides"));
                }
                Some(Answer::Error(why)) => return Err(self.address.failed(why)),
                Some(Answer::Done) => {}
                None => {
                    let mut polled = [
                        PollFd::new(&self.pipe, PollFlags::IN),
                        PollFd::new(ssh, PollFlags::IN),
                    ];
                    let _ =
                        retry_on_intr(|| rustix::event::poll(&mut polled, Some(&LOOK_INTERVAL)));
                    let [pipe, ended] = polled.map(|fd| fd.revents());
                    if !self.read_more(pipe) && !ended.is_empty() {
                        return Err(self.address.ended(ssh.outcome(false)));
                    }
                }
            }
        }
    }

    /// The result, once ssh has ended.
    ///
    /// # Errors
    ///
    /// If the receiver did not say that the file is in place.
    pub(super) fn judge(&self, outcome: Outcome) -> Result<()> {
        let now = Timespec::default();
        loop {
            match self.next() {
                Some(Answer::Done) => return Ok(()),
                Some(Answer::Error(why)) => return Err(self.address.failed(why)),
                Some(Answer::Ready { .. }) => {}
                None => {
                    let mut polled = [PollFd::new(&self.pipe, PollFlags::IN)];
                    let _ = retry_on_intr(|| rustix::event::poll(&mut polled, Some(&now)));
                    if !self.read_more(polled[0].revents()) {
                        return Err(self.address.ended(outcome));
                    }
                }
            }
        }
    }

    /// Reads available bytes; returns whether there were any.
    fn read_more(&self, ready: PollFlags) -> bool {
        let mut rest = self.rest.borrow_mut();
        if !ready.contains(PollFlags::IN) || rest.len() > ANSWERS_BYTES {
            return false;
        }
        let mut bytes = [0; 4096];
        match retry_on_intr(|| rustix::io::read(&self.pipe, &mut bytes)) {
            Ok(length @ 1..) => {
                rest.extend_from_slice(&bytes[..length]);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// The next of the answers that were read.
    fn next(&self) -> Option<Answer> {
        let mut rest = self.rest.borrow_mut();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if let Some(answer) = Answer::parse(&String::from_utf8_lossy(&line)) {
                return Some(answer);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Address>> {
        Address::parse(OsStr::new(text))
    }

    #[test]
    fn addresses_have_what_ssh_wants() {
        for (text, host, port, path) in [
            ("ssh://host/a/b", "host", None, "/a/b"),
            ("ssh://me@host:2222/a", "me@host", Some(2222), "/a"),
            ("ssh://me@[::1]:22/~/a b", "me@::1", Some(22), "a b"),
            ("ssh://[fe80::1]/a", "fe80::1", None, "/a"),
        ] {
            let address = parsed(text).expect(text).expect(text);
            assert_eq!(address.host, host);
            assert_eq!(address.port, port);
            assert_eq!(address.path, path);
            assert_eq!(address.to_string(), text);
        }
        assert_eq!(parsed("host:/a").expect("none"), None);
    }

    #[test]
    fn a_malformed_address_is_refused() {
        for text in [
            "ssh://",
            "ssh://host",
            "ssh://host/",
            "ssh://host/a/",
            "ssh://host/~/",
            "ssh:///a",
            "ssh://@host/a",
            "ssh://-oProxyCommand=x/a",
            "ssh://host:x/a",
            "ssh://host:0/a",
        ] {
            let said = parsed(text).expect_err(text).to_string();
            assert!(said.contains("ssh://[USER@]HOST[:PORT]/PATH"), "{said}");
        }
    }

    #[test]
    fn a_path_is_one_word_of_the_remote_shell() {
        assert_eq!(quoted(OsStr::new("it's $x")), r"'it'\''s $x'");
    }
}
