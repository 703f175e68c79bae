"""What `roadmap.server` leans on of the frameworks' insides; a new version that changes one of these fails here."""

import inspect

import pytest
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import connections
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from uvicorn_worker import UvicornWorker

from roadmap.server.django_pages import Handler

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
