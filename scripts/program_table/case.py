"""Defines a case of the table. Does not know how it is run or judged."""

import re
from dataclasses import dataclass

# What programs do to a file that a pipe does not allow ("What else could you do?" in README.md).
PATCH = "seek and patch"
TYPE = "type check"
REOPEN = "reopen"
APPEND = "append"
RENAME = "rename into place"
UNLINK = "unlink and create"
TRUNCATE = "truncate"
PREALLOCATE = "preallocate"
LOCK = "lock"
MMAP = "mmap"
READ_BACK = "read back"
WRITERS = "several writers"
OUT_OF_ORDER = "out of order"
SPARSE = "sparse"
FILES = "several files"
PROCESSES = "several processes"
SLOW = "slow producer"

CLASSES = (
    PATCH, TYPE, REOPEN, APPEND, RENAME, UNLINK, TRUNCATE, PREALLOCATE, LOCK, MMAP, READ_BACK, WRITERS, OUT_OF_ORDER,
    SPARSE, FILES, PROCESSES, SLOW,
)  # fmt: skip

OUTPUT = re.compile(r"\{out:([^{}]+)\}")
DIRECTORY = "{dir}"


@dataclass(frozen=True)
class Case:
    """One invocation. Its command is a bash script with the placeholders of `fifofs run`, run in the directory of the
    inputs: `{out:NAME}` is an output, and a command with `{dir}` alone leaves files with names that only it knows."""

    program: str
    what: str
    command: str
    classes: tuple[str, ...]
    # A script whose output must be the same for `$FILE` as for the plain file; without it every byte must be the
    # same.
    view: str | None = None
    # Commands and Python modules that it needs beside its program.
    needs: tuple[str, ...] = ()
    # It patches text that was passed on long ago, so its reader can only get an error.
    rewritten: bool = False
    # Part of the table that every change must pass.
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.program}: {self.what}"

    @property
    def outputs(self) -> list[str]:
        """The names of its outputs, each once; none if only the program knows them."""
        return list(dict.fromkeys(OUTPUT.findall(self.command)))

    def command_in(self, directory: str) -> str:
        """The command with paths in `directory` for its placeholders."""
        return OUTPUT.sub(lambda found: f"{directory}/{found[1]}", self.command).replace(DIRECTORY, directory)


def case(program: str, what: str, command: str, *classes: str, **more) -> Case:
    """A case, as `cases` writes it."""
    return Case(program, what, command, classes, **more)
