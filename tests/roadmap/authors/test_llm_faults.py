"""The author that asks a model, while the model's server misbehaves; everything over real HTTP."""

import asyncio
import time
from email.utils import formatdate

import pytest

from roadmap.runs.authors.base import AuthorError, Brief, Lesson, Outline, Usage
from roadmap.runs.authors.retries import ATTEMPTS, retry_after
from tests.fake_openai import FakeOpenAI
from tests.roadmap.authors.conftest import Asking

BRIEF = Brief(goal="Learn to juggle")
OUTLINE = Outline.model_validate(FakeOpenAI().outline("Learn to juggle"))


def lesson(asking: Asking, *faults: dict[str, object], **options: float) -> tuple[Lesson, FakeOpenAI, Usage]:
    """A lesson that came in the end."""

    async def write() -> tuple[Lesson, FakeOpenAI, Usage]:
        usage = Usage()
        async with asking(**options) as (author, fake):
            for fault in faults:
                fake.fault(**fault)  # type: ignore[arg-type]
            return await author.lesson(BRIEF, OUTLINE, "c2", usage=usage), fake, usage

    return asyncio.run(write())


def failure(
    asking: Asking, *faults: dict[str, object], **options: float
) -> tuple[AuthorError, FakeOpenAI, Usage]:
    """Why no lesson came."""

    async def write() -> tuple[AuthorError, FakeOpenAI, Usage]:
        usage = Usage()
        async with asking(**options) as (author, fake):
            for fault in faults:
                fake.fault(**fault)  # type: ignore[arg-type]
            with pytest.raises(AuthorError) as caught:
                await author.lesson(BRIEF, OUTLINE, "c2", usage=usage)
            return caught.value, fake, usage

    return asyncio.run(write())


# --- What passes ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 503, "retry_after": "0"},
        {"kind": "cut"},
        {"kind": "half"},
        {"kind": "html"},
        {"kind": "no_choices"},
        {"kind": "stall"},
        {"kind": "drip", "seconds": 30},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
def test_what_may_pass_is_tried_again(asking: Asking, fault: dict[str, object]) -> None:
    written, fake, usage = lesson(
        asking, {**fault, "times": 2}, timeout=1 if fault["kind"] in ("stall", "drip") else 10
    )
    assert "about c2." in written.markdown
    assert fake.lessons == {"Learn to juggle/c2": 3}
    assert usage.requests == 3
    # What was received in full was paid for, whether it could be used or not.
    assert usage.output_tokens == 50


@pytest.mark.parametrize("fault", ["status", "cut", "stall"])
def test_it_gives_up_after_some_attempts(asking: Asking, fault: str) -> None:
    seconds = 0.5 if fault == "stall" else 10
    error, fake, usage = failure(asking, {"kind": fault, "times": None, "status": 500}, timeout=seconds)
    assert error.temporary
    assert fake.requests == usage.requests == ATTEMPTS
    assert (
        str(error)
        == {
            "status": "The model's server answered 500.",
            "cut": "The connection to the model's server failed.",
            "stall": "The model gave no answer within 0.5 s.",
        }[fault]
    )


def test_a_server_that_is_not_there_is_a_temporary_error(asking: Asking) -> None:
    async def write() -> AuthorError:
        async with asking() as (author, fake):
            author._model.root_async_client.base_url = f"http://127.0.0.1:{await closed_port()}/v1"
            with pytest.raises(AuthorError) as caught:
                await author.understand(BRIEF)
            assert fake.requests == 0
            return caught.value

    async def closed_port() -> int:
        async with FakeOpenAI().running() as gone:
            return gone.port

    error = asyncio.run(write())
    assert error.temporary
    assert str(error) == "The connection to the model's server failed."


def test_a_slow_attempt_gives_its_place_back_while_it_waits(asking: Asking) -> None:
    async def write() -> tuple[float, float]:
        async with asking(max_concurrency=1) as (author, fake):
            fake.fault("status", status=429, retry_after="3", step="lesson")
            started = time.monotonic()
            waiting = asyncio.create_task(author.lesson(BRIEF, OUTLINE, "c1"))
            await fake.came.wait()
            await author.understand(BRIEF)
            between = time.monotonic() - started
            await waiting
            return between, time.monotonic() - started

    between, whole = asyncio.run(write())
    assert between < 2.7
    assert whole >= 3


# --- Retry-After ---------------------------------------------------------------------------------------
def test_it_waits_as_long_as_the_server_says(asking: Asking) -> None:
    started = time.monotonic()
    _, fake, _ = lesson(asking, {"kind": "status", "status": 429, "retry_after": "1"})
    assert 1 <= time.monotonic() - started < 5
    assert fake.requests == 2


def test_a_server_that_wants_hours_is_not_asked_again(asking: Asking) -> None:
    error, fake, _ = failure(asking, {"kind": "status", "status": 429, "retry_after": "7200", "times": None})
    assert str(error) == "The model's server answered 429 and wants to be left alone for 7200 s."
    assert error.temporary
    assert fake.requests == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 2.5 ", 2.5),
        ("", 0),
        ("soon", 0),
        ("-1", 0),
        ("nan", 0),
        ("inf", 0),
    ],
)
def test_a_number_is_read_and_what_is_none_means_now(header: str, seconds: float) -> None:
    assert retry_after(header) == seconds


