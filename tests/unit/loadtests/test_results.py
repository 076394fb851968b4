import json

import numpy as np
import pytest

from loadtests.results import Outcome, describe
from loadtests.samples import NOTHING, ClientTick, Sample, Samples
from loadtests.scenario import Scenario
from loadtests.watch import ServerLog

START_S = 1_700_000_000.0


def sample(sent_s, ends_s, *, first_s=None, tokens=11.0, expert="small", failure="", late_s=0.0):
    first = NOTHING if first_s is None else START_S + first_s
    return Sample(START_S + sent_s, first, START_S + ends_s, late_s, 20.0, tokens, expert, failure)


def outcome(rows, *, scenario=None, ticks=(), **more):
    samples = Samples()
    for row in rows:
        samples.add(row)
    samples.ticks.extend(ClientTick(START_S + at_s, *tick) for at_s, *tick in ticks)
    for name, value in more.items():
        setattr(samples, name, value)
    scenario = scenario or Scenario(shape="constant", users=1, seconds=10)
    return Outcome(scenario, samples, START_S, START_S + scenario.seconds, ServerLog())


def test_the_figures_of_known_requests():
    # One user, a request a second: the first token after 0.25 s, ten more in half a second.
    rows = [sample(second, second + 0.75, first_s=second + 0.25) for second in range(10)]
    found = describe(outcome(rows))
    summary = found["summary"]
    assert summary["requests"] == 10
    assert summary["requests_per_s"] == pytest.approx(1.0)
    assert summary["tokens_per_s"] == pytest.approx(11.0)
    assert summary["latency_ms"]["p50"] == pytest.approx(750, abs=0.01)
    assert summary["first_token_ms"]["p99"] == pytest.approx(250, abs=0.01)
    assert summary["token_interval_ms"]["mean"] == pytest.approx(50, abs=0.01)
    assert (summary["prompt_tokens"], summary["output_tokens"], summary["failures"]) == (20, 11, {})
    assert found["over_time"]["under_way"] == pytest.approx([0.75] * 10)
    assert json.loads(json.dumps(found)) == found


def test_a_request_counts_for_the_part_that_lies_within():
    # Two seconds of four: half of it lies in the ten seconds.
    assert describe(outcome([sample(8, 12)]))["summary"]["requests_per_s"] == pytest.approx(0.05)


def test_failures_are_counted_by_kind_and_give_no_times():
    rows = [sample(0, 1, failure="status 503"), sample(1, 2, failure="timeout"), sample(2, 3, failure="status 503")]
    found = describe(outcome([*rows, sample(3, 4, first_s=3.5)], messages={"timeout": "No answer."}))
    assert found["summary"]["failures"] == {"status 503": 2, "timeout": 1}
    assert found["summary"]["latency_ms"]["p50"] == pytest.approx(1000, abs=0.01)
    assert found["over_time"]["failures_per_s"][:4] == [0, 1, 1, 1]
    assert found["about"]["messages"] == {"timeout": "No answer."}


def test_stages_leave_out_the_time_in_which_users_come():
    scenario = Scenario(shape="steps", steps=(1, 10), seconds=20, spawn_rate=5)
    rows = [sample(time_s, time_s + 0.5) for time_s in np.arange(0, 20, 0.5)]
    first, second = describe(outcome(rows, scenario=scenario))["stages"]
    assert (first["users"], first["from_s"], first["until_s"]) == (1, pytest.approx(1.2), 10)
    assert (second["users"], second["from_s"]) == (10, 13)
    assert second["requests_per_s"] == pytest.approx(2.0)


def test_stages_leave_out_as_much_more_as_asked_for_but_no_more_than_half():
    rows = [sample(time_s, time_s + 0.5) for time_s in range(20)]
    for settle_s, from_s in ((4.0, 6.0), (60.0, 10.0)):
        scenario = Scenario(shape="constant", users=10, seconds=20, spawn_rate=5, settle_s=settle_s)
        assert describe(outcome(rows, scenario=scenario))["stages"][0]["from_s"] == from_s


def test_shares_by_expert():
    rows = [sample(second, second + 0.5, expert="large" if second < 3 else "small") for second in range(10)]
    rows.append(sample(1, 2, expert="large", failure="timeout"))
    found = describe(outcome(rows))
    assert {name: of["share"] for name, of in found["experts"].items()} == {"large": 0.3, "small": 0.7}
    assert found["over_time"]["experts"]["large"] == [1, 1, 1, *[0] * 7]


def test_an_endpoint_that_names_no_expert():
    found = describe(outcome([sample(0, 1, expert="")], simulated={""}))
    assert list(found["experts"]) == ["(unnamed)"]
    assert found["about"]["simulated"] == ["auto"]


def test_a_client_with_time_to_spare():
    client = describe(outcome([sample(0, 1)], ticks=[(second, 1, 0.4, 0.01) for second in range(10)]))["client"]
    assert (client["was_limit"], client["processes"], client["cpu_max"]) == (False, 1, 0.4)


@pytest.mark.parametrize(
    ("ticks", "late_s", "reason"),
    [
        ([(second, 7, 0.97, 0.0) for second in range(10)], 0.0, "more than 90% of a processor in 100% of the time"),
        ([(second, 7, 0.3, 0.4) for second in range(10)], 0.0, "400 ms late"),
        ([(0, 7, 0.3, 0.0)], 2.0, "1 requests of the trace were sent more than 0.5 s late"),
    ],
)
def test_a_client_that_was_the_limit_says_why(ticks, late_s, reason):
    client = describe(outcome([sample(0, 1, late_s=late_s)], ticks=ticks))["client"]
    assert client["was_limit"]
    assert reason in client["reasons"][0]


def test_how_the_client_fares_before_the_start_does_not_count():
    assert not describe(outcome([sample(0, 1)], ticks=[(-2, 7, 1.0, 3.0)]))["client"]["was_limit"]


def test_no_request_at_all():
    found = describe(outcome([]))
    assert found["summary"]["requests"] == 0
    assert found["summary"]["latency_ms"] is None
    assert found["experts"] == {}
