"""The fixture `fifofs_capture`: makes captures that end with the test.

    def test_report(fifofs_capture):
        c = fifofs_capture("report.zip")
        make_report(c.path)
        assert c.read().startswith(b"PK")
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Callable, Iterator

import pytest

if TYPE_CHECKING:
    from ._capture import Capture


@pytest.fixture
def fifofs_capture() -> Iterator[Callable[..., Capture]]:
    """Makes captures with the arguments of `fifofs.Capture`, which end with the test."""
    from ._capture import Capture

    with contextlib.ExitStack() as stack:

        def make(*arguments: Any, **keywords: Any) -> Capture:
            return stack.enter_context(Capture(*arguments, **keywords))

        yield make
