from pathlib import Path

import pytest

from loadtests.results import Outcome
from loadtests.samples import Sample, Samples
from loadtests.scenario import Scenario
from loadtests.watch import Moment, ServerLog
from serve.scaling.following import Run, judge
from serve.scaling.settings import compressed, read_settings

ROOT = Path(__file__).parents[4]
STARTED_S = 1000.0
SECONDS = 60


def run(failure: str = "") -> Run:
    """Two requests a second of `large`, three times as many from second 20 to 40, each answered after 4 s."""
    samples = Samples()
    for step in range(2 * SECONDS):
        sent_s = STARTED_S + step / 2
        many = 3 if 20 <= step / 2 < 40 else 1
        for _ in range(many):
            samples.add(Sample(sent_s, sent_s + 1, sent_s + 4, 0.0, 10.0, 20.0, "large", failure))
            failure = ""
    log = ServerLog()
    for second in range(SECONDS):
        running = 3.0 if 25 <= second < 50 else 1.0
        wanted = 3.0 if 22 <= second < 50 else 1.0
        at_s = STARTED_S + second
        for moments, count in ((log.replicas, running), (log.wanted, wanted), (log.held, max(running, wanted))):
            moments.append(Moment(at_s, {"large/Expert": count, "small/Expert": 1.0, "pointsman/Router": 1.0}))
    scenario = Scenario(shape="constant", seconds=SECONDS)
    outcome = Outcome(scenario, samples, STARTED_S, STARTED_S + SECONDS, log)
    return Run(outcome, {"answered": 200.0}, compressed(read_settings(ROOT / "serve/configs/autoscaling.yaml"), 20.0))


def test_pools_that_had_requests_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = judge(run())
    assert set(found["pools"]) == {"pointsman/Router", "large/Expert"}
    large = found["pools"]["large/Expert"]
    # 2 a second for 4 s are 8 under way, 6 a second are 24; a replica is to have 10.
    assert large["load"]["values"][9] == 8.0
    assert large["load"]["values"][29] == 24.0
    judged = large["judged"]
    assert (judged["turns"], judged["load_turns"], judged["excess_turns"]) == (1, 1, 0)
    assert 2 <= judged["lag"]["up_s"][1] <= 4
    assert judged["lag"]["never"] == 0
    assert judged["held_s"] == pytest.approx(22 + 3 * 28 + 10)
    assert found["lost"] == {"failed": 0, "given_to_another": 0}
    assert found["pools"]["pointsman/Router"]["judged"]["saved"] == 0.5


def test_failed_requests_are_no_load_but_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = judge(run(failure="status 500"))
    assert found["lost"]["failed"] == 1
