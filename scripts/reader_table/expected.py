"""What may come of a cell: what the doors promise (docs/delivery.md), and what a tool does by itself."""

from .cell import Case, Verdict
from .readers import Reader

RIGHT, TOLD, WAITS, SHORT, NOTHING = Verdict.RIGHT, Verdict.TOLD, Verdict.WAITS, Verdict.SHORT, Verdict.NOTHING


def expected(reader: Reader, case: Case) -> set[Verdict]:
    if case.end == "never":
        if case.door == "pipe" and reader.sized and reader.nonblocking:
            # It has asked for the size, and does not wait for the rest.
            return {NOTHING}
        if case.door == "pipe" and reader.splices:
            return {NOTHING, WAITS}
        return {WAITS} if case.door != "own" or reader.retries else {TOLD}
    return {"own": own, "wait": wait, "pipe": pipe}[case.door](reader, case)


def wait(_: Reader, case: Case) -> set[Verdict]:
    """The finished file for any tool, or an error."""
    return {RIGHT} if case.end == "well" else {TOLD}


def pipe(reader: Reader, case: Case) -> set[Verdict]:
    """A pipe. It has no size (stat says 0, as of files in /proc), so that who asks for it reads nothing."""
    if reader.positions:
        return {TOLD}
    if reader.sized:
        return {NOTHING, TOLD}
    if reader.splices:
        # (Before Linux 6.5 it is a read as any other.)
        return {NOTHING, RIGHT if case.end == "well" else TOLD}
    if reader.content:
        # It may have had what it wants before the writer was killed.
        return {RIGHT} if case.end == "well" else {RIGHT, TOLD}
    if reader.endless and case.end == "well":
        # At the end, when it has written all, it takes a file without a size for one that was cut, and fails.
        return {TOLD}
    if reader.nonblocking and case.when != "after":
        return {TOLD, RIGHT} if case.end == "well" else {TOLD}
    return {RIGHT} if case.end == "well" else {TOLD}


def own(reader: Reader, case: Case) -> set[Verdict]:
    """A file: who opens it while it is written waits for the rest; but the size is what there is so far, and what a
    crash left is there, as in any directory."""
    if case.when == "before":
        if not reader.retries:
            return {TOLD}
        # It opens what it finds after a second. Of one that follows it wants to go to the beginning, which cannot be.
        return {RIGHT, TOLD} if case.end == "well" else {TOLD, SHORT}
    if case.when == "after" and case.end == "killed":
        return {RIGHT if reader.content else TOLD if reader.positions and reader.kind != "text" else SHORT}
    if case.when == "after" and case.end == "well":
        return {RIGHT}
    allowed = {RIGHT} if case.end == "well" else {TOLD}
    if reader.content:
        allowed |= {RIGHT}
    if reader.sized or reader.sized_by_fstat or reader.splices:
        allowed |= {SHORT, NOTHING, TOLD}
    if reader.nonblocking:
        allowed |= {TOLD}
    return allowed
