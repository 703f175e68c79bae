"""The deadline of a join, in the places where `asyncio.timeout` is easy to get wrong."""

import asyncio

import pytest

from waitlist.deadline import Deadlines


def test_what_takes_too_long_is_cancelled_and_raises_timeout_error():
    async def main() -> bool:
        waiting = asyncio.get_running_loop().create_future()
        with pytest.raises(TimeoutError), Deadlines(0.01).begin():
            await waiting
        assert asyncio.current_task().cancelling() == 0
        return waiting.cancelled()

    assert asyncio.run(main())


def test_what_is_quick_is_left_alone():
    async def main() -> str:
        with Deadlines(0.01).begin():
            await asyncio.sleep(0)
        await asyncio.sleep(0.03)
        return "not cancelled"

    assert asyncio.run(main()) == "not cancelled"


def test_an_error_of_the_block_is_passed_on():
    async def main() -> None:
        with Deadlines(1).begin():
            raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        asyncio.run(main())


def test_a_cancel_from_outside_stays_a_cancel():
    async def main() -> None:
        async def wait() -> None:
            with Deadlines(5).begin():
                await asyncio.sleep(5)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_cancel_from_outside_at_the_same_moment_is_not_turned_into_a_timeout():
    async def main() -> None:
        async def wait() -> None:
            with Deadlines(0.01).begin():
                await asyncio.sleep(5)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_one_timer_ends_each_at_its_own_time_and_leaves_those_that_are_over_alone():
    async def main() -> list[str]:
        deadlines, loop = Deadlines(0.05), asyncio.get_running_loop()

        async def wait(seconds: float) -> str:
            began = loop.time()
            try:
                with deadlines.begin():
                    await asyncio.sleep(seconds)
            except TimeoutError:
                assert 0.04 < loop.time() - began < 0.5
                return "ended"
            return "over"

        tasks = []
        for number in range(30):
            tasks.append(asyncio.create_task(wait(0.01 if number % 3 == 0 else 5)))
            await asyncio.sleep(0.005)
        return [await task for task in tasks]

    ends = asyncio.run(main())
    assert ends == ["over" if number % 3 == 0 else "ended" for number in range(30)]
