import pytest

from loadtests.errors import LoadTestError
from serve.profiling.sampling import EVENT_LOOP, part_of, shares

LOOP = "run (threading.py:982)"
SERVER = "run_asgi (uvicorn/protocols/http/httptools_impl.py:422)"
REPLICA = "call_asgi (ray/serve/_private/replica.py:3309)"
ROUTER = "_relay (deployments/router.py:163)"


@pytest.mark.parametrize(
    ("stack", "part"),
    [
        ([LOOP], EVENT_LOOP),
        ([LOOP, SERVER], "HTTP server"),
        ([LOOP, SERVER, REPLICA], "Ray Serve's replica"),
        ([LOOP, SERVER, REPLICA, "info (logging/__init__.py:1489)"], "Ray Serve's replica"),
        ([LOOP, SERVER, REPLICA, ROUTER], "Pointsman besides"),
        ([LOOP, SERVER, REPLICA, ROUTER, "predict (routers/base.py:181)", "dot (numpy/core.py:1)"], "the decision"),
        ([LOOP, SERVER, REPLICA, ROUTER, "send (deployments/http_pool.py:82)"], "asking the expert"),
        (
            [LOOP, SERVER, REPLICA, ROUTER, "answered (deployments/telemetry.py:9)", "inc (ray/util/metrics.py:9)"],
            "metrics",
        ),
        ([LOOP, SERVER, REPLICA, ROUTER, REPLICA, "send (uvicorn/protocols/x.py:1)"], "HTTP server"),
    ],
)
def test_the_innermost_frame_of_a_part_decides(stack: list[str], part: str) -> None:
    assert part_of(stack) == part


def test_shares_are_those_of_the_thread_that_answers() -> None:
    raw = "\n".join(
        [
            f"thread 1;{LOOP};wait (threading.py:327) 900",
            f"thread 2;{LOOP};{SERVER};{ROUTER} 10",
            f"thread 2;{LOOP};{SERVER} 20",
            f"thread 2;{LOOP} 10",
        ]
    )
    assert shares(raw) == {"HTTP server": 0.5, "Pointsman besides": 0.25, EVENT_LOOP: 0.25}


def test_a_profile_without_requests_says_so() -> None:
    with pytest.raises(LoadTestError, match="longer --seconds"):
        shares(f"thread 1;{LOOP} 7")
