"""What may come of a cell: what the doors promise (docs/delivery.md), and what a tool does by itself."""

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
    """A pipe. It has no size (stat says 0, as of files in /proc), so that who asks for it reads nothing."""
    if reader.positions:
        return {ERROR}
    if reader.sized:
        return {NOTHING, ERROR}
    if reader.splices and case.end == "killed":
        # It takes a failed read for the end.
        return {ERROR, SHORT}
    if reader.content:
        # It may have had what it wants before the writer was killed.
        return {RIGHT} if case.end == "well" else {RIGHT, ERROR}
    if reader.endless and case.end == "well":
        # At the end, when it has written all, it takes a file without a size for one that was cut, and fails.
        return {ERROR}
    if reader.nonblocking and case.when != "after":
        return {ERROR, RIGHT} if case.end == "well" else {ERROR}
    return {RIGHT} if case.end == "well" else {ERROR}


def own(reader: Reader, case: Case) -> set[Verdict]:
    """A file: who opens it while it is written waits for the rest; but the size is what there is so far, and what a
    crash left is there, as in any directory."""
    if case.when == "before":
        if not reader.retries:
            return {ERROR}
        # It opens what it finds after a second. Of one that follows it wants to go to the beginning, which cannot be.
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
