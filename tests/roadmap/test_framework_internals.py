"""What `roadmap.server` leans on of the frameworks' insides; a new version that changes one of these fails here."""

import inspect
import re
import signal

import psycopg_pool
import pytest
from django.contrib.staticfiles.storage import staticfiles_storage
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.utils.log import log_response
from gunicorn.arbiter import Arbiter
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn_worker import UvicornWorker

from roadmap.server.django_pages import Handler
from roadmap.server.http import Cycle

SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/nowhere",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
    "scheme": "http",
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 8000),
}


def test_django_makes_a_sync_chain_of_middleware_that_one_call_runs():
    assert list(inspect.signature(BaseHandler.load_middleware).parameters) == ["self", "is_async"]
    handler = Handler()
    assert not inspect.iscoroutinefunction(handler._middleware_chain)
    response = handler.respond(dict(SCOPE), b"")
    assert response.status_code == 404


def test_django_makes_a_request_from_an_asgi_scope_or_the_answer_when_there_can_be_none():
    request, refusal = ASGIHandler.create_request(Handler(), dict(SCOPE), None)
    assert (type(request), refusal) == (ASGIRequest, None)
    assert request.scope["path"] == "/nowhere"
    request, refusal = ASGIHandler.create_request(Handler(), {**SCOPE, "query_string": b"\xff"}, None)
    assert (request, refusal.status_code) == (None, 400)


@pytest.mark.django_db(transaction=True)
def test_closing_a_response_gives_the_threads_connection_back():
    response = Handler().respond(dict(SCOPE), b"")
    connections["default"].ensure_connection()
    response.close()
    assert connections["default"].connection is None


@pytest.mark.django_db(transaction=True)
def test_a_wrapper_shows_psycopgs_own_connection_while_its_thread_has_one():
    wrapper = connections["default"]
    wrapper.ensure_connection()
    assert callable(wrapper.connection.cancel_safe)
    wrapper.close()
    assert wrapper.connection is None


def test_a_pool_marks_a_connection_as_its_own_before_it_checks_it():
    for pool in (ConnectionPool, AsyncConnectionPool):
        source = inspect.getsource(pool._getconn_unchecked)
        assert "conn._pool = self" in source
        assert "_getconn_unchecked" in inspect.getsource(pool._getconn_with_check_loop)


def test_a_pool_that_is_told_to_check_grows_again_when_it_has_lost_all():
    for pool in (ConnectionPool, AsyncConnectionPool):
        assert "_maybe_grow_pool()" in inspect.getsource(pool.check)


def test_uvicorns_worker_takes_our_settings_over_its_own():
    source = inspect.getsource(UvicornWorker.__init__)
    assert source.index('"forwarded_allow_ips"') < source.index("config_kwargs.update(self.CONFIG_KWARGS)")


def names_set(function: object) -> set[str]:
    """The attributes of `self` that a function sets."""
    return set(re.findall(r"^\s+self\.(\w+)(?:: [^=]+)? = ", inspect.getsource(function), re.MULTILINE))


def test_a_cycle_of_ours_has_every_attribute_of_uvicorns():
    own, unused = {"loop", "_news", "_reader", "_head"}, {"access_logger", "message_event"}
    assert names_set(Cycle.__init__) - own == names_set(RequestResponseCycle.__init__) - unused
    assert not {"access_logger", "loop"} & set(
        re.findall(
            r"self\.(\w+)", inspect.getsource(RequestResponseCycle.send).split("if self.access_log:")[0]
        )
    )


def test_uvicorns_protocol_has_the_callbacks_that_ours_replaces_and_no_others():
    callbacks = {name for name in vars(HttpToolsProtocol) if name.startswith("on_")}
    assert callbacks == {
        "on_message_begin",
        "on_url",
        "on_header",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
    }
    assert names_set(HttpToolsProtocol.on_message_begin) == {"url", "expect_100_continue", "headers", "scope"}
    for callback in (HttpToolsProtocol.on_body, HttpToolsProtocol.on_message_complete):
        assert "self.cycle.response_complete" in inspect.getsource(callback)
        assert "self.cycle.message_event.set()" in inspect.getsource(callback)


def test_uvicorns_worker_serves_as_ours_does():
    lines = [line.strip() for line in inspect.getsource(UvicornWorker._serve).splitlines()]
    assert "self._install_sigquit_handler()" in lines
    assert "await server.serve(sockets=self.sockets)" in lines
    assert "sys.exit(Arbiter.WORKER_BOOT_ERROR)" in lines


def test_gunicorn_follows_the_signals_that_are_taken_from_it():
    for name in ("TTIN", "HUP", "USR2"):
        assert callable(getattr(Arbiter, f"handle_{name.lower()}"))
        assert getattr(signal, f"SIG{name}") in Arbiter.SIGNALS


def test_djangos_handler_does_no_more_at_its_start_than_ours():
    lines = [line.strip() for line in inspect.getsource(ASGIHandler.__init__).splitlines()]
    assert lines[1:] == ["super().__init__()", "self.load_middleware(is_async=True)"]


def test_djangos_parameters_for_a_connection_have_two_of_its_own():
    kwargs = connections["default"].get_connection_params()
    assert {"cursor_factory", "context"} <= set(kwargs)


def test_a_pool_says_in_its_log_why_it_cannot_connect_and_what_it_drops():
    for module in (psycopg_pool.pool, psycopg_pool.pool_async):
        source = inspect.getsource(module)
        assert '"error connecting in %r: %s"' in source
        assert '"discarding' in source


def test_an_error_that_django_has_logged_is_marked():
    assert "_has_been_logged" in inspect.getsource(log_response)


def test_the_storage_lists_what_collectstatic_has_collected():
    assert "roadmap/site.css" in staticfiles_storage.hashed_files
