"""Who holds which session, and for how long."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from msam_nn.server.record import SessionResult
from msam_nn.server.session import InteractiveSession
from msam_nn.server.worker import Worker

MOST_WAITING = 32
"""Requests of one lease that may wait at once."""


OnChange = Callable[["Lease", SessionResult], None]


class LeaseGone(Exception):
    """The token is unknown: never given, released, or expired."""


class AtCapacity(Exception):
    """All sessions are taken."""


class TooManyRequests(Exception):
    """One lease asks for more at once than any viewer does."""


class Lease:
    """A session and the client that holds it.

    What a client asks happens in the order of asking. A lease lives while a request of it is in flight.
    """

    def __init__(
        self,
        session: InteractiveSession,
        worker: Worker,
        clock: Callable[[], float],
        on_change: OnChange | None = None,
    ) -> None:
        self.token = uuid.uuid4().hex
        self.session = session
        self.gone = False
        self.in_flight = 0
        self.uploading = asyncio.Lock()
        """Held while a body comes in, so that a client cannot fill the memory with many at once."""
        self._on_change = on_change
        self._version = session.version
        self._clock = clock
        self._worker = worker
        self._turn = asyncio.Lock()
        self.last_seen = self.last_active = clock()

    async def run(self, function: Callable, *args: Any) -> Any:
        """Run something short on the network's thread when it is this request's turn, see :meth:`Worker.run`.

        Raises:
            LeaseGone: if the lease ended meanwhile.
        """
        return await self._in_turn(self._worker.run, function, *args)

    async def run_long(self, function: Callable, *args: Any) -> Any:
        """The same for :meth:`Worker.run_long`."""
        return await self._in_turn(self._worker.run_long, function, *args)

    async def prepare(self, automatic: bool = False) -> None:
        """Prepare the session's image, and predict it if wished, before whatever is asked meanwhile."""

        async def both() -> None:
            await self._worker.prepare(self.session.prepare)
            if automatic:
                await self._worker.run_long(self.session.predict_automatically)

        await self._in_turn(both)

    def touch(self, active: bool) -> None:
        """Set the clocks back: the one of liveness, and for a user's action the one of idleness."""
        self.last_seen = self._clock()
        if active:
            self.last_active = self.last_seen

    async def close(self) -> None:
        """Free the session when the request that has its turn, if there is one, is over."""
        async with self._turn:
            await self._worker.run(self.session.close)

    async def _in_turn(self, run: Callable[..., Awaitable], *args: Any) -> Any:
        async with self._turn:
            if self.gone:
                raise LeaseGone
            answer = await run(*args)
            if self._on_change is not None and self.session.version != self._version:
                self._version = self.session.version
                result = await asyncio.to_thread(self.session.result)
                if result is not None:
                    self._on_change(self, result)
            if self.gone:
                raise LeaseGone
            return answer


class LeaseRegistry:
    """All leases.

    Arguments:
        new_session: makes a session.
        idle_timeout: seconds after the last action of a user.
        liveness_timeout: seconds after the last sign of life of a client.
        on_change: called with a lease whose session's prompts changed and what it is worth keeping for now, before
            the next request of that lease has its turn; not where nothing is left to keep.
    """

    def __init__(
        self,
        new_session: Callable[[], InteractiveSession],
        worker: Worker,
        max_sessions: int = 3,
        idle_timeout: float = 600.0,
        liveness_timeout: float = 180.0,
        clock: Callable[[], float] = time.monotonic,
        on_change: OnChange | None = None,
    ) -> None:
        self.max_sessions = max_sessions
        self.idle_timeout = idle_timeout
        self.liveness_timeout = liveness_timeout
        self._new_session = new_session
        self._worker = worker
        self._clock = clock
        self._on_change = on_change
        self._leases: dict[str, Lease] = {}
        self._closing: set[asyncio.Task] = set()

    def __len__(self) -> int:
        return len(self._leases)

    async def make_room(self, seconds: float) -> None:
        """Wait, up to so many seconds, for a lease that has ended and is still being freed, if its place is needed."""
        self.sweep()
        if len(self._leases) < self.max_sessions <= len(self._leases) + len(self._closing):
            await asyncio.wait(self._closing, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def claim(self) -> Lease:
        """A lease on a new session.

        Raises:
            AtCapacity: if all are taken.
        """
        self.sweep()
        if len(self._leases) + len(self._closing) >= self.max_sessions:
            raise AtCapacity
        lease = Lease(self._new_session(), self._worker, self._clock, self._on_change)
        self._leases[lease.token] = lease
        return lease

    @contextmanager
    def using(self, token: str | None, active: bool = True) -> Iterator[Lease]:
        """The lease of a request, alive until the request ends.

        Arguments:
            active: an action of the user, as opposed to a sign of life.

        Raises:
            LeaseGone: if there is none.
            TooManyRequests: if too many requests of it wait already.
        """
        self.sweep()
        lease = self._leases.get(token or "")
        if lease is None:
            raise LeaseGone
        if lease.in_flight >= MOST_WAITING:
            raise TooManyRequests
        lease.touch(active)
        lease.in_flight += 1
        try:
            yield lease
        finally:
            lease.in_flight -= 1
            lease.touch(active)

    def find(self, token: str | None) -> Lease:
        """The lease without a touch of its clocks.

        Raises:
            LeaseGone: if there is none.
        """
        self.sweep()
        if token not in self._leases:
            raise LeaseGone
        return self._leases[token]

    def remaining_seconds(self, lease: Lease) -> float:
        """Until the lease would end for idleness."""
        return max(0.0, lease.last_active + self.idle_timeout - self._clock())

    def release(self, token: str | None) -> None:
        """End a lease, if there is one; what it does at the moment is stopped, and its memory freed after that."""
        lease = self._leases.pop(token or "", None)
        if lease is None:
            return
        lease.gone = True
        lease.session.stop()
        task = asyncio.get_running_loop().create_task(lease.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def sweep(self) -> None:
        """End the leases whose clients are gone or idle."""
        now = self._clock()
        for token, lease in list(self._leases.items()):
            silent = now - lease.last_seen > self.liveness_timeout > 0
            idle = now - lease.last_active > self.idle_timeout > 0
            if (silent or idle) and not lease.in_flight:
                self.release(token)

    async def close(self) -> None:
        """End all leases."""
        for token in list(self._leases):
            self.release(token)
        await asyncio.gather(*self._closing)
