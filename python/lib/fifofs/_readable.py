"""Waiting in an asyncio loop for a descriptor."""

from __future__ import annotations

import asyncio
import os
from typing import Optional


async def readable(descriptor: int, timeout: Optional[float]) -> None:
    """Waits until the descriptor is readable, for `timeout` seconds at most, while other tasks run."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    # A duplicate: if the reader is closed meanwhile, so is its descriptor, and the loop would wait for ever.
    descriptor = os.dup(descriptor)
    loop.add_reader(descriptor, wake)
    timer = None if timeout is None else loop.call_later(timeout, wake)
    try:
        await future
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        if timer is not None:
            timer.cancel()
