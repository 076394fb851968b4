import dataclasses
import os
import subprocess
import sys
import time

import psutil
import pytest

from loadtests.errors import LoadTestError
from loadtests.stacks import Stack, clean_environment, free_port, has_ended, memory_of, running, stray_engines

# A server that answers as an engine would, with a child that ignores being asked to end.
SERVER = """
import http.server, json, subprocess, sys, time
tokens, port, delay_s = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(delay_s)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps({"usage": {"completion_tokens": tokens}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def stack_of(code: str, *arguments: object, port: int = 9) -> Stack:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return Stack("a server", command, f"http://127.0.0.1:{port}/v1", {"row": "model"})


def server(tokens: int = 16, delay_s: float = 0.0) -> Stack:
    port = free_port()
    return stack_of(SERVER, tokens, port, delay_s, port=port)


def test_a_server_is_ready_when_it_answers_and_gone_with_its_children(tmp_path):
    log, waited = tmp_path / "log", []
    with running(server(delay_s=1.0), log, expected_tokens=16, on_wait=waited.append) as (process,):
        child = psutil.Process(int(log.read_text()))
        memory = memory_of(process)
        assert max(waited) >= 0.5
        assert memory.processes == 2
        assert 1_000_000 < memory.pss_bytes < 500_000_000
        assert memory.pss_bytes > memory_of(child).pss_bytes
    assert not process.is_running()
    assert not child.is_running()


def test_a_server_is_gone_when_measuring_fails(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        running(server(), tmp_path / "log", expected_tokens=16) as (process,),
    ):
        raise KeyboardInterrupt
    assert not process.is_running()


def test_servers_behind_one_are_started_before_it_and_end_after_it(tmp_path):
    front = dataclasses.replace(server(), behind=[server(), server()])
    with running(front, tmp_path / "front.log", expected_tokens=16) as processes:
        assert len(processes) == 3
        created = [process.create_time() for process in processes]
        assert created[0] == max(created)
        assert memory_of(*processes).processes == 6
        assert (tmp_path / "front-behind-1.log").read_text().strip().isdigit()
    assert not any(process.is_running() for process in processes)


def test_a_server_behind_one_that_does_not_start_ends_the_others(tmp_path):
    front = dataclasses.replace(server(), behind=[server(), stack_of("raise ValueError('no such model')")])
    with (
        pytest.raises(LoadTestError, match="no such model"),
        running(front, tmp_path / "front.log", expected_tokens=16),
    ):
        pass
    assert not psutil.pid_exists(int((tmp_path / "front-behind-0.log").read_text()))


def test_a_process_has_ended_also_before_its_parent_asks():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        assert not has_ended(process)
        child.kill()
        until_s = time.monotonic() + 10
        while not has_ended(process) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert has_ended(process)
        assert memory_of(process).processes == 0
    assert has_ended(process)


def test_a_server_that_ends_at_its_start_is_named_with_its_last_error(tmp_path):
    broken = stack_of("raise ValueError('no such model')")
    with (
        pytest.raises(LoadTestError, match="a server ended with 1 at its start: ValueError: no such model"),
        running(broken, tmp_path / "log", expected_tokens=16),
    ):
        pass


def test_a_server_that_does_not_answer_in_time_is_an_error_and_is_ended(tmp_path):
    silent = stack_of("import os, time; print(os.getpid(), flush=True); time.sleep(600)", port=free_port())
    started_s = time.monotonic()
    with (
        pytest.raises(LoadTestError, match="did not answer within 1 s"),
        running(silent, tmp_path / "log", expected_tokens=16, timeout_s=1.0),
    ):
        pass
    assert time.monotonic() - started_s < 10
    assert not psutil.pid_exists(int((tmp_path / "log").read_text()))


def test_a_server_that_answers_with_other_lengths_cannot_be_compared(tmp_path):
    with (
        pytest.raises(LoadTestError, match="3 tokens instead of 16"),
        running(server(tokens=3), tmp_path / "log", expected_tokens=16),
    ):
        pass


def test_environment_without_what_changes_a_server(monkeypatch):
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    kept = clean_environment()
    assert kept["HF_HUB_OFFLINE"] == "1"
    assert kept["PATH"] == os.environ["PATH"]
    assert not any(name.startswith(("RAY_", "VLLM_")) for name in kept)


def test_stray_engines_are_found():
    command = ["VLLM::OfThisTest", "-c", "import time; print(flush=True); time.sleep(600)"]
    with subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        try:
            found = stray_engines()
        finally:
            process.kill()
    assert any(stray.startswith(f"{process.pid}: VLLM::OfThisTest") for stray in found)
    assert not any("OfThisTest" in stray for stray in stray_engines())
