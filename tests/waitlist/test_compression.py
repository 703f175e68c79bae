"""The pages go compressed to who takes gzip, and to nobody else; what is known is not sent at all."""

import gzip

import pytest

from tests.client import Answer, Client, run
from waitlist.rules import accepts_gzip

VARY = "Accept-Language, Accept-Encoding"
ACCEPTED = {
    "gzip": True,
    "GZip": True,
    "gzip, deflate, br, zstd": True,
    "br;q=1.0, gzip;q=0.8, *;q=0.1": True,
    "deflate , gzip ; q=0.001": True,
    "gzip;q=1": True,
    "gzip;q=1.000": True,
    "*": True,
    "br, *;q=0.5": True,
    "": False,
    "identity": False,
    "br": False,
    "gzip;q=0": False,
    "gzip; q=0.000": False,
    "gzip;Q=0": False,
    "gzip;q=0, *": False,
    "*;q=0": False,
    "br, gzip;q=0, deflate": False,
    "gzip;q=": False,
    "gzip;q=much": False,
    "gzip;q=-1": False,
    "gzip;q=2": False,
    "xgzip": False,
    "gzip-but-not-quite": False,
    "not gzip": False,
    "gzip" + " " * 500: False,  # nobody's header is that long; it is not looked at
}


def ask(web, method: str = "GET", path: str = "/", **headers: str) -> Answer:
    async def one() -> Answer:
        async with Client(web.url) as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, b"", named)

    return run(one())


@pytest.mark.parametrize("header", ACCEPTED)
def test_gzip_goes_to_who_takes_it(module_web, header):
    assert accepts_gzip(header.encode()) == ACCEPTED[header]
    answer = ask(module_web, Accept_Encoding=header)
    assert answer.headers.get("content-encoding") == ("gzip" if ACCEPTED[header] else None)
    assert answer.headers["vary"] == VARY


@pytest.mark.parametrize("path", ["/", "/thanks"])
@pytest.mark.parametrize("language", ["en", "de"])
def test_both_forms_are_the_same_page(module_web, path, language):
    plain = ask(module_web, path=path, Accept_Language=language)
    compressed = ask(module_web, path=path, Accept_Language=language, Accept_Encoding="gzip")
    assert gzip.decompress(compressed.body) == plain.body
    assert len(compressed.body) < len(plain.body) / 2
    assert compressed.headers["etag"] == plain.headers["etag"], "one page, so one weak ETag"
    assert plain.headers["etag"].startswith('W/"')


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_a_head_tells_of_the_form_that_a_get_would_bring(module_web, accepted):
    got, asked = (ask(module_web, method, Accept_Encoding=accepted) for method in ("GET", "HEAD"))
    assert asked.body == b""
    assert asked.headers | {"date": ""} == got.headers | {"date": ""}
    assert int(asked.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_known_in_one_form_is_known_in_the_other(module_web, method):
    etag = ask(module_web, Accept_Encoding="gzip").headers["etag"]
    for accepted in ("gzip", "identity"):
        answer = ask(module_web, method, Accept_Encoding=accepted, If_None_Match=etag)
        assert (answer.status, answer.body) == (304, b"")
        assert (answer.headers["etag"], answer.headers["vary"]) == (etag, VARY)
        assert "content-encoding" not in answer.headers
        assert "content-length" not in answer.headers


def test_a_join_is_never_compressed(module_web):
    async def join() -> Answer:
        async with Client(module_web.url) as client:
            headers = {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
            return await client.request("POST", "/api/v1/waitlist", b'{"email": "ada@example.com"}', headers)

    answer = run(join())
    assert answer.status == 202
    assert "content-encoding" not in answer.headers
