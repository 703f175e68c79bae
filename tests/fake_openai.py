"""A server on loopback that speaks OpenAI's chat protocol, and misbehaves as it is told.

    python -m tests.fake_openai --port 0

prints its port, alone on the first line, and serves until it is ended; `tests.fake_openai_process` starts it. Inside a
test's own loop: `async with FakeOpenAI().running()`.

What it writes follows from what it is asked: an outline of `stages` × `concepts`, each concept after the first needing
the one before it; a lesson that names its concept. Over HTTP:

    GET  /control/asked     {"requests", "answered", "at_once", "steps": {step: n}, "lessons": {"<goal>/<key>": n}}
    POST /control/settings  {"delay": seconds, "stages": n, "concepts": n, "hours": n, "only_tools": bool}
    POST /control/faults    [{"kind": …, "times": n or null for ever, "step": …, "concept": …, "goal": …, …}]
    POST /control/reset     counts, faults and settings as at the start

A fault is for the requests that match its `step` (understand, outline, lesson), `concept` and `goal`, where it has
them; the first that matches is used up `times` times. A request is counted when it comes, whatever becomes of it.

    status     answers `status` with `retry_after` (text) and `code`, where given
    stall      sends nothing for `seconds` (3600)        drip    sends a byte now and then for `seconds`
    cut        closes the connection unanswered          half    closes it in the middle of the answer
    html       200 with a page instead of JSON           no_choices   200 with JSON that is no chat
    broken     an answer that is no JSON                 cut_json     JSON that ends in the middle
    misfit     JSON that does not fit the schema         length  cut off at the limit of tokens
    refusal    the model declines                        circle  an outline whose prerequisites go in a circle
    short      a lesson of three words                   bad_links    a lesson with resources that lead nowhere good
    fenced     the right answer between ```json and ```
    unstorable a lesson with a NUL and half a character in it
"""

import argparse
import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

STEPS = {"Topic": "understand", "Outline": "outline", "Lesson": "lesson"}
TOKENS = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}  # of every answer


def data_of(prompt: str, name: str) -> Any:
    """What the prompt has in the block `name`."""
    found = re.search(rf"^{name}:\n<data>\n(.*?)\n</data>", prompt, re.DOTALL | re.MULTILINE)
    return json.loads(found[1]) if found else None


@dataclass
class Asked:
    """One request, as far as it matters here."""

    step: str
    goal: str
    concept: str
    feedback: list[str]
    tool: bool
    schema: str

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Asked":
        prompt = next(one["content"] for one in body["messages"] if one["role"] == "user")
        if form := body.get("response_format"):
            schema = form["json_schema"]["name"]
        else:
            schema = body["tools"][0]["function"]["name"]
        wanted = data_of(prompt, "What the person wants")
        concept = data_of(prompt, "The concept to write about") or {"key": ""}
        feedback = data_of(prompt, "What the person said about it, the oldest first") or []
        return cls(STEPS[schema], wanted["goal"], concept["key"], feedback, not form, schema)


