//! Bounds: memory, space, descriptors, and the cost of waiting readers.

use std::fs;
use std::time::Duration;

use crate::common::{Mount, Place, SOON, parked_in_group};

#[test]
fn memory_is_bounded_by_spilling_and_the_whole_by_max_size_which_gives_enospc() {
    let mount = Mount::start(&["--memory", "64M", "--max-size", "512M"]);
    mount
        .shell("head -c 300M /dev/urandom > big")
        .finish(SOON)
        .succeeded();
    let reader = mount
        .place()
        .shell("$FIFOFS cat $D/big | cmp - big && echo same");
    mount.wait_parked(&reader);
    let writer = mount.shell("cp big $D/big && $FIFOFS cat $D/big | cmp - big");
    let mut most = 0;
    let mut running = writer;
    mount
        .place()
        .wait_for("the copy to end", Duration::from_secs(60), || {
            most = most.max(mount.memory_rss());
            !running.is_running()
        });
    running.finish(SOON).succeeded();
    reader
        .finish(Duration::from_secs(60))
        .succeeded()
        .printed("same\n");
    assert!(
        most < 112 << 20,
        "--memory 64M, but the daemon had {most} bytes"
    );

    // A gibibyte does not fit beside it, nor alone.
    mount
        .shell("head -c 1G /dev/zero | tr '\\0' x > $D/huge")
        .finish(Duration::from_secs(60))
        .failed_saying("No space left on device");
    mount.shell("rm $D/huge $D/big").finish(SOON).succeeded();
    mount
        .shell("cp big $D/again && cmp $D/again big && ls $D")
        .finish(Duration::from_secs(60))
        .succeeded()
        .printed("again\n");
    mount.unmount();
}

/// By default it kept a gibibyte, crashed when an allocation failed, and everything was lost.
#[test]
fn a_daemon_whose_address_space_is_limited_spills_in_time() {
    let place = Place::new();
    place
        .shell(
            r#"mkdir m spill; (ulimit -v 400000; "$FIFOFS" mount -d --spill "$PWD/spill" m)
            head -c 500M /dev/zero | tr '\0' x > m/x.zip
            tr -d x < m/x.zip | wc -c; wc -c < m/x.zip
            "$FIFOFS" unmount m"#,
        )
        .finish(Duration::from_secs(60))
        .succeeded()
        .printed("0\n524288000\n");
}

#[test]
fn spilling_to_memory_is_warned_of_with_the_first_spill_and_not_before() {
    let place = Place::new();
    place
        .shell("mount -t tmpfs -o size=64M none $P/../spill")
        .finish(SOON)
        .succeeded();
    let mount = Mount::start_in(&place, &["--memory", "1M"]);
    let log = || fs::read_to_string(place.at("daemon.log")).expect("the daemon's log");
    mount
        .shell("echo little > $D/x; cat $D/x")
        .finish(SOON)
        .succeeded();
    assert!(!log().contains("tmpfs"), "{}", log());
    mount
        .shell("for i in 1 2; do head -c 4M /dev/zero > $D/y$i; done; sync $D/y1 $D/y2")
        .finish(SOON)
        .succeeded();
    assert_eq!(log().matches("(tmpfs)").count(), 1, "{}", log());
    mount.unmount();
    place.shell("umount $P/../spill").finish(SOON).succeeded();
}

#[test]
fn statfs_says_what_max_size_leaves_before_a_write_gets_enospc() {
    let mount = Mount::start(&["--max-size", "64M"]);
    let free = |mount: &Mount| -> u64 {
        mount
            .shell("stat -f -c '%a %S' $D")
            .finish(SOON)
            .succeeded()
            .text()
            .split_whitespace()
            .map(|number| number.parse::<u64>().expect("a number"))
            .product()
    };
    let before = free(&mount);
    assert!(
        (60 << 20..=64 << 20).contains(&before),
        "64M were given, {before} are free"
    );
    mount
        .shell("head -c 16M /dev/urandom > $D/x; sync $D/x")
        .finish(SOON)
        .succeeded();
    let after = free(&mount);
    assert!(
        (44 << 20..=48 << 20).contains(&after),
        "16 of 64M were used, {after} are free"
    );
    mount.shell("rm $D/x").finish(SOON).succeeded();
    mount.wait_for("the space to be free again", || free(&mount) == before);
    mount.unmount();
}

#[test]
fn descriptors_of_the_daemon_are_the_same_before_and_after_200_files_written_and_read() {
    let mount = Mount::start(&[]);
    let work = "for i in $(seq $N); do $FIFOFS cat $D/f$i > /dev/null & done
        for i in $(seq $N); do /bin/echo $i > $D/f$i & done
        wait; cat $D/f* | wc -l; rm $D/f*";
    mount
        .shell(&format!("N=10; {work}"))
        .finish(SOON)
        .succeeded()
        .printed("10\n");
    let before = mount.descriptors();
    let threads = mount.threads();
    mount
        .shell(&format!("N=200; {work}"))
        .finish(Duration::from_secs(60))
        .succeeded()
        .printed("200\n");
    mount.wait_for("as many descriptors and threads as before", || {
        mount.descriptors() <= before && mount.threads() <= threads
    });
    mount.unmount();
}

#[test]
fn a_thousand_waiting_readers_cost_no_thread_and_few_kib_and_all_get_the_bytes() {
    let mount = Mount::start(&[]);
    // The first wait may start threads that all waits share.
    let warm = mount.reader(".fifofs/pipe/nothing");
    mount.wait_parked(&warm);
    drop(warm);
    let (threads, memory) = (mount.threads(), mount.memory_rss());
    let readers = mount.shell(
        "for i in $(seq 1000); do cat $D/.fifofs/pipe/x$((i % 10)).txt & done; for job in $(jobs -p); do wait $job || exit 1; done",
    );
    mount
        .place()
        .wait_for("a thousand to wait", Duration::from_secs(60), || {
            parked_in_group(readers.pid()) >= 1000
        });
    let more = mount.memory_rss().saturating_sub(memory);
    assert!(
        mount.threads() <= threads + 2,
        "{threads} threads became {}",
        mount.threads()
    );
    assert!(
        more < 1000 * (8 << 10),
        "a thousand waiting readers cost {more} bytes"
    );
    mount
        .shell("for i in 0 1 2 3 4 5 6 7 8 9; do echo $i > $D/x$i.txt & done; wait")
        .finish(SOON)
        .succeeded();
    let done = readers.finish(Duration::from_secs(60)).succeeded();
    assert_eq!(done.stdout.len(), 2000, "each of a thousand gets its line");
    mount.unmount();
}
