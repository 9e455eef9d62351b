# For scripts that build: says at once where Rust is to be had from, if it is not there.
if ! command -v cargo >/dev/null; then
    version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    echo "scripts/${0##*/} needs Rust $version or newer, and there is no cargo in \$PATH. https://rustup.rs says how to install it:" >&2
    echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
    exit 1
fi
