"""Who answers for a path is found once; paths that are long are not kept, whoever asks for thousands of them."""

from typing import Any

from tests.inside import inside

PATHS = {
    "/": "lane",
    "/api/v1/waitlist": "lane",
    "/health/live": "health",
    "/admin/": "pages",
    "/api/v1/roadmaps": "pages",
    "/api/v1/roadmaps/00000000-0000-0000-0000-000000000000/events": "streams",
    "/nothing": "pages",
}


async def ask_for_many(arguments: dict[str, Any]) -> dict[str, Any]:
    from healthcheck import views as health
    from roadmap import asgi
    from roadmap.runs import streams

    names = {
        id(asgi.lane): "lane",
        id(asgi.pages): "pages",
        id(streams.application): "streams",
        id(health.application): "health",
    }
    found = {path: names[id(asgi.destination(path))] for path in PATHS}
    before = asgi.kept_destination.cache_info().currsize
    for number in range(100):
        assert asgi.destination(f"/{'x' * 1000}{number}") is asgi.pages
    return {"found": found, "more": asgi.kept_destination.cache_info().currsize - before}


def test_every_path_has_its_place_and_long_ones_are_not_kept(database):
    assert inside("web", database, ask_for_many) == {"found": PATHS, "more": 0}
