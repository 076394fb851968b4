import pytest

from loadtests.samples import NOTHING, Sample, Samples

GOOD = Sample(1.0, 1.5, 2.5, 0.0, 9.0, 11.0, "small", "")
BAD = Sample(3.0, NOTHING, 4.0, 0.25, NOTHING, NOTHING, "", "status 503")


def test_what_was_saved_is_read_again(tmp_path):
    samples = Samples()
    samples.add_report(
        {
            "samples": [list(GOOD), list(BAD)],
            "ticks": [[1.0, 77, 0.5, 0.001]],
            "messages": {"status 503": "The expert 'ü' is away."},
            "simulated": ["small"],
        }
    )
    samples.save(tmp_path / "file")
    again = Samples.load(tmp_path / "file")
    assert len(again) == 2
    assert again.failures == 1
    assert again.column("started_s").tolist() == [1.0, 3.0]
    assert again.texts("expert").tolist() == ["small", ""]
    assert again.texts("failure").tolist() == ["", "status 503"]
    assert again.ticks == samples.ticks
    assert (again.messages, again.simulated) == (samples.messages, {"small"})


def test_nothing_can_be_saved_too(tmp_path):
    Samples().save(tmp_path / "file")
    assert len(Samples.load(tmp_path / "file")) == 0


def test_times_of_one_request():
    assert GOOD.latency_s == 1.5
    assert GOOD.token_interval_s == pytest.approx(0.1)
    assert BAD.token_interval_s is None
    assert GOOD._replace(output_tokens=1.0).token_interval_s is None
