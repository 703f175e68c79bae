"""Settings: environment in, Django's settings out. A bad value ends the start with one sentence."""

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.csp import CSP
from django.utils.translation import gettext_lazy as _

from healthcheck.heal import check_and_heal
from roadmap import plan
from roadmap.database import database_from_url
from roadmap.environment import BadValue, Reader
from roadmap.mailers import read_email_url
from roadmap.origins import read_hosts, read_origins
from roadmap.server import role
from roadmap.server.places import DATABASE, ROLE, SOCKET_PORT, database_url, url
from waitlist.limits import BadRate, read_rate

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def required(name: str, development: str) -> str:
    """A text that production must set, and development need not.

    Raises:
        ImproperlyConfigured: it is missing in production, or empty.
    """
    value: str = env.str(name, default="" if PRODUCTION else development)
    if not value:
        raise ImproperlyConfigured(f"{name} is not set; with ENVIRONMENT={ENVIRONMENT} it must be.")
    return value


reader = Reader(
    env.ENVIRON,
    {
        "PORT": 8000,
        "WORKER_PORT": 0,
        "TRUSTED_PROXIES": 0,
        "JOIN_RATE_LIMIT": "2000/20",
        "WORKER_RUNS": 20,
        "CHECKPOINT_DAYS": 14,
        "ROADMAPS_PER_DAY": 10,
        "ROADMAPS_AT_ONCE": 3,
        "LLM_MODEL": "",
        "LLM_BASE_URL": "",
        "LLM_API_KEY": "",
        "LLM_TIMEOUT": 60,
        "LLM_MAX_CONCURRENCY": 8,
    },
)

# --- Numbers, and the plan of connections -------------------------------------------------------------------------
try:
    CONNECTION_PLAN = plan.read(env.ENVIRON)
    PORT = reader.whole("PORT", 1, 65535)
    WORKER_PORT = reader.whole("WORKER_PORT", 0, 65535)  # 0: nobody asks for the worker's health
    TRUSTED_PROXIES = reader.whole("TRUSTED_PROXIES", 0, 10)  # hops between the clients and us
    JOIN_RATE_LIMIT = read_rate(reader.text("JOIN_RATE_LIMIT"))
    WORKER_RUNS = reader.whole("WORKER_RUNS", 1, 1000)  # at once, in each process of the worker
    CHECKPOINT_DAYS = reader.whole(
        "CHECKPOINT_DAYS", 1, 3650
    )  # for runs that failed or that nobody went on with
    ROADMAPS_PER_DAY = reader.whole("ROADMAPS_PER_DAY", 1)  # that one person may start within 24 hours
    ROADMAPS_AT_ONCE = reader.whole("ROADMAPS_AT_ONCE", 1)  # of one person that are not finished
    # The model that writes roadmaps, on any server that speaks OpenAI's chat protocol; none: the built-in catalogue.
    LLM_MODEL = reader.text("LLM_MODEL").strip()
    LLM_BASE_URL = reader.address("LLM_BASE_URL")  # empty: OpenAI's own
    LLM_API_KEY = reader.text("LLM_API_KEY").strip()
    LLM_TIMEOUT = reader.seconds("LLM_TIMEOUT")  # for one answer
    LLM_MAX_CONCURRENCY = reader.whole("LLM_MAX_CONCURRENCY", 1, 1000)  # requests of one process at once
    # In development e-mail is printed; production without an address sends none.
    console = "" if CONNECTION_PLAN.environment == "production" else "console:"
    MAILERS, DEFAULT_FROM_EMAIL = read_email_url(env.str("EMAIL_URL", default=console))
except (BadValue, BadRate) as error:
    raise ImproperlyConfigured(str(error)) from None
ENVIRONMENT = CONNECTION_PLAN.environment
PRODUCTION = ENVIRONMENT == "production"
PROCESS_ROLE = role.current
APPLICATION_NAME = "roadmap_agent"  # the first part of every connection's name on the server

# In development the private database of `make run`; before the first one, the address names where it will be.
private = database_url(BASE_DIR) or url(DATABASE, ROLE, BASE_DIR / ".data" / "postgres", SOCKET_PORT)
DATABASES = {
    "default": database_from_url(
        required("DATABASE_URL", private), CONNECTION_PLAN, PROCESS_ROLE, APPLICATION_NAME
    )
}
if PROCESS_ROLE != "command":
    # A one-off command with a pool would open `min_size` connections for a single query.
    orm = CONNECTION_PLAN.role(PROCESS_ROLE).pool("orm")
    DATABASES["default"]["OPTIONS"]["pool"] = {
        "name": "orm",
        "min_size": orm.min,
        "max_size": orm.max,
        "timeout": orm.timeout,
        "max_lifetime": CONNECTION_PLAN.timeouts.max_lifetime,
        # A short one: the pool then grows again as soon as somebody asks, or the watch sees the server back,
        # instead of at the end of a back-off that doubles.
        "reconnect_timeout": 1,
        "check": check_and_heal,
    }

# --- Security ------------------------------------------------------------------------------------------
DEBUG = False  # in development too: what one sees there is what visitors get
SECRET_KEY = required(
    "SECRET_KEY", "for development on this machine only; production refuses to start without its own"
)
try:
    ALLOWED_HOSTS = read_hosts(
        "ALLOWED_HOSTS", required("ALLOWED_HOSTS", "localhost,.localhost,127.0.0.1,[::1]")
    )
    CSRF_TRUSTED_ORIGINS = read_origins(
        "CSRF_TRUSTED_ORIGINS", env.list("CSRF_TRUSTED_ORIGINS", default=[]), wildcards=True
    )
    CORS_ALLOWED_ORIGINS = read_origins("CORS_ALLOWED_ORIGINS", env.list("CORS_ALLOWED_ORIGINS", default=[]))
except BadValue as error:
    raise ImproperlyConfigured(str(error)) from None
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "object-src": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
    "form-action": [CSP.SELF],
}
X_FRAME_OPTIONS = "DENY"
SESSION_ENGINE = "roadmap.sessions"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
CSRF_FAILURE_VIEW = "roadmap.errors.csrf_failure"  # Django's own page has styles that the policy forbids
LOGIN_URL, LOGIN_REDIRECT_URL = "/accounts/login/", "/roadmaps/"
PASSWORD_HASHERS = ["roadmap.server.hashers.Hasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# --- Applications ------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "roadmap",
    "waitlist",
    "healthcheck",
    "procrastinate.contrib.django",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "roadmap.urls"
ASGI_APPLICATION = "roadmap.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024

# --- Languages, files, log -----------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "servestatic.storage.CompressedManifestStaticFilesStorage"},
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line"},
        "faults": {"class": "healthcheck.faults.PoolLogHandler", "level": "WARNING"},
    },
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        # Refused and failed connects reach nobody but this logger.
        "psycopg.pool": {"handlers": ["faults"], "level": "WARNING", "propagate": False},
        "django.server": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},  # a line for each request to the model
        "procrastinate": {"level": "WARNING"},  # a line or two for each job, and none of them news
    },
}
