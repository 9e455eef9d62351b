"""The command `fifofs`."""

import signal
import sys

from . import _fifofs


def main() -> int:
    """Runs the command line of this process."""
    # Python ignores these; other programs do not.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    called, *arguments = sys.argv
    name = "fifofs" if called.endswith("__main__.py") else called
    return _fifofs.main([sys.executable, "-m", "fifofs"], [name, *arguments])


if __name__ == "__main__":
    sys.exit(main())
