"""The author that asks a language model, on any server that speaks OpenAI's chat protocol."""

import asyncio
import json
import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Any

import openai
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable
from pydantic import Field, ValidationError

from roadmap.runs.authors import prompts
from roadmap.runs.authors.base import (
    AuthorError,
    Brief,
    Concept,
    Lesson,
    Outline,
    Plain,
    Text,
    Understanding,
    Usage,
)
from roadmap.runs.authors.check import LONGEST_KEY
from roadmap.runs.authors.retries import FIRST_BACKOFF, code, with_retries

LONGEST_LESSON = 60_000  # characters
SHORTEST_LESSON = 200
MOST_RESOURCES = 10
LINK = re.compile(r"https?://[^\s/<>\"\\]+[^\s<>\"\\]*")
FENCE = re.compile(r"\A\s*```(?:json)?\s*\n|\n\s*```\s*\Z")  # some models put their JSON between these
# How an answer is made to fit a schema; servers differ in which they know. The first that works is kept.
METHODS = ("json_schema", "function_calling")


class Topic(Plain):
    """What a goal is about."""

    topic: Text = Field(description="a short name of the topic")
    outcome: Text = Field(description="what the person will be able to do")
    assumed: list[Text] = Field(description="what the person is taken to know already")


class DoesNotFit(ValueError):
    """An answer is not what was asked for; the text tells the model why, and quotes none of it."""


class LlmAuthor:
    """An author for one event loop; `close()` it in the same one.

    Args:
        timeout: seconds for one answer.
        max_concurrency: requests at once.
        first_backoff: seconds before the second attempt of a request.
    """

    name = "llm"

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key: str,
        *,
        timeout: float,
        max_concurrency: int,
        first_backoff: float = FIRST_BACKOFF,
    ):
        self._timeout = timeout
        self._first_backoff = first_backoff
        self._places = asyncio.Semaphore(max_concurrency)
        self._http = openai.DefaultAsyncHttpxClient(timeout=timeout)
        self._model = init_chat_model(
            model,
            model_provider="openai",
            base_url=base_url or None,
            api_key=api_key or "none",  # the client wants one, also where the server does not
            timeout=timeout,
            max_retries=0,
            use_responses_api=False,
            http_async_client=self._http,
        )
        self._method = ""

    async def close(self) -> None:
        await self._http.aclose()

    async def understand(self, brief: Brief, *, usage: Usage | None = None) -> Understanding:
        topic = await self._ask(Topic, prompts.understand(brief), usage, _no_topic)
        return topic.model_dump()

    async def outline(
        self,
        brief: Brief,
        understanding: Understanding,
        feedback: list[str],
        previous: Outline | None,
        problems: list[str],
        *,
        usage: Usage | None = None,
    ) -> Outline:
        prompt = prompts.outline(brief, understanding, feedback, previous, problems)
        return with_slugs(await self._ask(Outline, prompt, usage, _no_outline))

    async def lesson(
        self, brief: Brief, outline: Outline, concept_key: str, *, usage: Usage | None = None
    ) -> Lesson:
        prompt = prompts.lesson(brief, outline, concept_key)
        return _with_links_that_lead_out(await self._ask(Lesson, prompt, usage, _no_lesson))

    async def _ask[Form: Plain](
        self, form: type[Form], prompt: str, usage: Usage | None, complaint: Callable[[Form], str]
    ) -> Form:
        """The form, filled in; what does not fit is sent back once."""
        usage = usage or Usage()
        messages: list[BaseMessage] = [SystemMessage(prompts.SYSTEM), HumanMessage(prompt)]
        text = await self._answer(form, messages, usage)
        try:
            return _read(form, text, complaint)
        except DoesNotFit as error:
            messages += [AIMessage(text or "(nothing)"), HumanMessage(prompts.repair(str(error)))]
        text = await self._answer(form, messages, usage)
        try:
            return _read(form, text, complaint)
        except DoesNotFit as error:
            raise AuthorError(
                f"The model's answer did not fit, and neither did its repair: {error}"
            ) from None

    async def _answer(self, form: type[Plain], messages: list[BaseMessage], usage: Usage) -> str:
        """The text of the model's answer, in the way of asking that its server takes."""
        refusals = []
        for method in (self._method,) if self._method else METHODS:
            model = self._model.with_structured_output(
                form.model_json_schema(), method=method, include_raw=True, strict=True
            )
            try:
                text = await with_retries(
                    partial(_request, model, messages, usage),
                    places=self._places,
                    timeout=self._timeout,
                    first_backoff=self._first_backoff,
                )
            except openai.BadRequestError as error:
                refusals.append(code(error))
                continue
            self._method = method
            return text
        raise AuthorError(f"The model's server does not take the request{max(refusals)}.")


