"""Stock Django on its own ASGIHandler; its files are served as the service serves them."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.load.peers.stock_settings"

from django.core.asgi import get_asgi_application  # the settings come first

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402
from servestatic import ServeStaticASGI  # noqa: E402

app = ServeStaticASGI(
    django_application, root=settings.STATIC_ROOT, prefix=settings.STATIC_URL, allow_all_origins=False
)
