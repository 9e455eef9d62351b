"""Events of files, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from . import _fifofs


@dataclass(frozen=True, repr=False)
class Event:
    """An event of a file. `kind` determines which of the other attributes are set.

    | kind | attributes |
    |---|---|
    | `opened` | `pid`, `name`, `generation` |
    | `chosen` | `way` (stream, follow or settled), `reason` |
    | `wrote` | `offset`, `bytes` |
    | `truncated` | `length` |
    | `renamed` | `old_path` |
    | `removed`, `closed` | |
    | `done` | `bytes` |
    | `failed` | `pid`, `name`, `signal` or `status` |
    | `rewritten` | `pid` and `name` of the reader, `start`, `end` |
    | `warning` | `message` |
    | `lagged` | `lost`: the number of events that were lost, since they were not taken in time |
    """

    kind: str
    path: Optional[str] = None
    """The file, relative to the mount; none if the events are of one captured file."""
    time: Optional[float] = None
    """Seconds since the mount was made; none if the events are of one captured file."""
    pid: Optional[int] = None
    name: Optional[str] = None
    generation: Optional[int] = None
    way: Optional[str] = None
    reason: Optional[str] = None
    offset: Optional[int] = None
    bytes: Optional[int] = None
    length: Optional[int] = None
    old_path: Optional[str] = None
    signal: Optional[int] = None
    status: Optional[int] = None
    start: Optional[int] = None
    end: Optional[int] = None
    message: Optional[str] = None
    lost: Optional[int] = None

    def __repr__(self) -> str:
        there = [f"{name}={value!r}" for name, value in vars(self).items() if value is not None]
        return f"Event({', '.join(there)})"


_KNOWN = frozenset(Event.__dataclass_fields__)


def _event(line: str) -> Event:
    values: dict[str, Any] = json.loads(line)
    kind = values.pop("event")
    if kind == "renamed":
        values["old_path"] = values.pop("from", None)
    elif kind == "rewritten":
        values["start"], values["end"] = values.pop("from", None), values.pop("to", None)
    return Event(kind, **{name: value for name, value in values.items() if name in _KNOWN})


class Events:
    """The events of one file or of all, from when this was made: an iterator, also for `async for`.

    Ends with the mount, or by `close()`. A subscriber that is more than 4096 events behind loses the oldest and gets
    an event `lagged`.
    """

    def __init__(self, inner: _fifofs.Events) -> None:
        self._inner = inner

    def next(self, timeout: Optional[float] = None) -> Optional[Event]:
        """The next event, or `None` at the end. Raises `TimeoutExpired` after `timeout` seconds."""
        line = self._inner.next(timeout)
        return None if line is None else _event(line)

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Event:
        event = self.next()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        # Here, since programs that do not use asyncio need not wait until it is imported.
        import asyncio

        from ._readable import readable

        line: Optional[str] = None
        while line is None and (descriptor := self._inner.poll_fd()) is not None:
            # Other tasks run also if many events come at once; before one is taken, so that a cancelled wait loses none.
            await asyncio.sleep(0)
            line = self._inner.try_next()
            if line is None:
                await readable(descriptor, None)
        if not line:
            raise StopAsyncIteration
        return _event(line)

    def close(self) -> None:
        """Ends the subscription."""
        self._inner.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
