"""The plan over random environments: what holds for every one of them."""

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from healthcheck import budget
from roadmap import plan

SIZES = st.integers(0, 400)
COUNTS = st.integers(0, 12)  # 0 is refused
NUMBERS = {
    **dict.fromkeys([name for name in plan.DEFAULTS if "POOL_M" in name and "LIFETIME" not in name], SIZES),
    "WEB_INSTANCES": COUNTS,
    "WEB_CONCURRENCY": COUNTS,
    "WORKER_INSTANCES": COUNTS,
    "WORKER_PROCESSES": COUNTS,
    "DEPLOY_SURGE": st.integers(0, 5),
    "COMMAND_CONNECTIONS": st.integers(0, 20),
    "DB_CONNECTIONS_RESERVE": st.integers(0, 100),
}
VARIABLES = [*plan.DEFAULTS, *plan.THRESHOLDS, "ENVIRONMENT"]
ENVIRONMENT = st.sampled_from(plan.ENVIRONMENTS)


@st.composite
def environments(draw: st.DrawFn) -> dict[str, str]:
    """Variables that fit together more often than not: sizes in the order in which they must stand."""
    values = draw(st.fixed_dictionaries({"ENVIRONMENT": ENVIRONMENT}, optional=NUMBERS))
    if draw(st.booleans()):
        orm, saver = (
            sorted(draw(st.lists(SIZES, min_size=4, max_size=4))),
            sorted(draw(st.tuples(SIZES, SIZES))),
        )
        values["WORKER_DB_POOL_MIN_SIZE"], values["DB_POOL_MIN_SIZE"] = orm[0], orm[1]
        values["WORKER_DB_POOL_MAX_SIZE"], values["DB_POOL_MAX_SIZE"] = orm[2], orm[2] + orm[3] + 3
        values["WEB_CHECKPOINTER_POOL_MAX_SIZE"] = draw(st.integers(1, 5))
        values["CHECKPOINTER_POOL_MIN_SIZE"] = saver[0]
        values["CHECKPOINTER_POOL_MAX_SIZE"] = saver[1] + values["WEB_CHECKPOINTER_POOL_MAX_SIZE"] + 1
    return {name: str(value) for name, value in values.items()}


def read_or_skip(environment: dict[str, str]) -> plan.Plan:
    read = read_or_refusal(environment)
    assume(isinstance(read, plan.Plan))
    assert isinstance(read, plan.Plan)
    return read


def given_size(environment: dict[str, str], name: str) -> int:
    column = plan.ENVIRONMENTS.index(environment["ENVIRONMENT"])
    return int(environment.get(name, plan.DEFAULTS[name][column]))


@settings(max_examples=500, deadline=None)
@given(environments())
@example({"ENVIRONMENT": "production", "WEB_CONCURRENCY": "4", "WEB_INSTANCES": "2"})
def test_shares_of_an_instance_exceed_the_whole_by_no_more_than_the_stated_rounding(
    environment: dict[str, str],
):
    """A share is rounded down, and a maximum at least 1 for each process."""
    read = read_or_skip(environment)
    for pool, prefix in (("orm", "DB_POOL"), ("checkpointer", "CHECKPOINTER_POOL")):
        web, worker = read.web.pool(pool), read.worker.pool(pool)
        processes = read.web.processes, read.worker.processes
        whole_min = given_size(environment, f"{prefix}_MIN_SIZE")
        assert web.min * processes[0] + worker.min * processes[1] <= whole_min
        whole = given_size(environment, f"{prefix}_MAX_SIZE")
        rounded_up = sum(p for p, size in zip(processes, (web, worker), strict=True) if size.max == 1)
        assert web.max * processes[0] + worker.max * processes[1] <= whole + rounded_up
    jobs = read.worker.pool("jobs")
    most = given_size(environment, "JOBS_POOL_MAX_SIZE")
    assert jobs.max * read.worker.processes <= max(most, read.worker.processes)


@settings(max_examples=500, deadline=None)
@given(environments())
def test_nothing_is_zero_that_must_not_be(environment: dict[str, str]):
    read = read_or_skip(environment)
    for role in read.roles:
        assert role.instances >= 1
        assert role.processes >= 1
        for pool in role.pools:
            assert 0 <= pool.min <= pool.max
            assert pool.max >= 1
            assert pool.timeout > 0
    assert read.web.pool("joins").min == 1
    assert read.web.pool("checkpointer").min == 0
    assert read.commands >= 1
    assert 1 <= read.orm_threads <= read.web.pool("orm").max - 2


@settings(max_examples=500, deadline=None)
@given(environments())
def test_a_plan_that_fits_never_opens_more(environment: dict[str, str]):
    """Process by process, pool by pool: the sum of what each may open is the sum of the budget."""
    read = read_or_skip(environment)
    processes = [role for role in read.roles for _ in range(role.instances) for _ in range(role.processes)]
    opened = sum(pool.max for role in processes for pool in role.pools)
    opened += sum(len(role.outside) for role in processes) + read.commands
    assert opened == read.steady == budget.steady(read)
    assert opened == sum(budget.names(read, "roadmap_agent").values())
    assert budget.deploy_peak(read) > read.steady


@settings(max_examples=500, deadline=None)
@given(environments(), st.integers(1, 2000))
def test_the_instances_that_fit_fit_and_one_more_does_not(environment: dict[str, str], limit: int):
    read = read_or_skip(environment)
    for role, count in budget.instances_that_fit(read, limit).items():
        variable = f"{role.upper()}_INSTANCES"
        if count:
            assert budget.steady(read.what_if({variable: str(count)})) + read.reserve <= limit
        assert budget.steady(read.what_if({variable: str(count + 1)})) + read.reserve > limit


@settings(max_examples=500, deadline=None)
@given(environments(), st.integers(1, 500))
def test_the_pool_size_that_is_recommended_fits_and_one_more_does_not(
    environment: dict[str, str], limit: int
):
    read = read_or_skip(environment)

    def fits(size: int) -> bool:
        return budget.deploy_peak(read.what_if({"DB_POOL_MAX_SIZE": str(size)})) + read.reserve <= limit

    size = budget.largest_that_fits(read, "DB_POOL_MAX_SIZE", limit, budget.deploy_peak)
    if size is None:
        assert budget.deploy_peak(read) + read.reserve > limit
    else:
        assert fits(size)
        assert size == limit or not fits(size + 1)


@settings(max_examples=1000, deadline=None)
@given(st.dictionaries(st.sampled_from(VARIABLES), st.text() | st.integers().map(str), max_size=4))
@example({"DB_POOL_TIMEOUT": "1e5"})
@example({"DB_POOL_MAX_SIZE": "٣"})
@example({"DB_POOL_MAX_SIZE": "5\n"})
@example({"DB_CONNECTIONS_WARN": "%"})
@example({"DB_POOL_MAX_SIZE": "1_0"})
def test_any_text_is_taken_or_refused_by_name(environment: dict[str, str]):
    read = read_or_refusal(environment)
    if isinstance(read, plan.BadValue):
        assert read.name in VARIABLES
        assert str(read).startswith(f"{read.name} is ")
        assert str(read).endswith(".")
        assert "\n" not in str(read)
    else:
        assert read.source == environment


def read_or_refusal(environment: dict[str, str]) -> plan.Plan | plan.BadValue:
    try:
        return plan.read(environment)
    except plan.BadValue as refusal:
        return refusal
