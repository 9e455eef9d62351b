//! The numbers by which the kernel names inodes.
//!
//! ```text
//!  63            40 39                                  0
//!  ┌───────────────┬─────────────────────────────────────┐
//!  │  incarnation  │ low bits of the core's inode number │
//!  └───────────────┴─────────────────────────────────────┘
//! ```
//!
//! The high bits of the core's numbers are those of the mount, the same for all inodes but the root. `stat`
//! shows the core's number of every incarnation.

use crate::core::namespace::ROOT;

const LOW_BITS: u32 = 40;
const LOW: u64 = (1 << LOW_BITS) - 1;

/// Translates numbers, for one mount.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    /// The high bits of the core's numbers.
    high: u64,
}

impl Numbers {
    /// Those of a mount: its high bits come from the number of its device, as descriptors of a process are
    /// recognised by their inode numbers, which must be neither those of another mount nor the small ones
    /// with which other file systems begin.
    pub(crate) fn of_device(number: u64) -> Numbers {
        Numbers {
            high: (number + 1) << LOW_BITS,
        }
    }

    /// The number of the first inode after the root.
    pub(crate) fn first(self) -> u64 {
        self.high | (ROOT + 1)
    }

    /// How the kernel is to name an inode.
    pub(super) fn node(self, ino: u64, incarnation: u32) -> u64 {
        u64::from(incarnation) << LOW_BITS | ino & LOW
    }

    /// The inode that the kernel names so, and which incarnation of it.
    pub(super) fn inode(self, node: u64) -> (u64, u32) {
        let ino = match node {
            ROOT => ROOT,
            _ => self.high | node & LOW,
        };
        (ino, (node >> LOW_BITS) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_whatever_the_device_and_the_incarnation() {
        for device in [0, 43, 0xfff, 0xffff_ffff] {
            let numbers = Numbers::of_device(device);
            assert_eq!(numbers.inode(numbers.node(ROOT, 0)), (ROOT, 0));
            for ino in [numbers.first(), numbers.first() + 7, numbers.high | LOW] {
                for incarnation in [0, 1, 0xff_ffff] {
                    let node = numbers.node(ino, incarnation);
                    assert!(node > ROOT);
                    assert_eq!(numbers.inode(node), (ino, incarnation));
                }
            }
        }
    }
}
