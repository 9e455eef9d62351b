"""Mounts that this process serves."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Union

from . import _fifofs
from ._arguments import Path, check_bytes, check_flags, check_texts
from ._capture import Capture, capture_of
from ._events import Events

if TYPE_CHECKING:
    import sys

    if sys.version_info >= (3, 11):
        from typing import Self
    else:
        from typing_extensions import Self


class Mount(os.PathLike[str]):
    """A directory served by this process, until its `with` ends; see `mount`."""

    def __init__(self, inner: _fifofs.Mount) -> None:
        self._inner = inner
        self._path = inner.path

    @property
    def path(self) -> str:
        """The absolute path of the mount."""
        return self._path

    def __fspath__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"<Mount {self._path!r}>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} stays in its process: send another its path")

    def capture(self, path: Path) -> Capture:
        """Captures `path`, relative to the mount. Any number of paths can be captured."""
        return capture_of(self._inner.capture(os.fsdecode(path)))

    def events(self) -> Events:
        """The events of its files from now on: an iterator of `Event`, also for `async for`."""
        return Events(self._inner.events())

    def status(self) -> Dict[str, Any]:
        """Its files, their writers and readers, and what waits: the content of `.fifofs/status`."""
        status: Dict[str, Any] = json.loads(self._inner.status())
        return status

    def unmount(self) -> None:
        """Unmounts. Processes that wait in it get an error. `with` does it."""
        self._inner.unmount()

    def __enter__(self) -> Self:
        self._inner.check_mounted()
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()


def mount(
    path: Optional[Path] = None,
    *,
    deliver: Union[None, str, Mapping[str, str]] = None,
    linger: Union[str, float] = "auto",
    fail_on: str = "crash",
    window: Optional[int] = None,
    memory: Optional[int] = None,
    spill: Optional[Path] = None,
    max_size: Optional[int] = None,
    allow_other: bool = False,
    consume: bool = False,
    fifos: str = "kernel",
    require_visible: bool = False,
) -> Mount:
    """Mounts a directory in which any program can write files and any other can wait for them.

    `path` is made if it is missing; without it, a temporary directory is used. `deliver` is a mode for all files
    (`"auto"`, `"follow"`, `"settled"` or `"stream"`) or a mapping of globs to modes. The last glob that matches
    counts, so `"*"` comes first. The others are the options of `fifofs mount`; sizes are in bytes, `linger` may be a
    number of seconds.

    >>> with mount(deliver={"*": "settled", "*.log": "follow"}) as m:
    ...     events = m.events()
    ...     with open(os.path.join(m, "x.log"), "w") as f:
    ...         _ = f.write("hello")
    ...     [next(events).kind for _ in range(3)]
    ['opened', 'chosen', 'wrote']
    """
    for what, value in {"window": window, "memory": memory, "max_size": max_size}.items():
        if value is not None:
            check_bytes(what, value)
    check_texts(fail_on=fail_on, fifos=fifos)
    flags = {"allow_other": allow_other, "consume": consume, "require_visible": require_visible}
    check_flags(**flags)
    rules: List[str] = []
    if isinstance(deliver, str):
        rules = [deliver]
    elif deliver is not None:
        if not hasattr(deliver, "items"):
            raise TypeError(f"deliver must be a way or a mapping such as {{'*.log': 'follow'}}, not {deliver!r}")
        rules = [f"{glob}={way}" for glob, way in deliver.items()]
    options: Dict[str, object] = {
        "rules": rules,
        "linger": str(linger),
        "fail_on": fail_on,
        "window": window,
        "memory": memory,
        "spill": None if spill is None else os.fsdecode(spill),
        "max_size": max_size,
        "fifos": fifos,
        **flags,
    }
    return Mount(_fifofs.Mount(None if path is None else os.fsdecode(path), options))


def wait_path(path: Path, *, next: bool = False) -> str:
    """The path that waits for `path`, a file of any mount, when it is opened; with `next`, for what is written there
    next, whatever file is there now."""
    return _fifofs.wait_path(os.fsdecode(path), next)
