"""One thread runs the network for all sessions, another one prepares images."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from msam_nn.errors import UserError

MEMORY_ERRORS = (MemoryError, torch.OutOfMemoryError)
NO_MEMORY = "There is not enough memory for that: close other sessions, or crop the image."


class Refused(Exception):
    """The sentence of a :class:`~msam_nn.errors.UserError`, which as a SystemExit would end an event loop."""


class Worker:
    """Runs functions one at a time on a thread of its own, which is the only one that touches the network.

    Short ones (:meth:`run`) go before long ones (:meth:`run_long`), and a long one lets them in between its windows
    by calling :meth:`give_way`.
    """

    def __init__(self) -> None:
        self._short: deque[tuple[Future, Callable]] = deque()
        self._long: deque[tuple[Future, Callable]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="msam-prepare")
        self._thread = threading.Thread(target=self._work, name="msam-network", daemon=True)
        self._thread.start()

    async def run(self, function: Callable, *args: Any) -> Any:
        """The function's result.

        Raises:
            Refused: for a mistake of the user; otherwise what the function raises.
        """
        return await asyncio.wrap_future(self._enqueue(self._short, function, *args))

    async def run_long(self, function: Callable, *args: Any) -> Any:
        """The same for what takes long, such as an automatic prediction."""
        return await asyncio.wrap_future(self._enqueue(self._long, function, *args))

    async def prepare(self, function: Callable, *args: Any) -> Any:
        """The same on the thread that prepares images, beside the network."""
        return await asyncio.wrap_future(self._preparing.submit(_translated, function, *args))

    def give_way(self) -> None:
        """Run what is waiting and short; for long functions on the worker's thread."""
        while self._short:
            self._execute(*self._short.popleft())

    def close(self) -> None:
        """Finish what runs and drop what waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._preparing.shutdown(cancel_futures=True)

    def _enqueue(self, queue: deque, function: Callable, *args: Any) -> Future:
        future: Future = Future()
        with self._changed:
            queue.append((future, lambda: _translated(function, *args)))
            self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._short or self._long or self._closed)
                if self._closed:
                    break
                future, function = (self._short or self._long).popleft()
            self._execute(future, function)
            del future, function
        for future, _ in [*self._short, *self._long]:
            future.cancel()

    def _execute(self, future: Future, function: Callable) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)


def _translated(function: Callable, *args: Any) -> Any:
    try:
        return function(*args)
    except UserError as error:
        raise Refused(str(error)) from error
    except MEMORY_ERRORS as error:
        raise Refused(NO_MEMORY) from error
