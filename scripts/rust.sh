# For scripts that build: prints at once where to get Rust, if it is missing or too old, and installs what it links
# with.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
found=$(cargo --version 2>/dev/null | cut -d " " -f 2) || true
if [ "$(printf '%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "scripts/${0##*/} needs Rust $wanted or newer, and ${found:-none} is in \$PATH. https://rustup.rs says how to install it:" >&2
    command -v curl >/dev/null || echo "    apt-get install curl ca-certificates" >&2
    echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
    exit 1
fi
# A compiler alone is not enough: Debian's package gcc comes without the development files of the C library.
if ! cc -x c -o /dev/null - 2>/dev/null <<<'int main(void) { return 0; }'; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "scripts/${0##*/} needs a C compiler, by which Rust links: apt-get install gcc libc6-dev" >&2
        exit 1
    fi
    echo "installing gcc libc6-dev"
    apt-get -qq update >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install gcc libc6-dev >/dev/null
fi
unset wanted found
