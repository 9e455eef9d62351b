"""The allowed results of a cell: from the contracts of the doors (docs/delivery.md), and from what a tool does by
itself."""

from .cell import Case, Verdict
from .readers import Reader

RIGHT, ERROR, WAITS, SHORT, NOTHING = Verdict.RIGHT, Verdict.ERROR, Verdict.WAITS, Verdict.SHORT, Verdict.NOTHING


def expected(reader: Reader, case: Case) -> set[Verdict]:
    if case.end == "never":
        if case.door == "pipe" and reader.sized and reader.nonblocking:
            # It has asked for the size, and does not wait for the rest.
            return {NOTHING}
        return {WAITS} if case.door != "own" or reader.retries else {ERROR}
    return {"own": own, "wait": wait, "pipe": pipe}[case.door](reader, case)


def wait(_: Reader, case: Case) -> set[Verdict]:
    """The finished file for any tool, or an error."""
    return {RIGHT} if case.end == "well" else {ERROR}


def pipe(reader: Reader, case: Case) -> set[Verdict]:
    """A pipe. It has no size (stat says 0, as for files in /proc), so a reader that asks for it reads nothing."""
    if reader.positions:
        return {ERROR}
    if reader.sized:
        return {NOTHING, ERROR}
    if reader.splices and case.end == "killed":
        # It takes a failed read for the end.
        return {ERROR, SHORT}
    if reader.content:
        # It may have got what it wants before the writer was killed.
        return {RIGHT} if case.end == "well" else {RIGHT, ERROR}
    if reader.endless and case.end == "well":
        # At the end, after writing everything, it takes a file without a size for a truncated one, and fails.
        return {ERROR}
    if reader.nonblocking and case.when != "after":
        return {ERROR, RIGHT} if case.end == "well" else {ERROR}
    return {RIGHT} if case.end == "well" else {ERROR}


def own(reader: Reader, case: Case) -> set[Verdict]:
    """A file: a reader that opens it while it is written waits for the rest; but its size is the present one, and
    after a crash it is what is left, as in any directory."""
    if case.when == "before":
        if not reader.retries:
            return {ERROR}
        # It opens the file that it finds after a second. If that follows, it fails to seek to the beginning.
        return {RIGHT, ERROR} if case.end == "well" else {ERROR, SHORT}
    if case.when == "after" and case.end == "killed":
        return {RIGHT if reader.content else ERROR if reader.positions and reader.kind != "text" else SHORT}
    if case.when == "after" and case.end == "well":
        return {RIGHT}
    allowed = {RIGHT} if case.end == "well" else {ERROR}
    if reader.content:
        allowed |= {RIGHT}
    if reader.sized or reader.sized_by_fstat or reader.splices:
        allowed |= {SHORT, NOTHING, ERROR}
    if reader.nonblocking:
        allowed |= {ERROR}
    return allowed
