import asyncio
import threading
import time

import pytest

from msam_nn.errors import UserError
from msam_nn.server.worker import Refused, Worker


@pytest.fixture
def worker():
    worker = Worker()
    yield worker
    worker.close()


def test_one_thread_runs_everything_in_order(worker):
    async def main():
        names = [worker.run(lambda: threading.current_thread().name) for _ in range(5)]
        return set(await asyncio.gather(*names))

    assert asyncio.run(main()) == {"msam-network"}


def test_short_work_goes_before_long_work_and_in_between_its_windows(worker):
    order = []

    def long(name):
        for window in range(2):
            order.append(f"{name} {window}")
            time.sleep(0.2)
            worker.give_way()

    async def main():
        first = asyncio.ensure_future(worker.run_long(long, "first"))
        second = asyncio.ensure_future(worker.run_long(long, "second"))
        await asyncio.sleep(0.1)
        await worker.run(order.append, "click")
        await asyncio.gather(first, second)

    asyncio.run(main())
    assert order == ["first 0", "click", "first 1", "second 0", "second 1"]


def test_images_are_prepared_beside_the_network(worker):
    async def main():
        preparing = asyncio.ensure_future(worker.prepare(time.sleep, 0.5))
        await worker.run(lambda: None)
        assert not preparing.done()
        await preparing

    asyncio.run(main())


def test_mistakes_become_ordinary_exceptions(worker):
    def mistake():
        raise UserError("a sentence")

    def too_much():
        raise MemoryError

    async def main():
        for run in (worker.run, worker.run_long, worker.prepare):
            with pytest.raises(Refused, match="a sentence"):
                await asyncio.ensure_future(run(mistake))
        with pytest.raises(Refused, match="not enough memory"):
            await worker.run(too_much)
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 / 0)
        return await worker.run(lambda: "alive")

    assert asyncio.run(main()) == "alive"
