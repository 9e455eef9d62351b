//! The cost of waiting processes while nothing happens.

use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Mount, SOON, parked_in_group};

#[test]
fn a_thousand_waiting_readers_cost_less_than_a_hundredth_of_a_processor() {
    let mount = Mount::start(&[]);
    let readers =
        mount.shell("for i in $(seq 1000); do cat $D/.fifofs/pipe/x$((i % 10)).txt & done; wait");
    mount.place().wait_for("a thousand to wait", 2 * SOON, || {
        parked_in_group(readers.pid()) >= 1000
    });
    // Not a wait for a condition: the time over which the processor is measured.
    let (used, measured) = (mount.cpu_time(), Instant::now());
    thread::sleep(Duration::from_secs(3));
    let share = (mount.cpu_time() - used).as_secs_f64() / measured.elapsed().as_secs_f64();
    let percent = share * 100.0;
    println!("a thousand idle readers: {percent:.2} % of a core");
    assert!(share < 0.01, "idle waiters cost {percent:.2} % of a core");
    drop(readers);
    mount.unmount();
}
