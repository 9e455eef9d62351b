//! The device: requests from bytes, answers and notifications to bytes.
//!
//! Knows the protocol; does not know where the device comes from. The invariant: each request is answered
//! once, here or later by an effect of the core.

mod abi;
mod cpu_affinity;
mod device;
mod dispatch;
mod forgetting;
mod handshake;
mod intake;
mod kernel;
mod numbers;
mod opcode;
mod rare;
mod replies;

pub(super) use device::Front;
pub(super) use kernel::Kernel;
pub(super) use numbers::Numbers;
