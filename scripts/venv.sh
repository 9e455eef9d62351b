# For scripts that use packages of PyPI: `make_venv DIR` makes a virtual environment there, with PYTHON.
make_venv() {
    local python=${PYTHON:-python3}
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" != 0 ]; then
            echo "missing, and only root may install it: apt-get install python3-venv" >&2
            exit 1
        fi
        apt-get -qq update >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install python3-venv >/dev/null
    fi
    # One without pip is left by an attempt that failed.
    [ -x "$1/bin/pip" ] || "$python" -m venv --clear "$1"
}
