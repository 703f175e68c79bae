"""The files that our own pages load, served from memory; all others (the admin's) are servestatic's.

servestatic starts a thread for each file that it sends, which costs more than a whole visit to the landing page.
"""

import gzip
import mimetypes
from pathlib import Path

from django.contrib.staticfiles.storage import staticfiles_storage

from healthcheck.asgi import Receive, Scope, Send
from waitlist.rules import accepts_gzip

OWN = ("roadmap/", "waitlist/")  # folders of the static files
HEADERS = (
    # The name changes with the content.
    (b"cache-control", b"public, max-age=31536000, immutable"),
    (b"vary", b"Accept-Encoding"),
    (b"x-content-type-options", b"nosniff"),
)
NOT_ALLOWED = {
    "type": "http.response.start",
    "status": 405,
    "headers": ((b"allow", b"GET, HEAD"), (b"content-length", b"0"), (b"x-content-type-options", b"nosniff")),
}


class Asset:
    """One file, plain and compressed, as whole messages of ASGI."""

    def __init__(self, path: Path):
        content = path.read_bytes()
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.plain = messages(content, kind, [])
        # mtime=0: the same bytes from every process.
        self.compressed = messages(gzip.compress(content, 9, mtime=0), kind, [(b"content-encoding", b"gzip")])


def messages(
    content: bytes, kind: str, more: list[tuple[bytes, bytes]]
) -> tuple[dict[str, object], dict[str, object]]:
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    headers = (
        (b"content-type", f"{kind}{charset}".encode()),
        (b"content-length", str(len(content)).encode()),
        *more,
        *HEADERS,
    )
    return (
        {"type": "http.response.start", "status": 200, "headers": headers},
        {"type": "http.response.body", "body": content},
    )


class Assets:
    """An ASGI application for our own collected files, by the path that pages name them with."""

    def __init__(self) -> None:
        listed: dict[str, str] = staticfiles_storage.hashed_files  # type: ignore[attr-defined]  # by collectstatic
        self.by_path = {
            staticfiles_storage.url(name): Asset(Path(staticfiles_storage.path(hashed)))
            for name, hashed in listed.items()
            if name.startswith(OWN)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asset = self.by_path[scope["path"]]
        if scope["method"] not in ("GET", "HEAD"):
            await send(NOT_ALLOWED)
            await send({"type": "http.response.body", "body": b""})
            return
        accepted = next((value for name, value in scope["headers"] if name == b"accept-encoding"), b"")
        start, body = asset.compressed if accepts_gzip(accepted) else asset.plain
        await send(start)
        await send(body if scope["method"] == "GET" else {"type": "http.response.body", "body": b""})
