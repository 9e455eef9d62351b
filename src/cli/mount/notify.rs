//! Reports the state of a mount to a service manager, as sd_notify(3) does.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The mount can be used.
pub(super) fn ready(mount: &std::path::Path) {
    let pid = std::process::id();
    notify(&format!(
        "READY=1\nMAINPID={pid}\nSTATUS=Serving {}",
        mount.display()
    ));
}

/// The mount is being unmounted.
pub(super) fn stopping() {
    notify("STOPPING=1");
}

/// Errors are ignored: the mount works without a service manager that listens.
fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path)),
    };
    let sent = address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        log::warn!(
            "cannot tell the service manager at {}: {error}",
            socket.display()
        );
    }
}
