"""Work shared among processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

from tqdm import tqdm

from msam_nn.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], n_processes: int, option: str, **bar
) -> list[Result]:
    """The results in the order of ``items``.

    Arguments:
        n_processes: 1 stays in this process.
        option: of the command line that says ``n_processes``.
        bar: what ``tqdm`` is told, such as ``desc`` and ``unit``.

    Raises:
        UserError: if a process dies, most likely for want of memory.
    """
    told = partial(tqdm, total=len(items), **bar)
    if n_processes == 1:
        return list(told(map(work, items)))
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context("spawn")) as pool:
        try:
            return list(told(pool.map(work, items)))
        except BrokenProcessPool as error:
            raise UserError(f"A worker died, likely for want of memory: use fewer with {option}.") from error
