"""ApacheBench posts a thousand joins: none fails, and the last are answered as fast as the first."""

import asyncio
import shutil
import statistics
from pathlib import Path

import pytest

from tests.client import run
from tests.proxy import Proxy
from tests.service import query

pytestmark = pytest.mark.alone

pytestmark = pytest.mark.skipif(shutil.which("ab") is None, reason="ab (apache2-utils) is not installed")

BODIES = {
    "/": ("application/x-www-form-urlencoded", b"email=ada%40example.com&source=ab&website="),
    "/api/v1/waitlist": ("application/json", b'{"email": "ada@example.com", "source": "ab"}'),
}


async def post_a_thousand(port: int, path: str, folder: Path) -> tuple[str, list[float]]:
    """What ab says, and the seconds that each request took, in the order in which they were sent.

    ab makes a connection for each request and keeps their order to itself: a proxy takes the times.
    """
    content_type, body = BODIES[path]
    await asyncio.to_thread((folder / "body").write_bytes, body)
    async with Proxy("127.0.0.1", port).running() as proxy:
        url = f"http://127.0.0.1:{proxy.own_port}{path}"
        arguments = ["-q", "-n", "1000", "-c", "50", "-p", str(folder / "body"), "-T", content_type, url]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("ab", *arguments, stdout=pipe, stderr=pipe)
        output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    # Towards the end ab opens a few connections that it then has no request for.
    return output.decode(), [seconds for seconds in proxy.seconds[:1000] if seconds is not None]


@pytest.mark.parametrize(("path", "success"), [("/", 303), ("/api/v1/waitlist", 202)])
def test_a_thousand_posts_by_ab_all_succeed_and_do_not_get_slower(path, success, web, database, tmp_path):
    ratios = []
    # What grows with the requests before it shows in every run, another program's work on this machine in one.
    while len(ratios) < 3 and (not ratios or min(ratios) > 1.5):
        said, seconds = run(post_a_thousand(web.port, path, tmp_path))
        assert "Complete requests:      1000\n" in said
        assert "Failed requests:        0\n" in said
        # ab counts every answer but 2xx, and the page's is a redirect.
        assert ("Non-2xx responses:      1000\n" in said) == (success == 303)
        assert ("Non-2xx" in said) == (success == 303)
        assert len(seconds) == 1000
        ratios.append(statistics.median(seconds[-100:]) / statistics.median(seconds[:100]))
    assert min(ratios) <= 1.5, f"last tenth to first, by their medians: {ratios}"
    assert query(database.url, "SELECT normalised FROM waitlist_entry") == [("ada@example.com",)]
