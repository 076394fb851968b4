"""The published traces, where they are on this machine."""

import os
from pathlib import Path

import pytest

from loadtests.prompts import conversations
from loadtests.traces import arrivals

DATA = Path(os.environ.get("POINTSMAN_DATA", "../shared/data"))


def needs(name):
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"the public data {name}/ are not on this machine")


@needs("azure_traces")
@pytest.mark.parametrize(("name", "requests", "rate"), [("azure-conv", 19_366, 5.53), ("azure-code", 8_819, 2.57)])
def test_azures_hour(name, requests, rate):
    found = arrivals(name, DATA, seconds=3600, rate=None)
    assert len(found) == requests
    assert len(found) / found.times_s[-1] == pytest.approx(rate, rel=0.01)
    assert found.prompt_tokens.mean() > found.output_tokens.mean() > 10


@needs("servegen_rates")
def test_servegens_day_has_a_night():
    found = arrivals("servegen", DATA, seconds=240, rate=100, seed=0)
    hours = [int(((found.times_s >= 10 * hour) & (found.times_s < 10 * hour + 10)).sum()) for hour in range(24)]
    assert max(hours) == pytest.approx(1000, rel=0.15)
    assert min(hours) < 0.6 * max(hours)


@needs("zeroeval")
def test_zeroevals_questions():
    asked = conversations("zeroeval", folder=DATA, prompt_tokens=1, seed=0)
    assert len({next(asked)[0]["content"] for _ in range(200)}) > 150