@dataclass
class FakeOpenAI:
    delay: float = 0.0
    stages: int = 2
    concepts: int = 3
    hours: float = 0.5  # of each concept
    only_tools: bool = False
    faults: list[dict[str, Any]] = field(default_factory=list)
    requests: int = 0
    answered: int = 0
    busy: int = 0
    at_once: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    lessons: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)  # the last hundred
    came: asyncio.Event = field(default_factory=asyncio.Event)  # a first request
    port: int = 0
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def fault(self, kind: str, times: int | None = 1, **rest: Any) -> None:
        self.faults.append({"kind": kind, "times": times, **rest})

    @contextlib.asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["FakeOpenAI"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()

    # --- HTTP --------------------------------------------------------------------------------------------
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
                length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                await self._answer(method, path, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client has gone
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        match method, path:
            case "POST", "/v1/chat/completions":
                self.busy += 1
                self.at_once = max(self.at_once, self.busy)
                try:
                    await self._chat(json.loads(body), writer)
                finally:
                    self.busy -= 1
            case "GET", "/control/asked":
                await send(writer, 200, self.asked())
            case "POST", "/control/settings":
                self.__dict__.update(json.loads(body))
                await send(writer, 200, {})
            case "POST", "/control/faults":
                self.faults += json.loads(body)
                await send(writer, 200, {})
            case "POST", "/control/reset":
                fresh = FakeOpenAI(port=self.port, busy=self.busy, _open=self._open)
                self.__dict__.update(fresh.__dict__)
                await send(writer, 200, {})
            case _:
                await send(writer, 404, {"error": {"message": f"no {method} {path}"}})

    def asked(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("requests", "answered", "at_once", "steps", "lessons")}

    # --- The chat ----------------------------------------------------------------------------------------
    async def _chat(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.bodies = [*self.bodies[-99:], body]
        self.requests += 1
        self.came.set()
        if self.only_tools and "response_format" in body:
            message = "'response_format' of this type is not supported"
            return await send(writer, 400, {"error": {"message": message, "code": "unsupported_value"}})
        asked = Asked.of(body)
        self.steps[asked.step] += 1
        if asked.step == "lesson":
            self.lessons[f"{asked.goal}/{asked.concept}"] += 1
        fault = self._fault(asked)
        await asyncio.sleep(self.delay)
        answer = json.dumps(self._write(asked, fault.get("kind")))
        extra: dict[str, Any] = {}
        finish = "stop"
        match fault.get("kind"):
            case "status":
                error = {"message": "sk-secret is at its limit in org-secret", "code": fault.get("code")}
                headers = {"Retry-After": fault["retry_after"]} if "retry_after" in fault else {}
                return await send(writer, fault["status"], {"error": error}, headers)
            case "stall":
                await asyncio.sleep(fault.get("seconds", 3600))
            case "drip":
                return await drip(writer, fault["seconds"])
            case "cut":
                return writer.transport.abort()
            case "half":
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
                )
                await writer.drain()
                return writer.close()
            case "html":
                return await send(writer, 200, "<html>The gateway says hello", {"Content-Type": "text/html"})
            case "no_choices":
                return await send(writer, 200, {"object": "chat.completion", "id": "1", "choices": []})
            case "broken":
                answer = 'Certainly! {"title": '
            case "cut_json":
                answer = answer[: len(answer) * 2 // 3]
            case "misfit":
                answer = json.dumps({"title": 7, "lesson": "no"})
            case "length":
                answer, finish = answer[: len(answer) // 2], "length"
            case "refusal":
                answer, extra = "", {"refusal": "I cannot help with that."}
            case "fenced":
                answer = f"```json\n{answer}\n```"
        self.answered += 1
        message = {"role": "assistant", "content": answer, **extra}
        if asked.tool:
            call = {
                "id": "call_1",
                "type": "function",
                "function": {"name": asked.schema, "arguments": answer},
            }
            message = {"role": "assistant", "content": None, "tool_calls": [call], **extra}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        completion = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
        return await send(writer, 200, {**completion, "choices": [choice], "usage": TOKENS})

    def _fault(self, asked: Asked) -> dict[str, Any]:
        for fault in self.faults:
            if all(fault.get(name) in (None, getattr(asked, name)) for name in ("step", "concept", "goal")):
                if fault.get("times", 1) is not None:
                    fault["times"] = fault.get("times", 1) - 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                return fault
        return {}

    def _write(self, asked: Asked, kind: str | None) -> dict[str, Any]:
        match asked.step:
            case "understand":
                return {
                    "topic": f"The topic of {asked.goal}",
                    "outcome": "One can do it.",
                    "assumed": ["reading"],
                }
            case "outline":
                return self.outline(asked.goal, asked.feedback, circle=kind == "circle")
            case _:
                links = [{"title": "The reference", "url": f"https://example.com/{asked.concept}"}]
                if kind == "bad_links":
                    links += [
                        {"title": "x", "url": url} for url in ("javascript:alert(1)", "example.com", "")
                    ]
                text = f"What there is to know about {asked.concept}. " * 10 + "\n\n## Exercise\n\nDo it."
                if kind == "unstorable":
                    text += " \x00\ud83d"
                return {"markdown": "Much too short" if kind == "short" else text, "resources": links}

    def outline(self, goal: str, feedback: Sequence[str] = (), *, circle: bool = False) -> dict[str, Any]:
        numbers = range(1, self.stages * self.concepts + 1)
        concepts = [
            {
                "key": f"c{number}",
                "title": f"Concept {number}",
                "summary": f"What number {number} is.",
                "hours": self.hours,
                "prerequisites": [f"c{number - 1}"] if number > 1 else [f"c{numbers[-1]}"] if circle else [],
            }
            for number in numbers
        ]
        stages = [
            {
                "title": f"Stage {number + 1}",
                "summary": f"The stage number {number + 1}.",
                "concepts": concepts[number * self.concepts : (number + 1) * self.concepts],
            }
            for number in range(self.stages)
        ]
        said = "".join(f" As said: {text}" for text in feedback)
        return {"title": f"A roadmap for {goal}", "summary": f"All of it.{said}", "stages": stages}


async def send(
    writer: asyncio.StreamWriter, status: int, answer: object, headers: dict[str, str] | None = None
) -> None:
    body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"HTTP/1.1 {status} So\r\n{head}\r\n".encode() + body)
    await writer.drain()


async def drip(writer: asyncio.StreamWriter, seconds: float) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(int(seconds / 0.05)):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def serve(port: int) -> None:
    async with FakeOpenAI().running(port) as fake:
        print(fake.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
