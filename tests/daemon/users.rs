//! Several users of one mount: whatever one of them makes it keep, others have room, and the daemon's memory is
//! bounded.

use crate::AS_NOBODY;
use crate::common::{FIFOFS, Mount, Place, SOON, needs, needs_root};

/// Runs a command as a user that is neither the owner nor [`AS_NOBODY`].
const AS_ANOTHER: &str = "setpriv --reuid 65533 --regid 65533 --clear-groups";

/// A mount in which every user may make files.
fn open_to_all(options: &[&str]) -> Mount {
    let mount = Mount::start(&[&["--allow-other"], options].concat());
    mount.shell("chmod 1777 $D").finish(SOON).succeeded();
    mount
}

/// Checks that a flood by the user nobody is refused, and that it hinders no other user.
fn assert_a_flood_hinders_no_other_user(flood: &str) {
    let mount = open_to_all(&["--memory", "16M"]);
    let before = mount.memory_rss();
    let script = format!(
        "import os, errno\nD = os.environ['D']\ndef flood():\n    made = 0\n    while made < 400000:\n        {}\n        made += 1\n\
         try:\n    flood()\n    print('nothing refused it')\nexcept OSError as error: print(errno.errorcode[error.errno])\n",
        flood.replace('\n', "\n        ")
    );
    std::fs::write(mount.place().at("plain/flood.py"), script).expect("the script");
    mount
        .shell(&format!("{AS_NOBODY} $PYTHON flood.py"))
        .finish(std::time::Duration::from_secs(100))
        .succeeded()
        .printed("ENOSPC\n");
    let more = mount.memory_rss() - before;
    assert!(more < 24 << 20, "half of 16 MiB was {more} bytes");
    for user in ["", AS_ANOTHER] {
        mount
            .shell(&format!(
                "for i in 1 2 3 4 5; do {user} sh -c 'head -c 2M /dev/zero > $D/mine && \
                 setfattr -n user.a -v b $D/mine && ln -s x $D/link && wc -c < $D/mine && \
                 rm $D/mine $D/link'; done"
            ))
            .finish(SOON)
            .succeeded()
            .printed("2097152\n".repeat(5));
    }
    // The user that did it has room again, too, once its files are removed.
    mount
        .shell("find $D -mindepth 1 -delete; ls $D")
        .finish(SOON)
        .succeeded()
        .printed("");
    mount.wait_for("the memory to be free again", || {
        mount.status()["memory"]["kept"]
            .as_u64()
            .is_some_and(|kept| kept < 64 << 10)
    });
    mount
        .shell(&format!("{AS_NOBODY} sh -c 'echo again > $D/x; cat $D/x'"))
        .finish(SOON)
        .succeeded()
        .printed("again\n");
    mount.unmount();
}

#[test]
fn a_flood_of_attributes_by_one_user_is_refused_and_others_still_write() {
    assert_a_flood_hinders_no_other_user(
        "if made % 16 == 0: open(D + '/x%d' % (made // 16), 'w').close()
os.setxattr(D + '/x%d' % (made // 16), 'user.a%d' % made, b'z' * 65536)",
    );
}

#[test]
fn a_flood_of_symbolic_links_by_one_user_is_refused_and_others_still_write() {
    assert_a_flood_hinders_no_other_user("os.symlink('t' * 4000, D + '/' + 'n' * 240 + str(made))");
}

#[test]
fn a_flood_of_names_by_one_user_is_refused_and_others_still_write() {
    assert_a_flood_hinders_no_other_user(
        "os.close(os.open(D + '/%d' % made, os.O_CREAT | os.O_WRONLY))",
    );
}

#[test]
fn no_user_but_the_owner_writes_more_than_half_of_max_size_and_df_shows_it() {
    let mount = open_to_all(&["--max-size", "64M"]);
    let free = "stat -f -c %a $D";
    let blocks = |user: &str| -> u64 {
        let shown = mount.shell(&format!("{user} {free}")).finish(SOON);
        shown.succeeded().text().trim().parse().expect("a number")
    };
    assert_eq!((blocks(AS_NOBODY), blocks("")), (8 << 10, 16 << 10));
    mount
        .shell(&format!(
            "{AS_NOBODY} sh -c 'head -c 40M /dev/zero > $D/much; sync $D/much'"
        ))
        .finish(SOON)
        .failed_saying("No space left on device");
    assert!(blocks(AS_NOBODY) < 256);
    mount
        .shell(&format!(
            "{AS_ANOTHER} sh -c 'head -c 15M /dev/zero > $D/some; sync $D/some'; \
             head -c 15M /dev/zero > $D/own; sync $D/own"
        ))
        .finish(SOON)
        .succeeded();
    mount.unmount();
}

#[test]
fn contents_are_spilled_to_make_room_for_names() {
    let mount = Mount::start(&["--memory", "8M"]);
    mount
        .python(
            r#"
for i in range(80):
    with open(D + "/f%d" % i, "wb") as f: f.write(b"%04d" % i * 25000)
for i in range(3000):
    os.symlink("t" * 200, D + "/l%d" % i)
for i in range(80):
    with open(D + "/f%d" % i, "rb") as f: assert f.read() == b"%04d" % i * 25000
"#,
        )
        .finish(SOON)
        .succeeded();
    let status = mount.status();
    let bytes = |what: &str| status["memory"][what].as_u64().expect("a number");
    assert!(bytes("kept") > 5 << 20, "{status}");
    assert!(bytes("used") + bytes("kept") <= 8 << 20, "{status}");
    assert!(bytes("spilled") >= 4 << 20, "{status}");
    mount.unmount();
}

/// A daemon without rights reads 0 for another user's zombie, as for one that ended well. Since Linux 6.15 the
/// kernel reports the end of every process once it is reaped.
#[test]
fn a_daemon_without_rights_learns_how_processes_of_other_users_ended_when_they_are_reaped() {
    needs_root();
    needs(&[
        ("setpriv", "util-linux"),
        ("unshare", "util-linux"),
        ("fusermount3", "fuse3"),
    ]);
    let place = Place::new();
    std::fs::copy(FIFOFS, place.at("fifofs")).expect("a copy that others may run");
    let script = format!(
        r#"
        echo user_allow_other > $P/fuse.conf; mount --bind $P/fuse.conf /etc/fuse.conf
        mkdir devices; mount -t tmpfs none devices
        mknod -m 666 devices/fuse c 10 229; mount --bind devices/fuse /dev/fuse; chown 65534 $D
        {AS_NOBODY} $P/../fifofs mount --allow-other $D & daemon=$!
        until [ -e $D/.fifofs/status ] || {AS_NOBODY} test -e $D/.fifofs/status; do sleep .05; done
        for i in $(seq 10); do
            {AS_NOBODY} cat $D/.fifofs/wait/$i 2> $P/err & reader=$!
            until {AS_NOBODY} grep -q '"waits_for":"' $D/.fifofs/status; do sleep .02; done
            # Reaped at once, or a moment later.
            python3 -c 'import os, sys, time
if not os.fork():
    f = open(sys.argv[1], "w"); f.write("half"); f.flush(); os.kill(os.getpid(), 9)
time.sleep(int(sys.argv[2]) % 2 / 5); os.wait()' $D/$i $i
            wait $reader; echo "$? $(grep -c 'Input/output error' $P/err)"
        done
        {AS_NOBODY} $P/../fifofs unmount $D; wait $daemon"#
    );
    std::fs::write(place.at("plain/script"), script).expect("the script");
    let ended = place.shell("unshare -m bash $P/script").finish(SOON);
    ended.succeeded().printed("1 1\n".repeat(10));
}
