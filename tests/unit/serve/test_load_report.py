import orjson
import pytest

from loadtests.results import Outcome, describe
from loadtests.samples import ClientTick, Sample, Samples
from loadtests.scenario import Scenario
from loadtests.watch import Moment, ServerLog
from routers import ParameterError
from serve.reporting import write_load_report
from tests.unit.serve.test_reporting import PNG, Checker

START_S = 1_700_000_000.0


def test_a_report_has_everything_that_was_seen(tmp_path):
    found = load_test()
    page = write_load_report(found, tmp_path / "report")
    text = page.read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.loaded == []
    assert len(checker.ids) == len(set(checker.ids))
    assert orjson.loads((page.parent / "report.json").read_bytes()) == found
    names = {path.stem for path in page.parent.glob("*.png")}
    assert names == {"throughput", "times", "users", "experts", "replicas", "queues", "machine", "memory"}
    assert all(path.read_bytes().startswith(PNG) for path in page.parent.glob("*.png"))
    assert "<strong>Simulated:</strong> small" in text
    assert "The client was a limit:" in text
    assert "The pool is &lt;full&gt;." in text


def test_what_a_load_test_lacks_is_left_out(tmp_path):
    found = load_test(scenario=Scenario(shape="servegen", seconds=30, stream=False), server=ServerLog(unreachable="no"))
    page = write_load_report(found, tmp_path)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"throughput", "times", "experts"}
    assert "Replicas and queues: no." in page.read_text()


def test_a_load_test_without_one_good_answer_has_a_report_too(tmp_path):
    samples = Samples()
    samples.add(Sample(START_S, -1, START_S + 1, 0, -1, -1, "", "connection"))
    scenario = Scenario(shape="constant", users=1, seconds=5)
    found = describe(Outcome(scenario, samples, START_S, START_S + 5, ServerLog()))
    assert "connection" in write_load_report(found, tmp_path).read_text()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="cannot be written"):
        write_load_report(load_test(), tmp_path / "file")


def load_test(scenario=None, server=None):
    scenario = scenario or Scenario(shape="steps", steps=(1, 2, 4), seconds=30, spawn_rate=100)
    samples = Samples()
    for place in range(120):
        sent_s = START_S + place / 4
        expert = "large" if place % 3 else "small"
        samples.add(Sample(sent_s, sent_s + 0.1, sent_s + 0.2, 0.0, 10, 5, expert, "" if place % 10 else "status 503"))
    samples.messages = {"status 503": "The pool is <full>."}
    samples.simulated = {"small"}
    samples.ticks = [ClientTick(START_S + second, 1, 0.95, 0.01) for second in range(30)]
    return describe(Outcome(scenario, samples, START_S, START_S + 30, server or server_log()))


def server_log():
    log = ServerLog()
    for second in range(0, 30, 5):
        log.replicas.append(Moment(START_S + second, {"small/Expert": 1.0 + second // 10}))
        log.queues.append(Moment(START_S + second, {"waiting small": float(second), "under_way small": 0.0}))
        log.machine_cpu.append(Moment(START_S + second, {"machine": 0.5}))
        log.memory.append(Moment(START_S + second, {"pointsman/Router": 0.2}))
    return log
