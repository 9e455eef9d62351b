//! Which kernels can be mounted on.

use std::io;

use crate::error::{Error, Result};

/// What is needed and not in older ones: `pidfd_open(2)` (5.3), `P_PIDFD` (5.4).
const OLDEST: (u32, u32) = (5, 4);

/// Since when splice(2) takes pages from the page cache, and none past the size of a file.
const SPLICE_ENDS_AT_SIZE: (u32, u32) = (6, 5);

/// Whether this kernel ends splice(2) at the size that it has of a file.
pub(crate) fn splice_ends_at_size() -> bool {
    let release = rustix::system::uname();
    version(&release.release().to_string_lossy())
        .is_none_or(|version| version >= SPLICE_ENDS_AT_SIZE)
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    Some((next()?, next()?))
}

/// Refuses a kernel that lacks what fifofs cannot do without.
///
/// # Errors
///
/// If this one is older than [`OLDEST`].
pub(crate) fn check_kernel() -> Result<()> {
    check_release(&rustix::system::uname().release().to_string_lossy())
}

fn check_release(release: &str) -> Result<()> {
    match version(release) {
        Some(version) if version < OLDEST => {
            let (major, minor) = OLDEST;
            let reason = io::Error::new(
                io::ErrorKind::Unsupported,
                format!("fifofs needs Linux {major}.{minor} or newer"),
            );
            Err(Error::io("mount on Linux", release, reason).with_remedy(
                "start a newer kernel, or use a FIFO instead (`fifofs run --backend fifo`)",
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_refused_and_no_others() {
        for release in ["4.18.0-1025-azure", "5.3.18", "3.10"] {
            let said = check_release(release).expect_err(release).to_string();
            assert!(said.contains(release) && said.contains("5.4"), "{said}");
        }
        for release in ["5.4.0-1133-kvm", "5.10", "6.18.44-x", "10.0.1", "?"] {
            assert!(check_release(release).is_ok(), "{release}");
        }
        assert!(check_kernel().is_ok());
    }

    #[test]
    fn the_first_two_numbers_of_a_release_are_its_version() {
        assert_eq!(version("6.12.117+deb13-cloud-amd64"), Some((6, 12)));
        assert_eq!(version("7.2"), Some((7, 2)));
        assert_eq!(version("?"), None);
        assert!(version("6.4.16").unwrap() < SPLICE_ENDS_AT_SIZE);
        assert!(version("6.5.0").unwrap() >= SPLICE_ENDS_AT_SIZE);
    }
}
