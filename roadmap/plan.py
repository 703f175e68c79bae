"""The plan of connections: environment in, sizes out. Plain arithmetic; nothing here asks a server.

Sizes are given for one instance of a role and shared out over its processes, rounded down. What really
results is counted, so `WEB_CONCURRENCY` changes the sum only by what each process needs of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from roadmap.environment import MOST, BadValue, Reader

# Every number of the plan: (production, development). A variable of the same name overrides one cell.
DEFAULTS: dict[str, tuple[int, int]] = {
    "DB_POOL_MIN_SIZE": (40, 10),
    "DB_POOL_MAX_SIZE": (100, 30),
    "WORKER_DB_POOL_MIN_SIZE": (8, 2),
    "WORKER_DB_POOL_MAX_SIZE": (20, 6),
    "CHECKPOINTER_POOL_MIN_SIZE": (2, 1),
    "CHECKPOINTER_POOL_MAX_SIZE": (10, 5),
    "WEB_CHECKPOINTER_POOL_MAX_SIZE": (2, 1),
    "JOBS_POOL_MAX_SIZE": (4, 2),
    "JOINS_POOL_MAX_SIZE": (2, 1),
    "COMMAND_CONNECTIONS": (2, 2),
    "DB_POOL_TIMEOUT": (60, 30),
    "CHECKPOINTER_POOL_TIMEOUT": (60, 30),
    "JOBS_POOL_TIMEOUT": (60, 30),
    "DB_POOL_MAX_LIFETIME": (1800, 1800),
    "DB_CONNECT_TIMEOUT": (60, 30),
    "DB_KEEPALIVES": (1, 1),
    "DB_KEEPALIVES_IDLE": (30, 30),
    "DB_KEEPALIVES_INTERVAL": (10, 10),
    "DB_KEEPALIVES_COUNT": (5, 5),
    "DB_TCP_USER_TIMEOUT": (20, 20),
    "DB_STATEMENT_TIMEOUT": (120, 120),
    "DB_IDLE_IN_TRANSACTION_TIMEOUT": (60, 60),
    "DB_LOCK_TIMEOUT": (10, 10),
    "DB_CLIENT_CHECK_INTERVAL": (2, 2),
    "JOIN_DEADLINE": (2, 2),
    "PAGE_DEADLINE": (5, 5),
    "ORM_THREADS": (8, 8),
    "DB_CONNECTIONS_RESERVE": (20, 2),
    "WEB_INSTANCES": (1, 1),
    "WEB_CONCURRENCY": (1, 1),
    "WORKER_INSTANCES": (1, 1),
    "WORKER_PROCESSES": (1, 1),
    "DEPLOY_SURGE": (0, 0),
}
THRESHOLDS = {"DB_CONNECTIONS_WARN": "75%", "DB_CONNECTIONS_CRITICAL": "90%"}
ENVIRONMENTS = ("production", "development")


@dataclass(frozen=True)
class PoolSize:
    """The sizes of one pool in one process.

    Attributes:
        min, max: connections kept open, and open at most.
        timeout: seconds that a caller waits for one.
    """

    name: str
    min: int
    max: int
    timeout: float


@dataclass(frozen=True)
class Role:
    """A kind of process, and what each one of it may open."""

    name: str
    instances: int
    processes: int  # of one instance
    pools: tuple[PoolSize, ...]
    outside: tuple[str, ...]  # connections of each process that are in no pool, by name

    @property
    def per_process(self) -> int:
        return sum(pool.max for pool in self.pools) + len(self.outside)

    @property
    def connections(self) -> int:
        return self.instances * self.processes * self.per_process

    def pool(self, name: str) -> PoolSize:
        return next(pool for pool in self.pools if pool.name == name)

    def describe(self) -> str:
        """One process's connections in a line, as the log and the documents give them."""
        sizes = [f"{p.name} {p.min}–{p.max}" for p in self.pools]
        return ", ".join(sizes + [f"{name} 1" for name in self.outside])


@dataclass(frozen=True)
class Threshold:
    """A line that the connections open on the server may not pass: a number, or a share of `max_connections`."""

    number: int
    is_share: bool

    def of(self, max_connections: int) -> int:
        return max_connections * self.number // 100 if self.is_share else self.number


