//! Mounts: made, found, and taken away.
//!
//! Knows directories, the list of mounts and namespaces; nothing of the daemon that serves a mount. The
//! invariant: a mount that does not answer is never touched, but found in the list of mounts.

mod attach;
mod connection;
mod means;
mod mount_watch;
mod mountinfo;
mod mountpoint;
mod private;
mod release;
mod removal;
#[cfg(test)]
pub(super) mod testing;
mod turn;
mod users;

pub(super) use attach::FUSE_DEVICE;
pub(crate) use attach::MountOptions;
pub(super) use connection::{abort, abort_file};
pub(super) use means::{fusermount, may_mount};
pub(super) use mount_watch::wait_until_gone;
pub(super) use mountinfo::{MountLine, escape, unescaped};
pub(crate) use mountinfo::{all_mounts, find_whole, whole_mounts};
pub use mountpoint::IfBusy;
pub(super) use mountpoint::{
    MountPoint, Mounted, detach_everywhere, detach_from, device_number_at, means_dead,
};
pub(crate) use mountpoint::{clear_if_dead, unmount};
pub use private::{Privacy, enter_private_namespace};
pub(super) use release::check_kernel;
pub(crate) use release::splice_ends_at_size;
pub(super) use removal::remove_with_mount;
