import asyncio
import time

import pytest

from msam_nn.server.settings import Settings
from msam_nn.server.transport.leases import MOST_WAITING, AtCapacity, LeaseGone, LeaseRegistry, TooManyRequests
from msam_nn.server.worker import Worker


class Session:
    version = 0
    closed = stopped = False
    worth_keeping = True

    def result(self):
        return f"kept at {self.version}" if self.worth_keeping else None

    def stop(self):
        self.stopped = True

    def close(self):
        self.closed = True


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(test, **options):
    """Run a coroutine function with a registry and its clock; ``idle_timeout`` is 100, ``liveness_timeout`` 10."""
    worker, clock = Worker(), Clock()
    options = {"idle_timeout": 100, "liveness_timeout": 10, "max_sessions": 2, **options}

    async def main():
        registry = LeaseRegistry(Session, worker, clock=clock, **options)
        await test(registry, clock)
        await registry.close()

    try:
        asyncio.run(main())
    finally:
        worker.close()


def test_two_clocks():
    async def test(registry, clock):
        lease = registry.claim()
        for clock.now in range(9, 100, 9):
            with registry.using(lease.token, active=False):
                assert registry.remaining_seconds(lease) == 100 - clock.now
        clock.now = 99
        with registry.using(lease.token, active=True):
            pass
        assert registry.remaining_seconds(lease) == 100
        clock.now = 109.5  # silent
        with pytest.raises(LeaseGone):
            registry.find(lease.token)

    run(test)


def test_signs_of_life_do_not_postpone_idleness():
    async def test(registry, clock):
        lease = registry.claim()
        with pytest.raises(LeaseGone):
            for clock.now in range(0, 120, 9):
                with registry.using(lease.token, active=False):
                    pass
        assert clock.now == 108

    run(test)


def test_a_sign_of_life_a_minute_is_enough_even_if_one_is_lost():
    async def test(registry, clock):
        lease = registry.claim()
        for clock.now in range(0, 600, 121):
            with registry.using(lease.token, active=False):
                pass

    run(test, idle_timeout=Settings.idle_timeout, liveness_timeout=Settings.liveness_timeout)


def test_zero_turns_a_clock_off():
    async def test(registry, clock):
        lease = registry.claim()
        clock.now = 1e9
        assert registry.find(lease.token) is lease

    run(test, idle_timeout=0, liveness_timeout=0)


def test_a_request_in_flight_keeps_its_lease_alive():
    async def test(registry, clock):
        lease = registry.claim()
        with registry.using(lease.token):
            clock.now = 1000
            registry.sweep()
            assert registry.find(lease.token) is lease
        assert registry.remaining_seconds(lease) == 100
        clock.now = 1011
        registry.sweep()
        assert len(registry) == 0 and lease.gone and lease.session.stopped

    run(test)


def test_nothing_comes_between_preparing_and_predicting():
    async def test(registry, clock):
        lease, order = registry.claim(), []
        lease.session.prepare = lambda: time.sleep(0.1) or order.append("prepare")
        lease.session.predict_automatically = lambda: order.append("predict")
        await asyncio.gather(lease.prepare(automatic=True), lease.run(order.append, "click"))
        assert order == ["prepare", "predict", "click"]

    run(test)


def test_capacity_counts_sessions_that_are_still_being_freed():
    async def test(registry, clock):
        leases = [registry.claim() for _ in range(2)]
        with pytest.raises(AtCapacity):
            registry.claim()
        registry.release(leases[0].token)
        registry.release(leases[0].token)
        with pytest.raises(AtCapacity):
            registry.claim()
        await asyncio.gather(*registry._closing)
        assert leases[0].session.closed and registry.claim().token not in {lease.token for lease in leases}

    run(test)


def test_a_place_that_is_being_freed_is_waited_for_and_no_other():
    async def test(registry, clock):
        leases = [registry.claim() for _ in range(2)]
        await asyncio.wait_for(registry.make_room(60), 1)  # nobody leaves: nothing to wait for
        registry.release(leases[0].token)
        await registry.make_room(60)
        assert leases[0].session.closed and registry.claim()

    run(test)


def test_requests_of_a_lease_run_in_order_and_a_release_waits_for_the_one_that_runs():
    async def test(registry, clock):
        lease, order = registry.claim(), []
        tasks = [asyncio.ensure_future(lease.run(order.append, number)) for number in range(5)]
        await asyncio.gather(*tasks)
        assert order == [0, 1, 2, 3, 4]
        slow = asyncio.ensure_future(lease.run(lambda: lease.session.closed))
        waiting = asyncio.ensure_future(lease.run(order.append, 5))
        await asyncio.sleep(0)
        registry.release(lease.token)
        for task in (slow, waiting):
            with pytest.raises(LeaseGone):
                await task
        await registry.close()
        assert lease.session.closed and order == [0, 1, 2, 3, 4]

    run(test)


def test_few_requests_of_a_lease_may_wait():
    async def test(registry, clock):
        lease = registry.claim()
        uses = [registry.using(lease.token) for _ in range(MOST_WAITING)]
        for use in uses:
            use.__enter__()
        with pytest.raises(TooManyRequests), registry.using(lease.token):
            pass
        for use in uses:
            use.__exit__(None, None, None)

    run(test)


def test_changes_are_told_with_what_was_there_before_the_next_request():
    changed = []

    async def test(registry, clock):
        lease = registry.claim()
        await lease.run(lambda: None)
        assert changed == []

        def change(version):
            lease.session.version = version

        await asyncio.gather(*(lease.run(change, version) for version in (1, 2)))
        assert changed == [(lease, "kept at 1"), (lease, "kept at 2")]
        lease.session.worth_keeping = False
        await lease.run(change, 3)
        assert len(changed) == 2

    run(test, on_change=lambda *told: changed.append(told))


def test_a_change_is_told_though_its_lease_ended_meanwhile():
    changed = []

    async def test(registry, clock):
        lease = registry.claim()

        def change():
            lease.session.version = 1
            lease.gone = True

        with pytest.raises(LeaseGone):
            await lease.run(change)
        assert changed == ["kept at 1"]

    run(test, on_change=lambda lease, result: changed.append(result))