@dataclass(frozen=True)
class Timeouts:
    """How long a connection and what runs on it may take, in seconds; on the server's side 0 means without end."""

    connect: int
    max_lifetime: float
    keepalives: int
    keepalives_idle: int
    keepalives_interval: int
    keepalives_count: int
    tcp_user: float
    statement: float
    idle_in_transaction: float
    lock: float
    client_check: float


@dataclass(frozen=True)
class Plan:
    """The plan of one deployment: every process of it reads the same variables."""

    environment: str
    web: Role
    worker: Role
    commands: int
    reserve: int
    surge: int
    warn: Threshold
    critical: Threshold
    timeouts: Timeouts
    orm_threads: int  # of each web process
    join_deadline: float  # seconds
    page_deadline: float  # seconds
    source: Mapping[str, str]

    @property
    def roles(self) -> tuple[Role, Role]:
        return (self.web, self.worker)

    @property
    def steady(self) -> int:
        """The most connections that the service has open while nothing is being deployed."""
        return sum(role.connections for role in self.roles) + self.commands

    def role(self, name: str) -> Role:
        return {"web": self.web, "worker": self.worker}[name]

    def what_if(self, changes: Mapping[str, str]) -> "Plan":
        """The same plan with other values.

        Raises:
            BadValue: a name that the plan does not know, or a value that it does not take.
        """
        for name, value in changes.items():
            if name not in DEFAULTS and name not in THRESHOLDS and name != "ENVIRONMENT":
                raise BadValue(name, value, "nothing: the plan of connections has no such variable")
        return read({**self.source, **changes})


def read(environ: Mapping[str, str]) -> Plan:
    """The plan that an environment describes.

    Raises:
        BadValue: with one sentence for the first variable that is off.
    """
    environment = environ.get("ENVIRONMENT", "development")
    if environment not in ENVIRONMENTS:
        raise BadValue("ENVIRONMENT", environment, "production or development")
    column = ENVIRONMENTS.index(environment)
    reader = Reader(environ, {**{name: cells[column] for name, cells in DEFAULTS.items()}, **THRESHOLDS})
    web_processes = reader.whole("WEB_CONCURRENCY", least=1)
    worker_processes = reader.whole("WORKER_PROCESSES", least=1)

    db_min, db_max = pair(reader, "DB_POOL_MIN_SIZE", "DB_POOL_MAX_SIZE")
    worker_min, worker_max = pair(reader, "WORKER_DB_POOL_MIN_SIZE", "WORKER_DB_POOL_MAX_SIZE")
    within("WORKER_DB_POOL_MIN_SIZE", worker_min, "DB_POOL_MIN_SIZE", db_min)
    within("WORKER_DB_POOL_MAX_SIZE", worker_max, "DB_POOL_MAX_SIZE", db_max - 1)
    if db_min - worker_min > db_max - worker_max:
        raise BadValue(
            "WORKER_DB_POOL_MAX_SIZE",
            worker_max,
            f"at most {db_max - db_min + worker_min}, so that the web's share ({db_max - worker_max}) "
            f"is not under the {db_min - worker_min} that it keeps open",
        )

    saver_min, saver_max = pair(reader, "CHECKPOINTER_POOL_MIN_SIZE", "CHECKPOINTER_POOL_MAX_SIZE")
    web_saver_max = reader.whole("WEB_CHECKPOINTER_POOL_MAX_SIZE", least=1)
    within("WEB_CHECKPOINTER_POOL_MAX_SIZE", web_saver_max, "CHECKPOINTER_POOL_MAX_SIZE", saver_max - 1)
    within(
        "CHECKPOINTER_POOL_MIN_SIZE",
        saver_min,
        "the worker's share of the maximum",
        saver_max - web_saver_max,
    )

    orm_timeout = reader.seconds("DB_POOL_TIMEOUT")
    saver_timeout = reader.seconds("CHECKPOINTER_POOL_TIMEOUT")
    join_deadline = reader.seconds("JOIN_DEADLINE")
    web = Role(
        "web",
        reader.whole("WEB_INSTANCES", least=1),
        web_processes,
        (
            share("orm", db_min - worker_min, db_max - worker_max, web_processes, orm_timeout),
            share("checkpointer", 0, web_saver_max, web_processes, saver_timeout),
            PoolSize("joins", 1, reader.whole("JOINS_POOL_MAX_SIZE", least=1), join_deadline),
        ),
        ("watch",),
    )
    jobs_max = reader.whole("JOBS_POOL_MAX_SIZE", least=1)
    worker = Role(
        "worker",
        reader.whole("WORKER_INSTANCES", least=1),
        worker_processes,
        (
            share("orm", worker_min, worker_max, worker_processes, orm_timeout),
            share("checkpointer", saver_min, saver_max - web_saver_max, worker_processes, saver_timeout),
            share("jobs", 1, jobs_max, worker_processes, reader.seconds("JOBS_POOL_TIMEOUT")),
        ),
        ("jobs listener", "watch"),
    )
    warn, critical = threshold(reader, "DB_CONNECTIONS_WARN"), threshold(reader, "DB_CONNECTIONS_CRITICAL")
    if warn.is_share == critical.is_share:
        within("DB_CONNECTIONS_WARN", warn.number, "DB_CONNECTIONS_CRITICAL", critical.number)

    return Plan(
        environment=environment,
        web=web,
        worker=worker,
        commands=reader.whole("COMMAND_CONNECTIONS", least=1),
        reserve=reader.whole("DB_CONNECTIONS_RESERVE"),
        surge=reader.whole("DEPLOY_SURGE"),
        warn=warn,
        critical=critical,
        timeouts=Timeouts(
            connect=reader.whole("DB_CONNECT_TIMEOUT", least=1),
            max_lifetime=reader.seconds("DB_POOL_MAX_LIFETIME", least=1),
            keepalives=reader.whole("DB_KEEPALIVES", most=1),
            keepalives_idle=reader.whole("DB_KEEPALIVES_IDLE", least=1),
            keepalives_interval=reader.whole("DB_KEEPALIVES_INTERVAL", least=1),
            keepalives_count=reader.whole("DB_KEEPALIVES_COUNT", least=1),
            tcp_user=reader.seconds("DB_TCP_USER_TIMEOUT", least=0),
            statement=reader.seconds("DB_STATEMENT_TIMEOUT", least=0),
            idle_in_transaction=reader.seconds("DB_IDLE_IN_TRANSACTION_TIMEOUT", least=0),
            lock=reader.seconds("DB_LOCK_TIMEOUT", least=0),
            client_check=reader.seconds("DB_CLIENT_CHECK_INTERVAL", least=0),
        ),
        orm_threads=orm_threads(reader, web.pool("orm").max),
        join_deadline=join_deadline,
        page_deadline=reader.seconds("PAGE_DEADLINE"),
        source={k: environ[k] for k in (*DEFAULTS, *THRESHOLDS, "ENVIRONMENT") if k in environ},
    )


