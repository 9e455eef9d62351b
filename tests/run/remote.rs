//! Destinations on another machine: `ssh://…`, with a real ssh and a real sshd, which ssh starts as the other end of
//! its connection.

use std::fs;

use rustix::process::Signal;

use crate::common::{self, FIFOFS, Finished, Process, assert_same, needs};
use crate::{Ended, LIMIT, Runs};

/// A host that this script's `host` can reach, as `ssh://host$PWD/…`.
const HOST: &str = r#"
S="$F/../ssh"; mkdir -p "$S" /run/sshd
if [ ! -e "$S/key" ]; then
    ssh-keygen -q -t ed25519 -N '' -f "$S/host"; ssh-keygen -q -t ed25519 -N '' -f "$S/key"
    cat > "$S/sshd_config" <<END
HostKey $S/host
AuthorizedKeysFile $S/key.pub
StrictModes no
UsePAM no
LogLevel ERROR
PermitRootLogin yes
SetEnv FIFOFS_TEST_MOUNT=$FIFOFS_TEST_MOUNT
END
    cat > "$S/config" <<END
Host *
 ProxyCommand /usr/sbin/sshd -i -f $S/sshd_config
 IdentityFile $S/key
 UserKnownHostsFile $S/known
 StrictHostKeyChecking no
 LogLevel ERROR
 BatchMode yes
END
    chmod 600 "$S/config"
fi
export FIFOFS_SSH="ssh -F $S/config" FIFOFS_REMOTE="${REMOTE-$FIFOFS}"
"#;

/// Records the processes on the other side, and goes on.
const TELLING: &str = r#"REMOTE="echo \$PPID > $F/sshd; echo \$\$ > $F/receiver; exec $FIFOFS""#;

struct Hosts(Runs);

impl Hosts {
    fn new() -> Self {
        needs(&[("sshd", "openssh-server"), ("ssh", "openssh-client")]);
        Hosts(Runs::new())
    }

    #[track_caller]
    fn run(&self, before: &str, script: &str) -> Finished {
        self.start(before, script).finish(LIMIT)
    }

    fn start(&self, before: &str, script: &str) -> Process {
        self.0.start(&format!("{before}\n{HOST}\n{script}"))
    }

    /// The contents of the sent file; beside it there must be no other.
    #[track_caller]
    fn there(&self) -> Option<Vec<u8>> {
        let there = self.0.place.at("plain").join("there");
        let names = || -> Vec<_> {
            let entries = fs::read_dir(&there).expect("the directory").flatten();
            entries.map(|entry| entry.file_name()).collect()
        };
        // A receiver may take a moment to see that the sender is gone.
        self.0.wait_for("nothing but the file to be there", || {
            names().iter().all(|name| name == "it's")
        });
        fs::read(there.join("it's")).ok()
    }

    /// Checks that a program with a remote output ends so, and leaves nothing.
    #[track_caller]
    fn fails(&self, before: &str, program: &str, status: i32, saying: &str) {
        let script = format!(
            r#"mkdir -p there; run -o "ssh://host$PWD/there/it's" -- sh -c '{program}' sh {{out:x.log}}"#
        );
        let ended = self.run(before, &script);
        ended.with_status(status).saying(saying);
        assert_eq!(self.there(), None, "{before} {program}");
    }
}

