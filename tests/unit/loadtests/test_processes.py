import subprocess
import sys
import time

import psutil

from loadtests.processes import command_of, family, processor_s

STARTING = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)', 'started'])"


def test_a_family_is_a_process_with_all_that_it_has_started() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTING]) as started:
        root = psutil.Process(started.pid)
        try:
            deadline_s = time.monotonic() + 20
            while len(family([root])) < 2 and time.monotonic() < deadline_s:
                time.sleep(0.05)
            members = family([root])
            assert members == [root, *root.children()]
            assert command_of(members[1]).endswith(" started")
            assert processor_s(root) > 0
        finally:
            for process in (*root.children(), root):
                process.kill()


def test_a_process_that_has_ended_is_nobody() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as started:
        root = psutil.Process(started.pid)
    assert (family([root]), command_of(root), processor_s(root)) == ([], "", 0.0)
