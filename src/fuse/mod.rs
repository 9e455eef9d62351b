//! The side towards the kernel.
//!
//! Turns requests into operations of the core and effects into replies. Decides nothing, and no callback ever
//! blocks: the core keeps requests that must wait. Arrows mean "may use":
//!
//! ```text
//! session ─► wire ─► helpers ─► mounting
//! ```

mod helpers;
pub(crate) mod mounting;
mod session;
mod timers;
mod wire;

pub use mounting::{IfBusy, Privacy, enter_private_namespace};
pub(crate) use session::Session;
