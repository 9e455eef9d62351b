//! What is refused, and the message that says why.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::AS_NOBODY;
use crate::common::{FIFOFS, Mount, Place, SOON, connection_of, needs, needs_root};

/// Checks that `fifofs mount` fails soon, names the path and says why.
fn is_refused(place: &std::sync::Arc<Place>, script: &str, path: &str, why: &[&str]) {
    let done = place.shell(script).finish(SOON);
    let done = done.failed_saying(path);
    let said = done.stderr.to_lowercase();
    assert!(
        why.iter().any(|why| said.contains(why)),
        "should say one of {why:?}: {}",
        done.stderr
    );
    assert!(!said.contains("panicked"), "{}", done.stderr);
}

#[test]
fn mounting_on_a_directory_that_is_not_empty_is_refused_clearly() {
    let place = Place::new();
    fs::write(place.mount_point().join("mine"), "precious").expect("written");
    let path = place.mount_point().display().to_string();
    is_refused(
        &place,
        "$FIFOFS mount $D",
        &path,
        &["not empty", "empty directory"],
    );
    assert!(connection_of(&place.mount_point()).is_none());
}

#[test]
fn mounting_on_a_file_is_refused_clearly() {
    let place = Place::new();
    let file = place.at("plain/file");
    fs::write(&file, "").expect("written");
    let path = file.display().to_string();
    is_refused(&place, "$FIFOFS mount $P/file", &path, &["not a directory"]);
}

#[test]
fn mounting_without_permission_is_refused_clearly() {
    needs_root();
    needs(&[("setpriv", "util-linux")]);
    let place = Place::new();
    // The build directory may be closed to other users.
    fs::copy(FIFOFS, place.at("fifofs")).expect("a copy that others may run");
    fs::create_dir(place.at("plain/closed")).expect("a directory");
    fs::set_permissions(place.at("plain/closed"), fs::Permissions::from_mode(0o700))
        .expect("chmod");
    let path = place.at("plain/closed").display().to_string();
    is_refused(
        &place,
        &format!("{AS_NOBODY} $P/../fifofs mount $P/closed"),
        &path,
        &["permission"],
    );
    let path = place.at("plain/closed/below").display().to_string();
    is_refused(
        &place,
        &format!("{AS_NOBODY} $P/../fifofs mount $P/closed/below"),
        &path,
        &["permission"],
    );
}

#[test]
fn mounting_without_dev_fuse_is_refused_clearly() {
    needs_root();
    needs(&[("unshare", "util-linux")]);
    let place = Place::new();
    is_refused(
        &place,
        "unshare -m bash -c 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec $FIFOFS mount $D'",
        "/dev/fuse",
        &["no such file", "missing", "modprobe", "does not exist"],
    );
}

#[test]
fn mounting_where_fifofs_is_mounted_already_is_refused_clearly() {
    let mount = Mount::start(&[]);
    let path = mount.path().display().to_string();
    is_refused(
        mount.place(),
        "$FIFOFS mount $D",
        &path,
        &["already", "mounted"],
    );
    mount
        .shell("echo fine > $D/x; cat $D/x")
        .finish(SOON)
        .succeeded()
        .printed("fine\n");
    mount.unmount();
}

#[test]
fn options_that_make_no_sense_are_refused_clearly() {
    let place = Place::new();
    is_refused(
        &place,
        "$FIFOFS mount --deliver sometimes $D",
        "sometimes",
        &["follow"],
    );
    is_refused(
        &place,
        "$FIFOFS mount --memory lots $D",
        "lots",
        &["memory"],
    );
    is_refused(
        &place,
        "$FIFOFS mount --linger soon $D",
        "soon",
        &["linger"],
    );
}

#[test]
fn fifofs_cat_and_ls_outside_a_mount_say_so() {
    let place = Place::new();
    fs::write(place.at("plain/x"), "").expect("written");
    is_refused(&place, "$FIFOFS cat $P/x", "plain/x", &["mount"]);
    is_refused(&place, "$FIFOFS ls $P", "plain", &["mount"]);
}

#[test]
fn another_users_link_in_a_sticky_directory_is_not_followed() {
    needs_root();
    needs(&[("setpriv", "util-linux")]);
    let place = Place::new();
    let lay = "mkdir -m 1777 $P/everybodys; mkdir $P/victim; echo old > $P/file; mkfifo $P/fifo
        cd $P/everybodys; LAY ln -s $P/file file; LAY ln -s $P/new new; LAY ln -s $P/victim dir
        LAY ln -s $P/fifo fifo; ln -s file mine";
    let lay = lay.replace("LAY", AS_NOBODY);
    place.shell(&lay).finish(SOON).succeeded();
    let everybodys = place.at("plain/everybodys").display().to_string();
    for (command, link) in [
        ("mount -d $P/everybodys/dir", "dir"),
        ("mount -d $P/everybodys/dir/", "dir"),
        ("run -o $P/everybodys/file -- cp /etc/passwd {out}", "file"),
        ("run -o $P/everybodys/new -- cp /etc/passwd {out}", "new"),
        ("run -o $P/everybodys/fifo -- cp /etc/passwd {out}", "fifo"),
        (
            "run --to x=$P/everybodys/mine -- cp /etc/passwd {out:x}",
            "file",
        ),
    ] {
        let path = format!("{everybodys}/{link}");
        is_refused(
            &place,
            &format!("$FIFOFS {command}"),
            &path,
            &["link of another user"],
        );
    }
    place
        .shell("cat $P/file; ls $P/victim; [ ! -e $P/new ]")
        .finish(SOON)
        .succeeded()
        .printed("old\n");
}
