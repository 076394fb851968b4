"""One user's HTTP connection under gevent. Only Locust's processes import this.

It uses `geventhttpclient`, which is beneath Locust's `FastHttpUser`, without that class's session around it: a stream
has to be watched as it comes, and a thousand of them should fit on one core.
"""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

import gevent
import orjson
from geventhttpclient.client import HTTPClient
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError

from loadtests.connection import CONTENT
from loadtests.samples import NOTHING, Sample
from loadtests.scenario import Scenario

__all__ = ["Answered", "ChatClient", "request_body"]

_HEADERS = {"content-type": "application/json", "accept": "*/*"}
_BLOCK_BYTES = 65_536
_CONNECT_S = 5.0
_EVENT_END = b"\n\n"
_STREAM_END = b"data: [DONE]"
_PROMPT_TOKENS = re.compile(rb'"prompt_tokens"\s*:\s*(\d+)')
_OUTPUT_TOKENS = re.compile(rb'"completion_tokens"\s*:\s*(\d+)')
_SIMULATED = re.compile(rb'"system_fingerprint"\s*:\s*"simulated"')
_STREAM_ERROR = re.compile(rb'data:\s*\{\s*"error"')
_LONGEST_MESSAGE = 300


class Answered(NamedTuple):
    """What came of a request, with an error's own words and whether the answer said that it is simulated."""

    sample: Sample
    message: str
    simulated: bool
    length: int


def request_body(scenario: Scenario, messages: list[dict[str, str]], max_tokens: int, *, fixed: bool) -> bytes:
    """The body of one request."""
    body: dict[str, Any] = {"model": scenario.model, "messages": messages, "max_tokens": max_tokens}
    if fixed:
        body["ignore_eos"] = True
    if scenario.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(body)


class ChatClient:
    """A connection that is kept open, for one request at a time.

    Args:
        scenario: where to ask, and how long to wait.
        concurrency: requests at a time, each over a connection of its own.
    """

    def __init__(self, scenario: Scenario, *, concurrency: int = 1) -> None:
        address = scenario.address
        self._path = f"{address.path}/chat/completions"
        self._stream = scenario.stream
        self._timeout_s = scenario.timeout_s
        self._kept_open = False
        self._http = HTTPClient(
            address.host,
            address.port,
            concurrency=concurrency,
            block_size=_BLOCK_BYTES,
            connection_timeout=_CONNECT_S,
            network_timeout=scenario.timeout_s,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, body: bytes, *, late_s: float = 0.0) -> Answered:
        """Send one request and wait for its answer, or for its failure.

        Args:
            body: as `request_body` makes it.
            late_s: how much later than planned this is.
        """
        seen = _Seen(time.time(), time.perf_counter())
        failure, message = "", ""
        try:
            with gevent.Timeout(self._timeout_s):
                response = self._post(body)
                failure = self._read(response, seen)
                message = _message(seen.body) if failure else ""
        except gevent.Timeout:
            failure, message = "timeout", f"No whole answer within {self._timeout_s:g} s."
        except (OSError, HTTPParseError) as error:
            failure, message = "connection", str(error)
        self._kept_open = failure in ("", "no content")
        return Answered(seen.sample(failure, late_s), message, bool(_SIMULATED.search(seen.body)), len(seen.body))

    def _post(self, body: bytes) -> Any:
        try:
            return self._http.post(self._path, body, _HEADERS)
        except HTTPConnectionClosed:
            # A server may close a connection that it kept open. Any client would open another one.
            if not self._kept_open:
                raise
            return self._http.post(self._path, body, _HEADERS)

    def _read(self, response: Any, seen: _Seen) -> str:
        """Take the answer; returns what kind of failure it is, if it is one."""
        seen.expert = response.get("x-pointsman-expert") or ""
        status = response.status_code
        if status != 200 or not self._stream:
            seen.take(response.read())
            seen.first_s = time.perf_counter()
            if status != 200:
                return f"status {status}"
            return "" if CONTENT.search(seen.body) else "no content"
        while event := response.readline(_EVENT_END):
            seen.take(event)
            if CONTENT.search(event):
                seen.first_s = time.perf_counter()
                seen.take(response.readline(_STREAM_END))
                break
            if _STREAM_END in event:
                break
        seen.ended_s = time.perf_counter()
        seen.take(response.read())
        if _STREAM_ERROR.search(seen.body):
            return "error in a stream"
        if _STREAM_END not in seen.body:
            return "incomplete stream"
        return "no content" if seen.first_s is None else ""


class _Seen:
    """What has come of one request so far."""

    def __init__(self, started_epoch_s: float, started_s: float) -> None:
        self._started_epoch_s = started_epoch_s
        self._started_s = started_s
        self.first_s: float | None = None
        self.ended_s: float | None = None
        self.expert = ""
        self.body = bytearray()

    def take(self, part: bytes) -> None:
        self.body += part

    def sample(self, failure: str, late_s: float) -> Sample:
        ended_s = time.perf_counter() if self.ended_s is None else self.ended_s
        first = None if failure else self.first_s
        return Sample(
            started_s=self._started_epoch_s,
            first_token_s=NOTHING if first is None else self._epoch(first),
            ended_s=self._epoch(ended_s),
            late_s=late_s,
            prompt_tokens=_last_number(_PROMPT_TOKENS, self.body),
            output_tokens=_last_number(_OUTPUT_TOKENS, self.body),
            expert=self.expert,
            failure=failure,
        )

    def _epoch(self, at_s: float) -> float:
        return self._started_epoch_s + at_s - self._started_s


def _last_number(pattern: re.Pattern[bytes], body: bytearray) -> float:
    found = pattern.findall(body)
    return float(found[-1]) if found else NOTHING


def _message(body: bytearray) -> str:
    """What an error says of itself."""
    start = body.rfind(b"{", 0, max(0, body.find(b'"error"')))
    try:
        said = orjson.loads(bytes(body[start:]).split(_EVENT_END)[0] if start >= 0 else b"")
        return str(said["error"]["message"])[:_LONGEST_MESSAGE]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:_LONGEST_MESSAGE].decode("utf-8", "replace")
