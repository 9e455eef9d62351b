//! The side towards the kernel: mounting, the device, the helpers.
//!
//! Turns requests into operations of the core and effects into replies. Decides
//! nothing, and no callback ever blocks: what must wait is kept by the core.

mod abi;
mod adapter;
mod attach;
mod convert;
mod device;
mod flusher;
mod forgetting;
mod gathering;
mod handshake;
mod helper_memory;
mod helper_process;
mod intake;
mod kernel;
mod late_helper;
mod message;
mod mount_watch;
mod mountinfo;
pub(crate) mod mountpoint;
mod placement;
mod private;
mod rare;
mod release;
mod removal;
mod replies;
mod requests;
mod session;
#[cfg(test)]
mod testing;
mod users;
mod watchdog;

pub use mountpoint::IfBusy;
pub use private::{Privacy, enter_private_namespace};
pub(crate) use session::Session;
