"""One request to a model, made again when it failed for a reason that may pass.

The openai client's own retries are not used: they hold a place in the queue while they wait, bound no attempt as a
whole (a server that sends a byte now and then is never given up), and take a body that is no JSON for final.
"""

import asyncio
import email.utils
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable

import openai

from roadmap.runs.authors.base import LONGEST_WAIT, AuthorError

logger = logging.getLogger(__name__)

ATTEMPTS = 5
FIRST_BACKOFF = 1.0  # seconds; doubled from one attempt to the next
TEMPORARY = frozenset({408, 409, 425, 429})  # and all from 500


async def with_retries[Answer](
    request: Callable[[], Awaitable[Answer]],
    *,
    places: asyncio.Semaphore,
    timeout: float,  # noqa: ASYNC109 - of each attempt, not of the whole
    first_backoff: float = FIRST_BACKOFF,
) -> Answer:
    """What `request` answers, asked at most `ATTEMPTS` times, each within `timeout` seconds.

    A place is held while a request is under way, and not between two.

    Raises:
        AuthorError: why the last attempt failed, temporary where another one could succeed.
        openai.BadRequestError: the server does not take the request as it is.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            async with places, asyncio.timeout(timeout):
                return await request()
        except openai.BadRequestError:
            raise
        except openai.OpenAIError as error:
            failure = _judge(error, timeout)
        except TimeoutError:
            failure = AuthorError(f"The model gave no answer within {timeout:g} s.", temporary=True)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            # What the client makes of a body that is no answer of a chat; its text may quote all of it.
            logger.warning("The model's server answered what is no chat completion: %s", type(error).__name__)
            failure = AuthorError(
                "The model's server answered with something else than a chat.", temporary=True
            )
        if not failure.temporary or attempt == ATTEMPTS or failure.retry_after > LONGEST_WAIT:
            raise failure from None
        # At random, so that those who failed together do not come back together.
        pause = failure.retry_after + first_backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311
        logger.info("Attempt %d of %d: %s Again in %.1f s.", attempt, ATTEMPTS, failure, pause)
        await asyncio.sleep(pause)


def _judge(error: openai.OpenAIError, timeout: float) -> AuthorError:
    """What went wrong, in our words: a server's own may quote keys."""
    match error:
        case openai.APITimeoutError():
            return AuthorError(f"The model gave no answer within {timeout:g} s.", temporary=True)
        case openai.APIStatusError(status_code=status):
            wait = retry_after(error.response.headers.get("Retry-After", ""))
            temporary = status in TEMPORARY or status >= 500
            said = f"The model's server answered {status}{code(error)}"
            if temporary and wait > LONGEST_WAIT:
                said += f" and wants to be left alone for {wait:.0f} s"
            if status in (401, 403):
                said += ": see that LLM_API_KEY is right"
            elif status == 404:
                said += ": see that LLM_MODEL and LLM_BASE_URL are right"
            return AuthorError(f"{said}.", temporary=temporary, retry_after=wait)
        case openai.APIConnectionError():
            return AuthorError("The connection to the model's server failed.", temporary=True)
        case _:
            logger.warning("The model's server answered what is no chat completion: %s", type(error).__name__)
            return AuthorError("The model's server answered with something else than a chat.", temporary=True)


def code(error: openai.APIStatusError) -> str:
    """The short name that many servers give an error, such as `model_not_found`."""
    name = error.code if isinstance(error.code, str) else ""
    return f" ({name})" if re.fullmatch(r"[a-z]{2,20}(_[a-z]{2,20}){1,5}", name) else ""


def retry_after(header: str) -> float:
    """The seconds of a Retry-After header (RFC 9110, 10.2.3), a number or a date; 0 where it has neither."""
    if re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,9})?\s*", header):
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0
