# Sourced by scripts/posix: the quick tests of xfstests, on fifofs or, to compare, on tmpfs.
# shellcheck shell=bash

# The tests that are not run, and why.
xfstests_left_out() {
    cat <<'LIST'
# Set what is the whole machine's.
generic/460 generic/597 generic/598
# Read the output of a program that they have started and that never ends: in a mount such a reader waits.
generic/131 generic/571 generic/786 generic/787
# Look for the lock of a process that has ended: /proc/locks has none of those in a process namespace.
generic/504
# Mount while they unmount, or one file system twice: not with what takes the place of both here (xfstests_programs).
generic/604 generic/732
LIST
}

# The tests that fail, and why: any other failure is an error.
xfstests_known() {
    cat <<'LIST'
generic/003 reading does not update the time of access (docs/delivery.md, "Known limits")
generic/394 raises its limit of file sizes, for which root in a container has seldom the right (CAP_SYS_RESOURCE)
generic/564 raises its limit of file sizes, as generic/394
LIST
}

# xfstests CHECKOUT FILESYSTEM; FILESYSTEM is fifofs or tmpfs.
xfstests() {
    local test=$work/test scratch=$work/scratch
    mkdir -p "$test" "$scratch" "$work/sbin" "$work/bin" "$work/users" "$work/temporary"
    chmod 1777 "$work/temporary"
    xfstests_left_out | sed 's/^#.*//' | tr -s ' ' '\n' >"$work/left-out"
    xfstests_programs "$2"
    cat >"$work/xfstests.config" <<CONFIG
export FSTYP=fuse
export FUSE_SUBTYP=.fifofs
export TEST_DEV=fifofs-test
export TEST_DIR=$test
export SCRATCH_DEV=fifofs-scratch
export SCRATCH_MNT=$scratch
export RESULT_BASE=$work/results
CONFIG
    # The users that it expects.
    cp /etc/passwd /etc/group "$work/users/"
    local name id=64011
    for name in fsgqa fsgqa2 123456-fsgqa; do
        grep -q "^$name:" "$work/users/passwd" || echo "$name:*:$id:$id::/:/bin/bash" >>"$work/users/passwd"
        grep -q "^$name:" "$work/users/group" || echo "$name:x:$id:" >>"$work/users/group"
        id=$((id + 1))
    done
    # In namespaces of its own. Of processes: it ends some by their names. Of mounts: for the users and the helper in
    # /sbin, and so that it cannot change settings of the whole machine. Nor may it load modules or reboot.
    # shellcheck disable=SC2016
    HOST_OPTIONS=$work/xfstests.config TMPDIR=$work/temporary timeout 14400 \
        unshare --pid --fork --kill-child --mount-proc --mount --propagation private bash -c '
        set -e
        sbin=$(realpath /sbin)
        mount -t overlay -o "lowerdir=$2/sbin:$sbin" none "$sbin"
        mount --bind "$2/users/passwd" /etc/passwd
        mount --bind "$2/users/group" /etc/group
        touch "$2/drop_caches"
        mount --bind /proc/sys/vm/drop_caches "$2/drop_caches"
        mount --bind /proc/sys /proc/sys
        mount -o remount,bind,ro /proc/sys
        mount --bind "$2/drop_caches" /proc/sys/vm/drop_caches
        PATH=$2/bin:$PATH
        cd "$1"
        exec setpriv --bounding-set -sys_module,-sys_boot,-sys_time ./check -fuse -E "$2/left-out" ${TESTS:--g quick}
    ' - "$1" "$work" 2>&1 | tee "$work/output" && return
    local failed reason status=0
    failed=$(sed -n 's/^Failures: //p' "$work/output")
    [ -n "$failed" ] || return 1 # it did not even come to its end
    for name in $failed; do
        if reason=$(xfstests_known | sed -n "s:^$name ::p" | grep .); then
            echo "$name is known to fail: $reason"
        else
            # Files that check wrote beside its results are removed with the directory.
            diff -u "$1/tests/$name.out" "$work/results/$name.out.bad" | head -n 30 || true
            status=1
        fi
    done
    return $status
}

# xfstests_programs FILESYSTEM: the programs by which it mounts, and looks at mounts. It tells its two filesystems
# apart by their devices and by the type "fuse", while all mounts of fifofs have the same name. Unmounting moves a
# mount out of sight, and mounting moves it back, since the tests look for files that they wrote before.
xfstests_programs() {
    local program
    mkdir -p "$work/hidden/test" "$work/hidden/scratch"
    cat >"$work/sbin/mount.fuse.fifofs" <<HELPER
#!/bin/bash
# DEVICE DIR [OPTION]... -o OPTIONS. Set-id bits and devices are tested, too: a mount of fifofs has them off by
# default.
hidden=$work/hidden/\${1#fifofs-}
options=\$(while getopts :o: option "\${@:3}"; do [ "\$option" != o ] || echo "\$OPTARG"; done)
if [[ ,\$options, = *,remount,* ]]; then
    exec mount -i -o "\$options" "\$2"
elif mountpoint -q "\$hidden"; then
    mount --move "\$hidden" "\$2"
elif [ $1 = tmpfs ]; then
    mount -i -t tmpfs fifofs "\$2"
else
    $(printf %q "$fifofs") mount -d --allow-other --spill $(printf %q "$work/spill") "\$2"
fi && mount -i -o "remount,suid,dev,\$options" "\$2"
HELPER
    cat >"$work/bin/umount" <<UMOUNT
#!/bin/bash
for argument; do
    case \$argument in
    fifofs-test | $test) name=test ;;
    fifofs-scratch | $scratch) name=scratch ;;
    *) continue ;;
    esac
    mountpoint -q "$work/\$name" || {
        echo "umount: $work/\$name: not mounted." >&2
        exit 32
    }
    sync -f "$work/\$name"
    exec mount --move "$work/\$name" "$work/hidden/\$name"
done
exec $(type -P umount) "\$@"
UMOUNT
    for program in df findmnt mount; do
        cat >"$work/bin/$program" <<WRAPPER
#!/bin/bash
arguments=()
option=
for argument; do
    case $program:\$argument:\$option in
    findmnt:fifofs-test:*) argument=$test ;;&
    findmnt:fifofs-scratch:*) argument=$scratch ;;&
    findmnt:*:-S) arguments[-1]=-M ;;
    findmnt:*:-t) argument=fuse.fifofs,tmpfs ;;
    esac
    arguments+=("\$argument")
    option=\$argument
done
set -o pipefail
$(type -P $program) "\${arguments[@]}" |
    sed -E -e 's/fuse\.fifofs|tmpfs/fuse/' \\
        -e '\\: $test( |\$):s/^fifofs( |\$)/fifofs-test\1/' \\
        -e '\\: $scratch( |\$):s/^fifofs( |\$)/fifofs-scratch\1/'
WRAPPER
    done
    chmod 755 "$work/sbin/"* "$work/bin/"*
}
