//! Many captures at once, on one mount and from many threads, and the orders in which the parts of one are dropped.

mod library;

use std::process::Stdio;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use fifofs::{Capture, Error, Mount, Running};

use library::{SOON, is_mounted_below, read_out, sh, until, within};

const CAPTURES: usize = 1000;

/// How many children live at once: few enough for small machines.
const CHILDREN: usize = 8;

#[test]
fn a_thousand_captures_on_one_mount_are_all_right() {
    within(4 * SOON, "a thousand captures", || {
        let mount = Mount::builder().mount_temporary().unwrap();
        let captures: Vec<Capture> = (0..CAPTURES)
            .map(|i| mount.capture(format!("run-{}/{i}.txt", i % 50)).unwrap())
            .collect();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..CHILDREN {
                scope.spawn(|| {
                    while let Some((i, capture)) = {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        captures.get(i).map(|capture| (i, capture))
                    } {
                        let script = format!(r#"echo {i} > "$1"; echo end >> "$1""#);
                        let output = capture.run(&mut sh(&script, capture)).unwrap();
                        assert!(output.status.success(), "{i}");
                        assert_eq!(output.bytes, format!("{i}\nend\n").as_bytes());
                    }
                });
            }
        });
        // All of them still exist, and can be read again.
        for (i, capture) in captures.iter().enumerate() {
            let bytes = capture.reader().unwrap().read_all().unwrap();
            assert_eq!(bytes, format!("{i}\nend\n").as_bytes());
        }
    });
}

#[test]
fn a_thousand_readers_that_wait_are_cancelled_or_time_out() {
    within(4 * SOON, "a thousand readers", || {
        let captures: Vec<Capture> = (0..CAPTURES)
            .map(|i| Capture::new(format!("{i}")).unwrap())
            .collect();
        let readers: Vec<_> = captures
            .iter()
            .map(|capture| capture.reader().unwrap())
            .collect();
        let cancellers: Vec<_> = readers.iter().map(fifofs::Reader::canceller).collect();
        let ready = Barrier::new(51);
        thread::scope(|scope| {
            let mut readers = readers.into_iter().enumerate();
            for _ in 0..50 {
                let some: Vec<_> = readers.by_ref().take(CAPTURES / 50).collect();
                let ready = &ready;
                scope.spawn(move || {
                    ready.wait();
                    for (i, mut reader) in some {
                        if i % 2 == 1 {
                            reader.set_timeout(Some(Duration::from_millis(20)));
                        }
                        match (i % 2, read_out(&mut reader).1) {
                            (0, Some(Error::Cancelled { .. })) => {}
                            (1, Some(Error::TimedOut { .. } | Error::Cancelled { .. })) => {}
                            (_, other) => panic!("{i}: {other:?}"),
                        }
                    }
                });
            }
            ready.wait();
            for canceller in &cancellers {
                canceller.cancel();
            }
        });
    });
}

#[test]
fn one_capture_may_be_used_by_many_threads() {
    within(2 * SOON, "threads", || {
        let capture = Capture::new("out.txt").unwrap();
        let started = Barrier::new(9);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut reader = capture.reader().unwrap();
                    started.wait();
                    assert_eq!(reader.read_all().unwrap(), b"one\ntwo\n");
                });
            }
            started.wait();
            let script = r#"echo one > "$1"; sleep 0.2; echo two >> "$1""#;
            assert_eq!(
                capture.run(&mut sh(script, &capture)).unwrap().bytes,
                b"one\ntwo\n"
            );
        });
    });
}

/// The values to drop.
struct Parts {
    capture: Option<Capture>,
    mount: Option<Mount>,
}

/// All orders of four things.
fn orders() -> Vec<Vec<usize>> {
    let mut orders = vec![vec![]];
    for _ in 0..4 {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..4)
                    .filter(|i| !order.contains(i))
                    .map(|i| [order.clone(), vec![i]].concat())
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    orders
}

#[test]
fn everything_may_be_dropped_in_every_order() {
    for writes in [true, false] {
        for order in orders() {
            let state = format!("order {order:?}, the child writes: {writes}");
            within(SOON, &state.clone(), move || {
                let mount = Mount::builder().mount_temporary().unwrap();
                let directory = mount.path().to_owned();
                let capture = mount.capture("a/out.txt").unwrap();
                let script = if writes {
                    r#"exec > "$1"; echo a; exec sleep 60"#
                } else {
                    "exec sleep 60"
                };
                let Running { child, reader, .. } = capture
                    .spawn(sh(script, &capture).stderr(Stdio::null()))
                    .unwrap();
                if writes {
                    until("the child writes", || !capture.writers().is_empty());
                }
                let mut child = Some(child);
                let mut reader = Some(reader);
                let mut parts = Parts {
                    capture: Some(capture),
                    mount: Some(mount),
                };
                for part in order {
                    match part {
                        0 => drop(parts.capture.take()),
                        1 => drop(reader.take()),
                        2 => {
                            let mut child = child.take().unwrap();
                            child.kill().unwrap();
                            child.wait().unwrap();
                        }
                        _ => drop(parts.mount.take()),
                    }
                }
                until("the mount and its directory are gone", || {
                    !is_mounted_below(&directory) && !directory.exists()
                });
            });
        }
    }
}