def test_a_date_is_read_and_one_that_is_past_means_now() -> None:
    in_a_minute = retry_after(formatdate(time.time() + 60, usegmt=True))
    assert 55 < in_a_minute <= 60
    assert retry_after(formatdate(time.time() - 60, usegmt=True)) == 0


# --- What does not fit ---------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["broken", "cut_json", "misfit", "short"])
@pytest.mark.parametrize("only_tools", [False, True])
def test_what_does_not_fit_is_sent_back_once(asking: Asking, kind: str, only_tools: bool) -> None:
    async def write() -> tuple[Lesson, FakeOpenAI, Usage]:
        usage = Usage()
        async with asking() as (author, fake):
            fake.only_tools = only_tools
            await author.understand(BRIEF)
            fake.fault(kind)
            return await author.lesson(BRIEF, OUTLINE, "c2", usage=usage), fake, usage

    written, fake, usage = asyncio.run(write())
    assert "about c2." in written.markdown
    assert usage == Usage(requests=2, input_tokens=200, output_tokens=100)
    last = fake.bodies[-1]["messages"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert last[-1]["content"].startswith("That does not fit: ")


@pytest.mark.parametrize("kind", ["broken", "cut_json", "misfit", "short"])
def test_what_does_not_fit_twice_is_an_error_that_quotes_nothing(asking: Asking, kind: str) -> None:
    error, fake, _ = failure(asking, {"kind": kind, "times": None})
    assert str(error).startswith("The model's answer did not fit, and neither did its repair: ")
    assert "Certainly" not in str(error)
    assert "much too short" not in str(error).lower()
    assert fake.requests == 2


def test_json_between_fences_is_taken(asking: Asking) -> None:
    written, fake, _ = lesson(asking, {"kind": "fenced"})
    assert "about c2." in written.markdown
    assert fake.requests == 1


@pytest.mark.parametrize("only_tools", [False, True])
def test_what_postgresql_cannot_store_is_left_out_or_sent_back(asking: Asking, only_tools: bool) -> None:
    async def write() -> Lesson:
        async with asking() as (author, fake):
            fake.only_tools = only_tools
            await author.understand(BRIEF)
            fake.fault("unstorable")
            return await author.lesson(BRIEF, OUTLINE, "c2")

    written = asyncio.run(write()).markdown
    assert written.endswith("Do it.")
    assert "\x00" not in written.encode().decode()


def test_only_links_that_lead_to_the_web_are_taken(asking: Asking) -> None:
    written, fake, _ = lesson(asking, {"kind": "bad_links"})
    assert [resource.url for resource in written.resources] == ["https://example.com/c2"]
    assert fake.requests == 1


# --- What is final -------------------------------------------------------------------------------------
@pytest.mark.parametrize("only_tools", [False, True])
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("length", "The model's answer was cut off at its limit of tokens."),
        ("refusal", "The model refused to write this."),
    ],
)
def test_an_answer_that_is_none_is_not_asked_for_again(
    asking: Asking, kind: str, said: str, only_tools: bool
) -> None:
    async def write() -> tuple[AuthorError, int, Usage]:
        usage = Usage()
        async with asking() as (author, fake):
            fake.only_tools = only_tools
            await author.understand(BRIEF)
            fake.fault(kind)
            with pytest.raises(AuthorError) as caught:
                await author.lesson(BRIEF, OUTLINE, "c2", usage=usage)
            return caught.value, fake.steps["lesson"], usage

    error, asked, usage = asyncio.run(write())
    assert str(error) == said
    assert asked == 1
    assert usage.output_tokens == 50


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, None, "The model's server answered 401: see that LLM_API_KEY is right."),
        (403, "sk-secret", "The model's server answered 403: see that LLM_API_KEY is right."),
        (
            404,
            "model_not_found",
            "The model's server answered 404 (model_not_found): see that LLM_MODEL and LLM_BASE_URL are right.",
        ),
        (422, None, "The model's server answered 422."),
    ],
)
def test_a_refusal_is_final_and_says_what_to_look_at(
    asking: Asking, status: int, code: str | None, said: str
) -> None:
    error, fake, _ = failure(asking, {"kind": "status", "status": status, "code": code, "times": None})
    assert str(error) == said
    assert not error.temporary
    assert fake.requests == 1


def test_a_request_that_no_way_of_asking_gets_through_is_final(asking: Asking) -> None:
    fault = {"kind": "status", "status": 400, "code": "context_length_exceeded", "times": None}
    error, fake, _ = failure(asking, fault)
    assert str(error) == "The model's server does not take the request (context_length_exceeded)."
    assert not error.temporary
    assert fake.requests == 2  # once in each way


def test_nothing_secret_is_logged(asking: Asking, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        error, _, _ = failure(
            asking, {"kind": "status", "status": 500, "times": 1}, {"kind": "status", "status": 401}
        )
    assert "Attempt 1 of 5: The model's server answered 500." in caplog.text
    assert "secret" not in f"{error}{caplog.text}"


def test_a_task_that_is_cancelled_ends_at_once_and_frees_its_place(asking: Asking) -> None:
    async def write() -> tuple[float, str]:
        async with asking(max_concurrency=1, timeout=30) as (author, fake):
            fake.fault("stall", seconds=30)
            task = asyncio.create_task(author.lesson(BRIEF, OUTLINE, "c1"))
            await fake.came.wait()
            started = time.monotonic()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            return time.monotonic() - started, (await author.understand(BRIEF))["topic"]

    seconds, topic = asyncio.run(write())
    assert seconds < 10
    assert topic == "The topic of Learn to juggle"
