//! Files that programs write and pipes that readers read.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod core;
mod error;
mod fuse;
mod limits;
mod mount;
mod router;

pub use crate::core::rules::{Deliver, FailOn, Linger, Rules};
pub use error::{Error, Result};
pub use mount::{Mount, MountBuilder, mount_of, mounts, unmount, wait_path};
