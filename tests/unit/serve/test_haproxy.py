import os
import resource
import subprocess
from pathlib import Path

import pytest

from serve.commands.serve import _environment
from serve.haproxy import haproxy_environment, most_connections

PROGRAM = "RAY_SERVE_HAPROXY_BINARY_PATH"


@pytest.mark.parametrize("fd_limit", [4096, 20_000, 65_536])
def test_all_descriptors_of_a_full_haproxy_are_within_the_limit(fd_limit: int) -> None:
    connections = most_connections(fd_limit)
    # Two sockets each, and as many pipes of two ends as a quarter of the connections.
    assert 2 * connections + 2 * (connections // 4) < fd_limit
    assert connections > fd_limit / 3


def test_connections_are_bounded_where_descriptors_are_not() -> None:
    assert most_connections(resource.RLIM_INFINITY) == most_connections(10**9) == 32_768
    assert most_connections(100) == 1


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for HAProxy: it prints what it is given."""
    folder = tmp_path / "with a space"
    folder.mkdir()
    binary = folder / "haproxy"
    binary.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    binary.chmod(0o755)
    monkeypatch.setenv(PROGRAM, str(binary))
    return binary


def test_haproxy_is_given_the_pools_before_rays_own_arguments(fake: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    program = haproxy_environment(folder)[PROGRAM]
    said = subprocess.run([program, "-db", "-f", "a b.cfg"], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["-f", str(folder / "pools.cfg"), "-db", "-f", "a b.cfg"]
    assert "tune.pool-low-fd-ratio" in (folder / "pools.cfg").read_text()


def test_the_real_haproxy_takes_the_pools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRAM, raising=False)
    config = tmp_path / "haproxy.cfg"
    times = "timeout connect 1s\n    timeout client 1s\n    timeout server 1s"
    config.write_text(f"listen here\n    mode http\n    bind {tmp_path}/socket\n    {times}\n")
    program = haproxy_environment(tmp_path)[PROGRAM]
    checked = subprocess.run([program, "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_without_an_haproxy_ray_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRAM, str(tmp_path / "nothing"))
    assert PROGRAM not in haproxy_environment(tmp_path)


def test_where_temporary_files_may_not_be_run_haproxy_goes_without(
    fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.haproxy.os.access", lambda path, mode: mode != os.X_OK)
    monkeypatch.setattr("serve.haproxy._binary", lambda: str(fake))
    assert PROGRAM not in haproxy_environment(tmp_path)


def test_what_the_user_has_set_is_kept_and_files_go_with_the_run(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"RAY_SERVE_HAPROXY_MAXCONN": "77", "PATH": os.environ["PATH"]})
    with _environment(plain=False):
        assert os.environ["RAY_SERVE_HAPROXY_MAXCONN"] == "77"
        assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        program = Path(os.environ[PROGRAM])
        assert program.is_file()
    assert not program.exists()


def test_the_python_proxy_needs_nothing_of_haproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    with _environment(plain=True):
        assert not {PROGRAM, "RAY_SERVE_HAPROXY_MAXCONN", "RAY_SERVE_ENABLE_HA_PROXY"} & os.environ.keys()
