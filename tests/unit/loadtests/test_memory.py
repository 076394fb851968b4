import pytest

from loadtests.memory import kind_of


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (["ray::ServeReplica:small:Expert"], "small/Expert"),
        (["ray::ServeReplica:pointsman:Router.reconfigure"], "pointsman/Router"),
        (["VLLM::EngineCore"], "engines"),
        (["/usr/sbin/haproxy", "-W", "-f", "haproxy.cfg"], "HAProxy"),
        (["ray::ServeController.listen_for_change"], "Serve's controller"),
        (["python", "-m", "haproxy"], None),
        ([], None),
    ],
)
def test_processes_are_known_by_their_titles(command: list[str], kind: str | None) -> None:
    assert kind_of(command) == kind
