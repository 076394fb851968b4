"""Embeddings endpoints: a real server on the loopback interface, well-behaved and not."""

import asyncio
import hashlib
import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routers import (
    ArtifactError,
    DataError,
    FeatureError,
    NotFittedError,
    ParameterError,
    Prompt,
    RoutingData,
    load_router,
    make_features,
    make_router,
    save_router,
)
from routers.features import EndpointFeatures

WIDTH = 6


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "EmbeddingsServer"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.asked.append((self.path, dict(self.headers), body))
            self.server.ports.add(self.client_address[1])
            answer = self.server.answers.pop(0) if self.server.answers else {}
        time.sleep(answer.get("pause_s", 0.0))
        content = answer.get("content")
        if content is None:
            content = json.dumps({"object": "list", "data": self.embeddings(body), "model": body["model"]}).encode()
        self.send_response(answer.get("status", 200))
        for name, value in {"content-length": str(len(content)), **answer.get("headers", {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def embeddings(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        width = body.get("dimensions", self.server.width)
        rows = [
            {"object": "embedding", "index": i, "embedding": embed(text, width)} for i, text in enumerate(body["input"])
        ]
        # An API says by its index where an embedding belongs, so the order must not matter.
        return rows[::-1]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class EmbeddingsServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.width = WIDTH
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.ports: set[int] = set()
        self.answers: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def texts(self) -> list[str]:
        """Every text that was asked for, but the one that tells the number of dimensions."""
        return [text for _, _, body in self.asked for text in body["input"] if text != "a"]


def embed(text: str, width: int) -> list[float]:
    """Not of unit length; the same for the same text, near for texts that share their first word."""
    words = text.split() or [""]
    seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") for word in (words[0], text)]
    base, own = (np.random.default_rng(seed).normal(size=width) for seed in seeds)
    return [float(value) for value in 3 * base + 0.1 * own]


@pytest.fixture
def server() -> Iterator[EmbeddingsServer]:
    running = EmbeddingsServer()
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def features_at(server: EmbeddingsServer, **parameters: Any) -> EndpointFeatures:
    features = make_features({"kind": "endpoint", "url": server.url, "model": "tiny", **parameters})
    assert isinstance(features, EndpointFeatures)
    return features


def fitted_at(server: EmbeddingsServer, **parameters: Any) -> EndpointFeatures:
    return features_at(server, **parameters).fit(["anything"])


def unit(texts: list[str]) -> np.ndarray:
    rows = np.array([embed(text, WIDTH) for text in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_rows_are_the_embeddings_at_unit_length(server: EmbeddingsServer) -> None:
    features = fitted_at(server, batch_size=3)
    texts = [f"text {i}" for i in range(10)]
    rows = features.transform(texts)
    assert (rows.shape, rows.dtype, features.n_features_) == ((10, WIDTH), np.float32, WIDTH)
    np.testing.assert_allclose(rows, unit(texts), atol=1e-6)
    sent = [len(body["input"]) for _, _, body in server.asked[1:]]
    assert sorted(sent) == [1, 3, 3, 3]
    np.testing.assert_array_equal(asyncio.run(features.transform_async(texts)), rows)
    assert features.transform([]).shape == (0, WIDTH)


def test_the_request_is_of_openais_form(server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", "secret")
    features = fitted_at(server, api_key_env="TINY_KEY", dimensions=4)
    assert features.transform([Prompt("x y", {"domain": "law"})]).shape == (1, 4)
    path, headers, body = server.asked[-1]
    assert path == "/v1/embeddings"
    assert headers["authorization"] == "Bearer secret"
    assert body == {"model": "tiny", "encoding_format": "float", "dimensions": 4, "input": ["x y"]}


def test_a_repeated_prompt_is_asked_for_once(server: EmbeddingsServer) -> None:
    features = fitted_at(server, cache_size=2)
    first = features.transform(["one", "two", "one"])
    assert sorted(server.texts) == ["one", "two"]
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(asyncio.run(features.transform_async(["two", "one"])), first[[1, 0]])
    assert len(server.texts) == 2
    features.transform(["three"])
    # Two are kept: `two` was used before `one`, so it went.
    features.transform(["one"])
    assert server.texts[2:] == ["three"]
    features.transform(["two"])
    assert server.texts[2:] == ["three", "two"]


def test_nothing_is_kept_where_nothing_may_be(server: EmbeddingsServer) -> None:
    features = fitted_at(server, cache_size=0)
    features.transform(["one"])
    features.transform(["one"])
    assert server.texts == ["one", "one"]


def test_blank_prompts_are_zero_and_not_asked_for(server: EmbeddingsServer) -> None:
    rows = fitted_at(server).transform(["", " \n", "x"])
    assert server.texts == ["x"]
    assert rows.any(axis=1).tolist() == [False, False, True]


def test_long_prompts_are_clipped_and_that_is_said(server: EmbeddingsServer, caplog: pytest.LogCaptureFixture) -> None:
    features = features_at(server, max_bytes=21)
    with caplog.at_level(logging.WARNING):
        features.fit(["short", "é" * 100])
    assert "1 of 2 prompts" in caplog.text
    features.transform(["a" * 50 + "z" * 50, "é" * 100, "b" * 21, "\ud800x"])
    assert server.texts == ["a" * 10 + "\n" + "z" * 10, "é" * 5 + "\n" + "é" * 5, "b" * 21, "?x"]


def test_a_silent_endpoint_is_given_up_in_time(server: EmbeddingsServer) -> None:
    features = fitted_at(server, timeout_s=0.2)
    server.answers = [{"pause_s": 1.0}]
    start = time.monotonic()
    with pytest.raises(FeatureError, match=r"/v1/embeddings did not answer within 0.2 s: see whether it is up"):
        asyncio.run(features.transform_async(["x"]))
    assert time.monotonic() - start < 0.9
    server.answers = [{"pause_s": 1.0}]
    with pytest.raises(FeatureError, match="did not answer within"):
        features.transform(["x"])


def test_the_time_limit_covers_what_is_tried_again(server: EmbeddingsServer) -> None:
    features = fitted_at(server, timeout_s=0.3)
    server.answers = [
        {"status": 429, "headers": {"retry-after": "60"}, "content": b'{"error": {"message": "slow down"}}'}
    ]
    with pytest.raises(FeatureError, match=r"within 0.3 s \(before that, it answered 429: slow down\)"):
        features.transform(["x"])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(server: EmbeddingsServer, status: int) -> None:
    features = fitted_at(server)
    server.answers = [{"status": status, "content": b"busy"}, {"status": status, "content": b"busy"}]
    np.testing.assert_allclose(features.transform(["x"]), unit(["x"]), atol=1e-6)
    assert server.texts == ["x"] * 3


def test_after_the_last_try_the_reason_is_said(server: EmbeddingsServer) -> None:
    features = fitted_at(server, max_retries=1)
    server.answers = [{"status": 500, "content": b'{"error": {"message": "out of\\n memory"}}'}] * 5
    with pytest.raises(FeatureError, match="answered 500: out of memory"):
        features.transform(["x"])
    assert server.texts == ["x"] * 2


def test_what_will_not_pass_is_not_tried_again(server: EmbeddingsServer) -> None:
    features = fitted_at(server)
    server.answers = [{"status": 401, "content": b'{"error": {"message": "wrong key"}}'}]
    with pytest.raises(FeatureError, match="answered 401: wrong key"):
        features.transform(["x"])
    assert server.texts == ["x"]


def test_an_endpoint_that_is_not_there(server: EmbeddingsServer) -> None:
    features = fitted_at(server, max_retries=1)
    features.url = "http://127.0.0.1:9/v1"
    with pytest.raises(FeatureError, match="could not be reached"):
        features.fit(["x"])


@pytest.mark.parametrize(
    "content",
    [
        b"<html>Welcome</html>",
        b'{"data": [',
        b"[]",
        b"null",
        b'{"data": null}',
        b'{"data": []}',
        b'{"data": [{"index": 1, "embedding": [1, 2, 3, 4, 5, 6]}]}',
        b'{"data": [{"index": 0, "embedding": "AAAA"}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2, null, 4, 5, 6]}]}',
        b'{"data": [{"index": 0, "embedding": [1e300, 1, 1, 1, 1, 1]}]}',
        b'{"data": [{"embedding": [1, 2, 3, 4, 5, 6]}]}',
    ],
)
def test_an_answer_that_is_no_embedding(server: EmbeddingsServer, content: bytes) -> None:
    features = fitted_at(server)
    server.answers = [{"content": content}]
    with pytest.raises(FeatureError, match="something else than 1 embeddings"):
        features.transform(["x"])
    assert server.texts == ["x"]


def test_another_length_than_in_training(server: EmbeddingsServer) -> None:
    features = fitted_at(server)
    server.width = WIDTH + 1
    with pytest.raises(FeatureError, match="have 7 dimensions, not 6"):
        features.transform(["x"])
    server.answers = [{"content": b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}'}]
    with pytest.raises(FeatureError, match="have 3 dimensions, not 5"):
        features_at(server, dimensions=5).fit(["x"])


def test_batches_of_different_lengths(server: EmbeddingsServer) -> None:
    features = fitted_at(server, batch_size=1)
    server.answers = [{"content": b'{"data": [{"index": 0, "embedding": [1, 2, 3]}]}'}]
    with pytest.raises(FeatureError, match="of different lengths"):
        features.transform(["x", "y"])


async def test_the_event_loop_goes_on_and_requests_overlap(server: EmbeddingsServer) -> None:
    features = fitted_at(server)
    server.answers = [{"pause_s": 0.3}] * 20
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    start = time.monotonic()
    rows = await asyncio.gather(*(features.transform_async([f"text {i}"]) for i in range(20)))
    elapsed = time.monotonic() - start
    ticking.cancel()
    np.testing.assert_allclose(np.concatenate(rows), unit([f"text {i}" for i in range(20)]), atol=1e-6)
    assert elapsed < 20 * 0.3 / 3
    assert ticks > 10


async def test_connections_are_kept(server: EmbeddingsServer) -> None:
    features = fitted_at(server)
    server.ports.clear()
    for i in range(5):
        await features.transform_async([f"text {i}"])
    assert len(server.ports) == 1


async def test_waiting_callers_may_run_inside_an_event_loop(server: EmbeddingsServer) -> None:
    features = fitted_at(server)
    np.testing.assert_allclose(features.transform(["x"]), unit(["x"]), atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"url": ""}, "'url'"),
        ({"url": "api.openai.com/v1"}, "'url'"),
        ({"url": "file:///etc/passwd"}, "'url'"),
        ({"url": "http://[::1"}, "'url'"),
        ({"model": ""}, "'model'"),
        ({"timeout_s": 0.0}, "'timeout_s'"),
        ({"batch_size": 0}, "'batch_size'"),
        ({"dimensions": 0}, "'dimensions'"),
    ],
)
def test_wrong_parameters(server: EmbeddingsServer, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        features_at(server, **parameters)


def test_a_missing_key(server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINY_KEY", raising=False)
    with pytest.raises(ParameterError, match="set the environment variable TINY_KEY"):
        fitted_at(server, api_key_env="TINY_KEY")
    assert server.asked == []


def test_what_comes_before_fit(server: EmbeddingsServer) -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        features_at(server).transform(["x"])
    with pytest.raises(DataError, match="no texts"):
        features_at(server).fit([])


@pytest.mark.parametrize("width", [np.array([0]), np.array([1, 2]), np.array([6], np.int32), None])
def test_a_state_that_does_not_fit(server: EmbeddingsServer, width: np.ndarray | None) -> None:
    with pytest.raises(ArtifactError):
        features_at(server).restore({} if width is None else {"endpoint.dimensions": width})


def test_a_router_from_a_file_asks_only_endpoints_that_are_allowed(
    server: EmbeddingsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POINTSMAN_ALLOWED_ENDPOINTS", raising=False)
    state = fitted_at(server).tensors()
    for url in ("http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"):
        assert features_at(server, url=url).restore(state).n_features_ == WIDTH
    for url in ("https://example.com/v1", "http://localhost.example.com/v1", "http://10.0.0.1/v1"):
        with pytest.raises(ArtifactError, match=f"sends prompts to {url}, which is not allowed.*POINTSMAN_ALLOWED"):
            features_at(server, url=url).restore(state)
    monkeypatch.setenv("POINTSMAN_ALLOWED_ENDPOINTS", "https://example.org, https://example.com/v1/")
    assert features_at(server, url="https://example.com/v1").restore(state).n_features_ == WIDTH
    with pytest.raises(ArtifactError, match="not allowed"):
        features_at(server, url="https://example.com/v2").restore(state)


@pytest.mark.parametrize("name", ["hybrid-prob", "cluster"])
def test_a_router_that_reads_by_an_endpoint(
    server: EmbeddingsServer, name: str, data: RoutingData, held_out: RoutingData, tmp_path: Path
) -> None:
    features = {"kind": "endpoint", "url": server.url, "model": "tiny"}
    router = make_router(name, features=features).fit(data)
    save_router(router, tmp_path / "router")
    loaded = load_router(tmp_path / "router")
    assert loaded.slow
    new = held_out.texts
    answered = asyncio.run(loaded.predict_async(new))
    np.testing.assert_allclose(answered.quality, router.predict(new).quality, atol=1e-5)
    server.answers = [{"status": 500, "content": b"broken"}] * 9
    with pytest.raises(FeatureError, match="answered 500: broken"):
        asyncio.run(loaded.predict_async(["a prompt that nobody has sent before"]))
