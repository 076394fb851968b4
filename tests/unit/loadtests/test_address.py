import pytest

from loadtests.address import address_of
from loadtests.errors import LoadTestError


def test_parts_of_a_url():
    assert address_of("http://127.0.0.1:8000/v1/") == ("127.0.0.1", 8000, "/v1")
    assert address_of("http://localhost") == ("localhost", 80, "")
    assert address_of("http://[::1]:9/sim/v1") == ("::1", 9, "/sim/v1")


@pytest.mark.parametrize("url", ["https://127.0.0.1/v1", "127.0.0.1:8000", "", "http://127.0.0.1:port/v1"])
def test_other_urls_are_refused(url):
    with pytest.raises(LoadTestError, match="is not an http:// URL"):
        address_of(url)


@pytest.mark.parametrize("host", ["192.168.1.4", "example.org", "0.0.0.0"])
def test_other_machines_need_leave(host):
    with pytest.raises(LoadTestError, match="is not this machine"):
        address_of(f"http://{host}/v1")
    assert address_of(f"http://{host}/v1", anywhere=True).host == host
