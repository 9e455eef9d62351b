//! Mounting as mount(8) does it: from a command line, an fstab, and through the helper of libfuse.

use crate::common::{Place, SOON, needs, needs_root};

#[test]
fn the_helper_of_mount_takes_its_options_and_returns_when_the_mount_is_ready() {
    let place = Place::new();
    place
        .shell(
            r#"
            ln -s "$FIFOFS" mount.fifofs
            ./mount.fifofs caps "$D" -n -o 'deliver=*.{a\,b}=follow,noexec,nofail,x-systemd.automount'
            findmnt -n -o SOURCE,FSTYPE "$D" | tr -s ' '
            findmnt -n -o OPTIONS "$D" | grep -o noexec
            echo x > "$D/q.b"
            "$FIFOFS" ls --json "$D" | grep -o -- '--deliver [^"]*'
            umount "$D" 2>&- || "$FIFOFS" unmount "$D"
            for options in unknown=1 deliver allow_other=1; do ./mount.fifofs caps "$D" -o $options; echo $?; done
            ./mount.fifofs caps "$P" -o allow_other; echo $?
            "$FIFOFS" none "$P" -o defaults; echo $?
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("caps fuse.fifofs\nnoexec\n--deliver *.{a,b}=follow\n1\n1\n1\n32\n32\n");
    place.assert_nothing_left();
}

#[test]
fn mount_and_fstab_find_the_program_by_the_type_of_the_file_system() {
    needs_root();
    needs(&[("unshare", "util-linux"), ("mount.fuse3", "fuse3")]);
    let place = Place::new();
    // mount(8) has a path of its own for its helpers; files put there are visible in this namespace only.
    place
        .shell(
            r#"
            cat > "$P/script" <<'END'
            mount -t tmpfs none /usr/local/bin
            ln -s "$FIFOFS" /usr/local/bin/fifofs
            mount -t fuse.fifofs none "$D" -o deliver=settled
            findmnt -n -o SOURCE "$D"
            umount "$D"
            echo "a,b $D fuse.fifofs noauto,_netdev,deliver=*.{a\,b}=follow 0 0" > "$P/fstab"
            mount -T "$P/fstab" "$D"
            findmnt -n -o SOURCE "$D"
            umount "$D"
            mount -t fuse.fifofs none "$D" -o deliver=quickly || echo $?
END
            unshare -m bash -e "$P/script"
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("none\na,b\n1\n");
    place.assert_nothing_left();
}

#[test]
fn of_several_mounts_at_the_same_moment_one_succeeds_and_the_others_are_refused() {
    let place = Place::new();
    place
        .shell(
            r#"
            for round in 1 2 3 4 5; do
                mounting= mounted=0
                for i in 1 2 3 4; do "$FIFOFS" mount -d "$D" 2> "$P/$i" & mounting="$mounting $!"; done
                for pid in $mounting; do if wait $pid; then mounted=$((mounted + 1)); fi; done
                layers=$(grep -c " $D " /proc/self/mountinfo)
                echo $mounted $layers $(cat "$P"/[1-4] | grep -c 'mounted there already')
                "$FIFOFS" unmount "$D"
            done
            "#,
        )
        .finish(SOON)
        .succeeded()
        .printed("1 1 3\n".repeat(5));
    place.assert_nothing_left();
}
