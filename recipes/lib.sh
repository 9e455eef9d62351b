# For the tests of recipes: `need PROGRAM:PACKAGE…` installs, `check WHAT COMMAND…` fails loudly.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/venv.sh"

need() {
    local missing=() entry
    for entry in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
    done
    ((${#missing[@]})) || return 0
    apt-get -qq update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
}

# Installs Python packages where only this recipe has them.
need_python() {
    local venv
    venv=$RECIPE_VENVS/$(basename "$(dirname "${BASH_SOURCE[1]}")")
    make_venv "$venv"
    "$venv/bin/pip" -q install "$@"
    PATH=$venv/bin:$PATH
}

check() {
    local what=$1
    shift
    if "$@"; then echo "ok: $what"; else
        echo "FAILED: $what: $*" >&2
        exit 1
    fi
}

# For what must not succeed.
fails() {
    if "$@"; then
        echo "FAILED: it was to fail: $*" >&2
        exit 1
    fi
}

# The commands of the recipe's page: its block N, or the first.
block() {
    awk -v wanted="${1:-1}" '/^    / { if (!inside) n++; inside = 1; if (n == wanted) print substr($0, 5); next }
        /^$/ { if (inside && n == wanted) print; next } { inside = 0 }' \
        "$(dirname "${BASH_SOURCE[1]}")/README.md"
}

# Fails if a mount of fifofs is left below here.
nothing_left() {
    check "nothing is left mounted" sh -c "! grep -q ' $PWD/.* fuse.*fifofs' /proc/self/mountinfo"
}
