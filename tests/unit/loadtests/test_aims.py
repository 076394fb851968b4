import pytest
from rich.console import Console

from loadtests.aims import Aim, Rows, aims_of, aims_table
from loadtests.closed_loop import LoadResult, Quantiles
from loadtests.comparison import Comparison, Point

ROWS = Rows("ours", "theirs", "proxy", "bare")


def result(per_s, ms, decision_us=None):
    latency = Quantiles(ms, 2 * ms, ms)
    decision = None if decision_us is None else Quantiles(decision_us, 20 * decision_us, decision_us)
    return LoadResult(1, per_s, latency, latency, {}, decision, 0.1)


def comparison():
    compared = Comparison("theirs", floor="bare")
    for users, stream in [(1, False), (256, False), (1000, False)]:
        point = Point(users, stream)
        compared.add("ours", point, result(300.0, 11.0, 400.0))
        compared.add("theirs", point, result(100.0, 30.0))
        compared.add("proxy", point, result(31.0, 90.0))
        compared.add("bare", point, result(400.0, 10.0))
    return compared


def test_aims_are_ratios_of_one_comparison():
    found = {aim.what: aim for aim in aims_of(comparison(), ROWS)}
    ray = found["requests/s, theirs, 256 users"]
    assert (ray.reached, ray.limit, ray.met) == (3.0, 3.0, True)
    proxy = found["requests/s, proxy, 1,000 users"]
    assert (proxy.reached, proxy.met) == (pytest.approx(300 / 31), False)
    latency = found["end-to-end latency, bare, 1 user"]
    assert (latency.reached, latency.at_least, latency.met) == (pytest.approx(1.1), False, True)
    floor = found["requests/s, bare, 256 users"]
    assert (floor.reached, floor.met) == (0.75, False)
    p50, p99 = found["decision p50, 1,000 users"], found["decision p99, 1,000 users"]
    assert (p50.reached, p50.met) == (0.4, True)
    assert (p99.reached, p99.met) == (8.0, False)


def test_what_was_not_measured_is_neither_met_nor_missed():
    streaming = [aim for aim in aims_of(comparison(), ROWS) if "streaming" in aim.what]
    assert len(streaming) == 8
    assert all(aim.met is None for aim in streaming)


def test_rows_that_are_not_there_have_no_aims():
    assert {aim.what.split(",")[0] for aim in aims_of(comparison(), Rows("ours"))} == {"decision p50", "decision p99"}


def test_table_and_json_say_what_was_reached():
    aims = [
        Aim("faster", 3.0, at_least=True, reached=2.5),
        Aim("decision", 5.0, at_least=False, reached=None, unit="ms"),
    ]
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(aims_table([*aims, Aim("far", 10.0, at_least=True, reached=35719.0)]))
    lines = console.export_text().splitlines()
    assert any("faster" in line and "≥ 3 ×" in line and "2.50 ×" in line and "no" in line for line in lines)
    assert any("decision" in line and "≤ 5 ms" in line and "not measured" in line for line in lines)
    assert aims[0].as_json()["met"] is False
    assert any("far" in line and "> 1000 ×" in line for line in lines)
