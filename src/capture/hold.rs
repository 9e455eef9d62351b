//! What keeps a captured file from being done.

use std::sync::Arc;

use crate::core::CaptureId;
use crate::router::Router;

/// Keeps what stands at a captured path from being done, until it is dropped; see
/// [`Capture::hold`](crate::Capture::hold). It keeps no mount.
///
/// ```
/// let capture = fifofs::Capture::new("log.txt")?;
/// let hold = capture.hold();
/// drop(hold);
/// # Ok::<(), fifofs::Error>(())
/// ```
pub struct CaptureHold {
    router: Arc<Router>,
    id: CaptureId,
}

impl CaptureHold {
    pub(super) fn new(router: &Arc<Router>, id: CaptureId) -> CaptureHold {
        router.hold_capture(id);
        CaptureHold {
            router: Arc::clone(router),
            id,
        }
    }
}

impl Drop for CaptureHold {
    fn drop(&mut self) {
        self.router.give_back(self.id);
    }
}

impl std::fmt::Debug for CaptureHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureHold").finish_non_exhaustive()
    }
}
