"""Where load may go: plain HTTP, and this machine unless more is asked for."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from loadtests.errors import LoadTestError

__all__ = ["Address", "address_of"]


class Address(NamedTuple):
    """An endpoint: `path` is what comes before `/chat/completions`, without a slash at its end."""

    host: str
    port: int
    path: str


def address_of(url: str, *, anywhere: bool = False) -> Address:
    """The parts of an endpoint's base URL.

    Args:
        url: as `http://127.0.0.1:8000/v1`.
        anywhere: whether another machine may be loaded.

    Raises:
        LoadTestError: it is no such URL, or not of this machine.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        parts, port = urlsplit(""), 80
    if parts.scheme != "http" or parts.hostname is None:
        raise LoadTestError(f"{url!r} is not an http:// URL: give one, as http://127.0.0.1:8000/v1.")
    if not anywhere and not _is_loopback(parts.hostname):
        raise LoadTestError(
            f"{parts.hostname!r} is not this machine: load only an endpoint on 127.0.0.1, ::1 or localhost."
        )
    return Address(parts.hostname, port, parts.path.rstrip("/"))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
