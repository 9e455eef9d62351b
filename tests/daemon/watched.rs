//! What a daemon tells whoever started it and looks after it: a service manager, and the log.

use crate::common::{Place, SOON, needs, needs_root};

#[test]
fn a_service_manager_is_told_when_the_mount_is_ready_and_when_it_ends() {
    let place = Place::new();
    place
        .python(
            r#"
import os, signal, socket, subprocess
for address in ["socket", "\0fifofs-test-%d" % os.getpid()]:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    manager.settimeout(30)
    name = address.replace("\0", "@")
    mount = subprocess.Popen([os.environ["FIFOFS"], "mount", os.environ["D"]], stderr=subprocess.DEVNULL,
        env=dict(os.environ, NOTIFY_SOCKET=name))
    told = manager.recv(4096).decode()
    assert "READY=1" in told and "MAINPID=%d" % mount.pid in told, told
    open(os.environ["D"] + "/x", "w").close()
    mount.send_signal(signal.SIGTERM)
    assert manager.recv(4096) == b"STOPPING=1"
    assert mount.wait() == 0
"#,
        )
        .finish(SOON)
        .succeeded();
    place.assert_nothing_left();
}

#[test]
fn the_log_of_a_daemon_goes_to_the_file_that_is_named() {
    let place = Place::new();
    place
        .shell(
            r#"
            export RUST_LOG=warn
            "$FIFOFS" mount -d --log-file log "$D"
            ("$FIFOFS" cat "$D/x.txt"; echo $?) & sleep 0.3
            bash -c 'exec 3> "$D/x.txt"; echo aaaa >&3; sleep 0.5; printf bbbb 1<> "$D/x.txt"'
            wait
            "$FIFOFS" unmount "$D"
            grep -o 'WARN .*bytes 0 to [0-9]* were rewritten' log
            stat -c %a log
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("aaaa\n74\nWARN  fifofs::files] x.txt: bytes 0 to 4 were rewritten\n600\n");
    place.assert_nothing_left();
}

#[test]
fn without_a_file_the_log_of_a_daemon_goes_to_syslog_and_without_that_to_a_file_of_its_users() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let place = Place::new();
    // In namespaces where there is a syslog of ours, and none.
    place
        .shell(
            r#"
            cat > script <<'END'
            mount --bind "$P" /var/log
            mount --bind "$P" /dev
            mknod -m 666 fuse c 10 229; mknod -m 666 null c 1 3
            rewrite() {
                "$FIFOFS" mount -d "$D"
                "$FIFOFS" cat "$D/x.txt" > /dev/null 2>&1 & sleep 0.3
                bash -c 'exec 3> "$D/x.txt"; echo aaaa >&3; sleep 0.5; printf bbbb 1<> "$D/x.txt"'
                wait $! || true
                "$FIFOFS" unmount "$D"
            }
            rewrite
            grep -c 'fifofs.*rewritten' fifofs.log
            "$PYTHON" -c '
import socket
syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
syslog.bind("/dev/log")
syslog.settimeout(30)
open("bound", "w").close()
line = syslog.recv(4096).decode()
assert line.startswith("<28>fifofs[") and "]: fifofs::files: x.txt: bytes 0 to 4" in line and "\n" not in line, line
print("syslog")' &
            until [ -e bound ]; do sleep 0.1; done
            rewrite
            wait
            rm fuse null
END
            unshare -m bash -e script
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("1\nsyslog\n");
    place.assert_nothing_left();
}
