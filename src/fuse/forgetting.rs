//! What the kernel is to forget, and the thread that tells it: it may have to wait
//! for something that is locked by a request that waits for us.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use crossbeam_channel::Sender;

use super::abi;

/// Something that is gone without the kernel's doing, or more than it knows.
pub(crate) enum Forget {
    /// A name that was removed behind its back.
    Name {
        parent: u64,
        name: std::ffi::OsString,
    },
    /// Nothing, but somebody waits until all before it was told.
    Nothing { told: Sender<()> },
    /// The pages of a file that was removed. The kernel keeps them as long as it
    /// remembers any name that led to the file, as one in `wait/`.
    Pages { ino: u64 },
}

/// Tells the kernel, one by one, what to forget.
pub(crate) fn tell_to_forget(device: &OwnedFd, forgets: &crossbeam_channel::Receiver<Forget>) {
    for forget in forgets {
        let mut body = Vec::new();
        let code = match forget {
            Forget::Name { parent, name } => {
                let name = name.as_encoded_bytes();
                body.extend_from_slice(&parent.to_ne_bytes());
                body.extend_from_slice(&(name.len() as u32).to_ne_bytes());
                body.extend_from_slice(&0_u32.to_ne_bytes());
                body.extend_from_slice(name);
                body.push(0);
                abi::NOTIFY_INVAL_ENTRY
            }
            Forget::Nothing { told } => {
                // Whoever waited too long is gone.
                let _ = told.try_send(());
                continue;
            }
            Forget::Pages { ino } => {
                // From offset 0, and of length 0: all.
                body.extend_from_slice(&ino.to_ne_bytes());
                body.extend_from_slice(&[0; 16]);
                abi::NOTIFY_INVAL_INODE
            }
        };
        let header = abi::reply_header(0, code, body.len());
        // What the kernel does not know it need not forget.
        let _ = rustix::io::writev(device, &[IoSlice::new(&header), IoSlice::new(&body)]);
    }
}
