# Sourced by the scripts that need a mount. They get a directory `$work` with the mount point `$mount` in it, and
# their mount ends with them, however they end. They mount with `$fifofs`: FIFOFS, or the release build.
# shellcheck shell=bash

work=$(mktemp -d "${TMPDIR:-/tmp}/fifofs-${0##*/}-XXXXXX")
mount=$work/mount
daemon=
mkdir "$mount" "$work/spill"

is_mounted() { grep -q " $mount " /proc/self/mountinfo; }

# mount_start [OPTION]…: returns when the mount is served.
mount_start() {
    # In a process group of its own, so that a Ctrl-C reaches the users of the mount before the mount.
    set -m
    "$fifofs" mount --spill "$work/spill" "$@" "$mount" >"$work/log" 2>&1 &
    daemon=$!
    set +m
    for _ in $(seq 200); do
        ! is_mounted || return 0
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.05
    done
    echo "fifofs mount $* does not serve:" >&2
    cat "$work/log" >&2
    return 1
}

# mount_stop: sends Ctrl-C, and after ten seconds SIGKILL, after which the watchdog unmounts. Anything but a clean end
# is an error.
mount_stop() {
    local status=0
    [ -n "$daemon" ] || return 0
    kill -INT "$daemon" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$daemon" 2>/dev/null || true
    wait "$daemon" || status=$?
    daemon=
    if is_mounted; then
        echo "the mount was left behind" >&2
        umount -l "$mount" || fusermount3 -uz "$mount" || true
        status=1
    fi
    if [ $status != 0 ]; then
        echo "the daemon ended with status $status; the end of its log:" >&2
        tail -n 40 "$work/log" >&2 || true
    fi
    return $status
}

mount_finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP # a second one must not cut this short
    mount_stop || status=1
    rm -rf --one-file-system "$work"
    exit $status
}
trap mount_finish EXIT
trap 'exit 130' INT TERM HUP

if [ ! -e /dev/fuse ]; then
    echo "there is no /dev/fuse: modprobe fuse, or give the container the device" >&2
    exit 1
fi
fifofs=${FIFOFS:-}
if [ -z "$fifofs" ]; then
    cargo build --quiet --release
    fifofs=${CARGO_TARGET_DIR:-target}/release/fifofs
fi
fifofs=$(realpath "$fifofs")