def share(name: str, least: int, most: int, processes: int, timeout: float) -> PoolSize:
    """One process's share of an instance's sizes: rounded down, a maximum never under 1."""
    return PoolSize(name, least // processes, max(1, most // processes), timeout)


def threshold(reader: Reader, name: str) -> Threshold:
    text = reader.text(name)
    if re.fullmatch(r"[0-9]{1,3}%", text) and 1 <= int(text[:-1]) <= 100:
        return Threshold(int(text[:-1]), is_share=True)
    if re.fullmatch(r"[0-9]{1,6}", text) and 1 <= int(text) <= MOST:
        return Threshold(int(text), is_share=False)
    raise BadValue(name, text, f"a number of connections from 1 to {MOST} or a share from 1% to 100%")


def pair(reader: Reader, low_name: str, high_name: str) -> tuple[int, int]:
    low, high = reader.whole(low_name), reader.whole(high_name, least=1)
    within(low_name, low, high_name, high)
    return low, high


def within(name: str, value: int, bound_name: str, bound: int) -> None:
    if value > bound:
        raise BadValue(name, value, f"at most {bound} with {bound_name} as it is")


def orm_threads(reader: Reader, orm_max: int) -> int:
    """Threads of each web process: two fewer than its ORM connections, so that no thread ever waits for one."""
    if orm_max < 3:
        raise BadValue(
            "DB_POOL_MAX_SIZE",
            reader.text("DB_POOL_MAX_SIZE"),
            f"enough for at least 3 connections in each web process; with WEB_CONCURRENCY as it is, each has {orm_max}",
        )
    threads = reader.whole("ORM_THREADS", least=1)
    if threads > orm_max - 2 and "ORM_THREADS" in reader.environ:
        raise BadValue(
            "ORM_THREADS",
            threads,
            f"at most {orm_max - 2}, two under the {orm_max} ORM connections of a web process",
        )
    return min(threads, orm_max - 2)
