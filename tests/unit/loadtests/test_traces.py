import numpy as np
import pytest

from loadtests.errors import LoadTestError
from loadtests.traces import arrivals, gaps_s

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


@pytest.fixture
def data(tmp_path):
    """Traces in the published form: one request a second for a minute; a day whose rate climbs to its peak."""
    (tmp_path / "azure_traces").mkdir()
    (tmp_path / "servegen_rates").mkdir()
    rows = "".join(f"2023-11-16 18:15:{second:02d}.6805900,{100 + second},{second}\n" for second in range(60))
    for kind in ("conv", "code"):
        (tmp_path / "azure_traces" / f"AzureLLMInferenceTrace_{kind}.csv").write_text(AZURE + rows)
    # The second day is not replayed.
    rates = "".join(f"{600 * window},1,1,{window % 144 + 1 + 1000 * (window >= 144)}\n" for window in range(288))
    (tmp_path / "servegen_rates" / "rates_per_window.csv").write_text("t_seconds,m-large,m-mid,m-small\n" + rates)
    return tmp_path


def test_azure_is_replayed_as_it_was(data):
    found = arrivals("azure-conv", data, seconds=10, rate=None)
    assert found.times_s == pytest.approx(np.arange(10))
    assert found.prompt_tokens.tolist() == list(range(100, 110))
    # Every answer has a token at least.
    assert found.output_tokens.tolist() == [1, 1, *range(2, 10)]


def test_azure_can_be_compressed(data):
    found = arrivals("azure-code", data, seconds=10, rate=4.0)
    assert found.times_s == pytest.approx(np.arange(40) / 4)


def test_a_day_of_servegen_in_a_minute(data):
    found = arrivals("servegen", data, seconds=60, rate=200.0, seed=1)
    assert found.times_s.max() < 60
    assert (np.diff(found.times_s) >= 0).all()
    last, first = (np.sum((found.times_s >= start) & (found.times_s < start + 6)) for start in (54, 0))
    # The rate climbs in proportion to the time, to 200 a second.
    assert last == pytest.approx(6 * 190, rel=0.1)
    assert first == pytest.approx(6 * 10, rel=0.4)
    assert set(found.prompt_tokens) == {0}


def test_arrivals_are_the_same_again_and_others_with_another_seed(data):
    first, again, other = (arrivals("servegen", data, seconds=9, rate=50, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.times_s, again.times_s)
    assert not np.array_equal(first.times_s[:50], other.times_s[:50])


def test_processes_share_a_trace_and_send_all_of_it(data):
    whole = arrivals("azure-conv", data, seconds=60, rate=None)
    parts = [whole.share(place, 3) for place in range(3)]
    assert sorted(np.concatenate([part.times_s for part in parts])) == whole.times_s.tolist()
    assert {len(part) for part in parts} == {20}


def test_gaps_have_a_mean_of_one(data):
    gaps = gaps_s(data)
    assert len(gaps) == 59
    assert gaps.mean() == pytest.approx(1.0)


def test_mistakes_are_named(data, tmp_path):
    with pytest.raises(LoadTestError, match="no trace 'other': use one of azure-conv, azure-code, servegen"):
        arrivals("other", data, seconds=1, rate=None)
    with pytest.raises(LoadTestError, match=r"AzureLLMInferenceTrace_conv.csv cannot be read .*--data"):
        arrivals("azure-conv", tmp_path / "nowhere", seconds=1, rate=None)
    path = data / "azure_traces" / "AzureLLMInferenceTrace_conv.csv"
    path.write_text(AZURE + "yesterday,1,2\ntoday,3,4\n")
    with pytest.raises(LoadTestError, match="not as it was published"):
        arrivals("azure-conv", data, seconds=1, rate=None)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(LoadTestError, match="has no rows of TIMESTAMP"):
        arrivals("azure-conv", data, seconds=1, rate=None)