#[test]
fn a_file_is_sent_whole_with_its_mode_and_what_is_patched_is_right() {
    let hosts = Hosts::new();
    // The output that a shell prints at its start does not matter.
    hosts
        .run(
            r#"REMOTE="echo hello; $FIFOFS""#,
            r#"umask 022; mkdir there; run -o "ssh://host$PWD/there/it's" -- sh -c 'umask 077; seq 500000 > "$1"; sleep 0.3; printf X | dd conv=notrunc of="$1" 2> /dev/null' sh {out:x.log}
            stat -c %a there/*; seq 500000 | sed '1s/1/X/' | cmp - there/it\'s && echo same"#,
        )
        .succeeded()
        .printed("600\nsame\n");
    // An existing file keeps its mode, and is replaced in one step.
    hosts
        .run(
            "",
            r#"run -o "ssh://host$PWD/there/it's" -- sh -c 'echo new > "$1"; cat there/* | wc -l' sh {out:x.log}
            stat -c %a there/*; cat there/*; run -o "ssh://host$PWD/there/it's" -- touch {out:x.log}; wc -c < there/it\'s"#,
        )
        .succeeded()
        .printed("500000\n600\nnew\n0\n");
    hosts
        .run(
            "",
            r#"run -o "ssh://host$PWD/there/it's" -- sh -c 'echo x > "$1"; exit 3' sh {out:x.log}"#,
        )
        .with_status(3)
        .saying("there/it's is left as it was: sh ended with status 3");
    assert_same(&hosts.there().expect("it"), b"");
}

#[test]
fn an_output_that_is_not_whole_is_not_published() {
    let hosts = Hosts::new();
    for (program, status, saying) in [
        (
            r#"seq 100000 > "$1"; sleep 0.3; exit 3"#,
            3,
            "is left as it was",
        ),
        (
            r#"seq 100000 > "$1"; sleep 0.3; kill -9 $$"#,
            137,
            "is left as it was",
        ),
        ("true", 74, "did not make 'x.log'"),
    ] {
        hosts.fails("", program, status, saying);
    }
}

#[test]
fn a_host_that_cannot_take_it_is_reported_before_the_program_runs() {
    let hosts = Hosts::new();
    let ran = r#"echo > ran; echo x > "$1""#;
    for (remote, saying) in [
        ("no-such-program", "there is no fifofs on host"),
        ("exit 125; ", "does not know `receive`"),
        ("true", "did not answer"),
        ("kill -9 $PPID; ", "there is no connection, or it was cut"),
        (
            "echo fifofs receive 7; :",
            "speaks protocol 7, and this one 1; install the same version",
        ),
        (
            &format!("{FIFOFS} receive --protocol 9 -- there/x; :"),
            "speaks protocol 1, and was asked for 9; install the same version",
        ),
        ("cd /; false && ", "did not answer"),
    ] {
        hosts.fails(&format!("REMOTE='{remote}'"), ran, 74, saying);
    }
    let places = [
        ("/no/such/x", "/no/such/x: No such file"),
        ("/dev/full", "/dev/full: it is no regular file"),
        ("/proc/x", "cannot write to /proc/x"),
    ];
    for (path, saying) in places {
        hosts
            .run(
                "",
                &format!(r#"run -o "ssh://host{path}" -- sh -c '{ran}' sh {{out:x.log}}"#),
            )
            .with_status(74)
            .saying(saying);
    }
    assert!(!hosts.0.exists("ran"));
}

/// The beginning of an output, until the receiver has some of it.
const BEGIN: &str =
    r#"seq 1000000 > "$1"; until [ -s "$F/receiver" ]; do sleep 0.01; done; sleep 0.2"#;

#[test]
fn a_connection_that_is_cut_leaves_nothing() {
    let hosts = Hosts::new();
    let cut = |what: &str| {
        format!(r#"{BEGIN}; kill -9 $(cat "$F/{what}"); sleep 0.2; seq 1000000 >> "$1""#)
    };
    hosts.fails(TELLING, &cut("sshd"), 74, "no connection, or it was cut");
    hosts.fails(TELLING, &cut("receiver"), 74, "it's: ");
}

#[test]
fn a_disk_that_is_full_leaves_nothing() {
    let hosts = Hosts::new();
    hosts
        .run(
            "",
            r#"mkdir -p there; "$FIFOFS" mount -d --max-size 1M there
            run -o "ssh://host$PWD/there/it's" -- sh -c 'seq 1000000 > "$1"' sh {out:x.log}; echo $?; ls -A there
            "$FIFOFS" unmount there"#,
        )
        .succeeded()
        .saying("No space left")
        .printed("74\n");
}

#[test]
fn when_fifofs_is_killed_or_terminated_nothing_is_published() {
    for (signal, status) in [(Signal::KILL, None), (Signal::TERM, Some(143))] {
        let hosts = Hosts::new();
        let process = hosts.start(
            TELLING,
            &format!(
                r#"mkdir -p there; exec "$FIFOFS" run -o "ssh://host$PWD/there/it's" -- sh -c '{BEGIN}; echo > "$F/ready"; exec sleep 600' sh {{out:x.log}}"#
            ),
        );
        hosts.0.flag("ready");
        common::signal(process.pid(), signal);
        let ended = process.finish(LIMIT);
        assert_eq!(ended.status.code(), status, "{}", ended.stderr);
        assert_eq!(hosts.there(), None);
    }
}

/// A signal ends the wait for a host that never answers.
#[test]
fn the_wait_for_a_host_that_does_not_answer_can_be_ended() {
    let hosts = Hosts::new();
    let process = hosts.start(
        r#"REMOTE="echo > $F/waits; cat > /dev/null; :""#,
        r#"exec "$FIFOFS" run -o "ssh://host$PWD/x" -- touch {out} started"#,
    );
    hosts.0.flag("waits");
    common::signal(process.pid(), Signal::TERM);
    process.finish(LIMIT).with_status(143);
    assert!(!hosts.0.exists("started"));
}
