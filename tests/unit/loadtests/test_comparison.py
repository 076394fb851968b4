import pytest
from rich.console import Console

from loadtests.closed_loop import LoadResult, Quantiles
from loadtests.comparison import Comparison, Point, Spread, Summary
from loadtests.stacks import Memory

ONE = Point(1, stream=False)
MANY = Point(64, stream=True)


def result(per_s, first_ms=10.0, failures=None, decision_us=None, client_cpu=0.1):
    def quantiles(value):
        return None if value is None else Quantiles(value, 3 * value, value)

    return LoadResult(
        requests=int(per_s),
        requests_per_s=per_s,
        first_token_ms=quantiles(first_ms),
        latency_ms=quantiles(first_ms),
        failures=failures or {},
        header=quantiles(decision_us),
        client_cpu=client_cpu,
    )


def compared():
    comparison = Comparison("theirs")
    for per_s, first_ms in ((90.0, 12.0), (30.0, 10.0), (60.0, 20.0)):
        comparison.add("ours", ONE, result(per_s, first_ms, decision_us=200.0))
    comparison.add("theirs", ONE, result(20.0, 48.0, {"status 503": 2}))
    comparison.add("theirs", MANY, result(0.0, None))
    comparison.memory = {"ours": Memory(3 * 2**30, 17)}
    return comparison


def text_of(comparison):
    console = Console(width=200, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(comparison.table())
    return console.export_text()


def test_spread():
    assert Spread.of([3.0, None, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([None]) is None


def test_summary_takes_medians_over_rounds_and_adds_failures_up():
    rounds = [
        result(10.0, 5.0, {"timeout": 1}, 100.0, 0.2),
        result(30.0, 9.0, {"timeout": 2, "no content": 1}, 300.0, 0.7),
        result(20.0, None, {}, 200.0),
    ]
    summary = Summary.of(rounds)
    assert summary.requests_per_s == Spread(20.0, 10.0, 30.0)
    assert summary.first_token_p50_ms == Spread(7.0, 5.0, 9.0)
    assert summary.first_token_p99_ms == Spread(21.0, 15.0, 27.0)
    assert summary.decision_us == Spread(200.0, 100.0, 300.0)
    assert summary.failures == {"timeout": 3, "no content": 1}
    assert (summary.rounds, summary.client_cpu) == (3, 0.7)


def test_ratios_are_of_medians_against_the_baseline():
    comparison = compared()
    assert comparison.ratio("ours", ONE, "requests_per_s") == 3.0
    assert comparison.ratio("ours", ONE, "first_token_p50_ms") == 0.25
    assert comparison.ratio("theirs", ONE, "requests_per_s") == 1.0


def test_a_ratio_with_nothing_below_is_none():
    comparison = compared()
    assert comparison.ratio("ours", MANY, "requests_per_s") is None
    comparison.add("ours", MANY, result(10.0))
    assert comparison.ratio("ours", MANY, "requests_per_s") is None
    assert comparison.ratio("ours", MANY, "first_token_p50_ms") is None


def test_added_latency_is_what_the_floor_does_not_take():
    comparison = compared()
    assert comparison.added_ms("theirs", ONE) is None
    comparison.floor = "ours"
    assert comparison.added_ms("theirs", ONE) == 48.0 - 12.0
    assert comparison.added_ms("theirs", ONE, "latency_p99_ms") == 3 * (48.0 - 12.0)
    assert comparison.added_ms("ours", ONE) is None
    assert comparison.added_ms("theirs", MANY) is None
    text = text_of(comparison)
    assert "added ms" in text
    assert "36.0" in next(line for line in text.splitlines() if "theirs" in line)
    assert comparison.as_json()["points"][1]["added_p50_ms"] == 36.0


def test_ratio_against_another_row():
    comparison = compared()
    comparison.add("third", ONE, result(30.0))
    assert comparison.ratio("ours", ONE, "requests_per_s", against="third") == 2.0
    assert comparison.ratio("ours", ONE, "requests_per_s", against="nobody") is None


def test_table_shows_medians_spreads_ratios_failures_and_memory():
    text = text_of(compared())
    ours = next(line for line in text.splitlines() if "60.0 (30.0–90.0)" in line)
    assert "12.0 (10.0–20.0)" in ours
    assert "200/600" in ours
    assert "10%" in ours
    assert "3.00" in ours
    assert "0.25" in ours
    assert "2 status 503" in text
    assert text.index("1 user, not streaming") < text.index("64 users, streaming")
    assert "3.00 " in text.split("PSS")[1]
    assert "17" in text.split("PSS")[1]
    assert "load generator" not in text
    assert "added ms" not in text


def test_table_says_where_the_load_generator_may_be_the_limit():
    comparison = compared()
    comparison.add("ours", MANY, result(500.0, client_cpu=0.95))
    assert "load generator" in text_of(comparison)


def test_json_has_every_round():
    body = compared().as_json()
    first = body["points"][0]
    assert (first["row"], first["users"], first["stream"], first["requests_per_s_ratio"]) == ("ours", 1, False, 3.0)
    assert [each["requests_per_s"] for each in first["rounds"]] == [90.0, 30.0, 60.0]
    assert first["first_token_ratio"] == pytest.approx(0.25)
    assert body["memory"] == {"ours": {"pss_bytes": 3 * 2**30, "processes": 17}}
    assert body["baseline"] == "theirs"