async def _request(model: Runnable[Any, Any], messages: list[BaseMessage], usage: Usage) -> str:
    usage.requests += 1
    try:
        # As it is: langchain's parser would close what was cut off, and half a lesson would pass for a whole one.
        message: AIMessage = (await model.ainvoke(messages))["raw"]
    except openai.LengthFinishReasonError as error:
        if error.completion.usage:
            usage.input_tokens += error.completion.usage.prompt_tokens
            usage.output_tokens += error.completion.usage.completion_tokens
        raise AuthorError("The model's answer was cut off at its limit of tokens.") from None
    except openai.ContentFilterFinishReasonError:
        raise AuthorError("The model's server filtered the answer out.") from None
    if message.usage_metadata:
        usage.input_tokens += message.usage_metadata["input_tokens"]
        usage.output_tokens += message.usage_metadata["output_tokens"]
    if message.additional_kwargs.get("refusal"):
        raise AuthorError("The model refused to write this.")
    if message.response_metadata.get("finish_reason") == "length":
        raise AuthorError("The model's answer was cut off at its limit of tokens.")
    if message.tool_calls:
        return json.dumps(message.tool_calls[0]["args"])
    if message.invalid_tool_calls:
        return message.invalid_tool_calls[0]["args"] or ""
    return message.text


def _read[Form: Plain](form: type[Form], text: str, complaint: Callable[[Form], str]) -> Form:
    """Raises DoesNotFit."""
    text = FENCE.sub("", text)
    try:
        filled = form.model_validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        told = (": ".join([".".join(map(str, one["loc"])) or "the answer", one["msg"]]) for one in found[:5])
        raise DoesNotFit(f"{'; '.join(told)}.") from None
    if said := complaint(filled):
        raise DoesNotFit(said)
    return filled


def _no_topic(topic: Topic) -> str:
    return "" if topic.topic else "topic is empty."


def _no_outline(outline: Outline) -> str:
    return "" if outline.concepts else "the outline has no concepts."


def _no_lesson(lesson: Lesson) -> str:
    length = len(lesson.markdown)
    if SHORTEST_LESSON <= length <= LONGEST_LESSON:
        return ""
    return f"the lesson has {length} characters, and takes {SHORTEST_LESSON} to {LONGEST_LESSON}."


def slug(text: str) -> str:
    """A key made of a text; what has no Latin letter stays as it is, for the check to complain about."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_KEY].rstrip("-") or text


def with_slugs(outline: Outline) -> Outline:
    """The outline with keys as they must be; prerequisites are keys too, and change with them."""
    stages = [
        stage.model_copy(update={"concepts": [_with_slug(concept) for concept in stage.concepts]})
        for stage in outline.stages
    ]
    return outline.model_copy(update={"stages": stages})


def _with_slug(concept: Concept) -> Concept:
    return concept.model_copy(
        update={
            "key": slug(concept.key),
            "prerequisites": list(dict.fromkeys(slug(key) for key in concept.prerequisites)),
        }
    )


def _with_links_that_lead_out(lesson: Lesson) -> Lesson:
    """Without resources whose address is none of the web's, such as `javascript:`."""
    good = [one for one in lesson.resources if one.title and LINK.fullmatch(one.url)]
    return lesson.model_copy(update={"resources": good[:MOST_RESOURCES]})
