"""gunicorn's worker: uvicorn, with a lifespan that is run to its end."""

from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker


class Worker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        # Under gunicorn's `graceful_timeout`: with a stream open, the shutdown would never come otherwise.
        "timeout_graceful_shutdown": 10,
        # The client's address and scheme are read in one place of ours.
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
    }
