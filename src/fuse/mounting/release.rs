//! Which kernels can be mounted on.

use std::io;

use crate::error::{Error, Result};

/// What is needed and not in older ones: `pidfd_open(2)` (5.3), `P_PIDFD` (5.4).
const OLDEST: (u32, u32) = (5, 4);

/// Refuses a kernel that lacks what fifofs cannot do without.
///
/// # Errors
///
/// If this one is older than [`OLDEST`].
pub(crate) fn check_kernel() -> Result<()> {
    check_release(&rustix::system::uname().release().to_string_lossy())
}

fn check_release(release: &str) -> Result<()> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) if (major, minor) < OLDEST => {
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
}
