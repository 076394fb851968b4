import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from routers import DataError, ParameterError
from serve.labelling import GRADERS, AskSettings, ExamPrompt, Journal, label, read_prompts

PROMPTS = [
    ExamPrompt(prompt_id="p0", prompt="say yes", answer="yes", domain="d", split="train", metadata={"level": 1}),
    ExamPrompt(prompt_id="p1", prompt="say no", answer="no", split="test"),
]


class Endpoint:
    """An OpenAI endpoint of two experts; the small one always says yes, the route asks the large one."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.fail_after: int | None = None
        self.url = ""

    async def models(self, _: web.Request) -> web.Response:
        price = {"input_per_million": 1.0, "output_per_million": 2.0}
        cards = [{"id": name, "object": "model", "price": price} for name in ("small", "large")]
        routes = [{"id": "auto", "object": "model"}, {"id": "frugal", "object": "model", "independent_choices": False}]
        return web.json_response({"object": "list", "data": [*cards, *routes]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        if self.fail_after is not None and len(self.requests) > self.fail_after:
            return web.json_response({"error": {"message": "broken", "code": 400}}, status=400)
        expert = body["model"] if body["model"] in ("small", "large") else "large"
        text = "yes" if expert == "small" else body["messages"][0]["content"].removeprefix("say ")
        choices = [
            {
                "index": index,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": f" {text} "},
                "logprobs": {"content": [{"token": text, "logprob": 0.0, "top_logprobs": []}] * 3},
            }
            for index in range(body["n"])
        ]
        usage = {"prompt_tokens": 5, "completion_tokens": 3 * body["n"], "total_tokens": 5 + 3 * body["n"]}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": expert}
        headers = {"x-pointsman-cost": "0.5"} if body["model"] == "frugal" else {}
        return web.json_response({**answer, "choices": choices, "usage": usage}, headers=headers)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application()
    app.router.add_get("/v1/models", endpoint.models)
    app.router.add_post("/v1/chat/completions", endpoint.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield endpoint
    await runner.cleanup()


async def run(endpoint: Endpoint, out: Path, models: list[str], samples: int = 2) -> int:
    answered = []
    settings = AskSettings(endpoint.url, samples=samples, concurrency=1)
    await label(PROMPTS, models, settings, GRADERS["exact"], Journal(out), lambda: answered.append(1))
    return len(answered)


async def test_answers_are_graded_counted_and_priced(endpoint: Endpoint, tmp_path: Path) -> None:
    out = tmp_path / "data.parquet"
    assert await run(endpoint, out, ["small", "large", "auto"]) == 6
    data = Journal(out).close()
    assert not Journal(out).path.exists()
    rows = data.frame.set_index(["prompt_id", "expert", "sample"])
    assert rows.loc[("p0", "small", 1), "quality"] == 1
    assert rows.loc[("p1", "small", 0), "quality"] == 0
    assert rows.loc[("p1", "auto", 0), "quality"] == 1
    row = rows.loc[("p0", "large", 0)]
    assert (row["input_tokens"], row["output_tokens"], row["domain"], row["split"]) == (5, 3, "d", "train")
    assert row["cost"] == pytest.approx((5 * 1 + 3 * 2) / 1e6)
    routed = rows.loc[("p0", "auto", 0)]
    assert routed["cost"] == row["cost"], "a route's answer costs what the expert that gave it costs"
    assert orjson.loads(routed["metadata"]) == {"level": 1, "answered_by": "large"}


async def test_a_plan_is_asked_for_each_sample_and_costs_all_its_attempts(endpoint: Endpoint, tmp_path: Path) -> None:
    out = tmp_path / "data.parquet"
    await run(endpoint, out, ["frugal"], samples=3)
    assert [request["n"] for request in endpoint.requests] == [1] * 6
    frame = Journal(out).close().frame
    assert sorted(frame["sample"]) == [0, 0, 1, 1, 2, 2]
    assert set(frame["cost"]) == {0.5}


async def test_an_interrupted_run_goes_on_where_it_was(endpoint: Endpoint, tmp_path: Path) -> None:
    out = tmp_path / "data.parquet"
    endpoint.fail_after = 1
    with pytest.raises(BaseExceptionGroup):
        await run(endpoint, out, ["small", "large"])
    journal = Journal(out)
    journal.path.write_bytes(journal.path.read_bytes() + b'\n[{"prompt_id": "p1", "exp')
    endpoint.fail_after = None
    endpoint.requests.clear()
    assert await run(endpoint, out, ["small", "large"]) == 4
    assert len(endpoint.requests) == 3
    assert len(Journal(out).close()) == 8
    endpoint.requests.clear()
    await run(endpoint, out, ["small", "large", "auto"])
    assert {request["model"] for request in endpoint.requests} == {"auto"}
    assert len(Journal(out).close()) == 12


async def test_another_number_of_samples_needs_another_file(endpoint: Endpoint, tmp_path: Path) -> None:
    out = tmp_path / "data.parquet"
    await run(endpoint, out, ["small"])
    Journal(out).close()
    with pytest.raises(DataError, match="has 2 samples a prompt, not 3"):
        await run(endpoint, out, ["small"], samples=3)


async def test_unknown_models_and_silent_endpoints_are_named(endpoint: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no model 'huge': it has small, large, auto, frugal"):
        await run(endpoint, tmp_path / "x", ["huge"])
    settings = AskSettings("http://127.0.0.1:9/v1", timeout_s=1)
    with pytest.raises(ParameterError, match="does not answer"):
        await asyncio.wait_for(
            label(PROMPTS, ["small"], settings, GRADERS["exact"], Journal(tmp_path / "x"), lambda: None), 60
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no prompts"),
        ("{broken", "line 1"),
        ('{"prompt_id": "1", "prompt": "x"}', "answer"),
        ('{"prompt_id": "1", "prompt": "x", "answer": "y", "levle": 1}', "levle"),
        ('{"prompt_id": "1", "prompt": "x", "answer": "y"}\n' * 2, "twice"),
    ],
)
def test_wrong_prompt_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_prompts(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(tmp_path / "nothing")


def test_graders() -> None:
    assert GRADERS["exact"](" 12\n", "12") == 1
    assert GRADERS["exact"]("12.", "12") == 0
    assert GRADERS["contains"]("It is Monday.", "monday") == 1
    assert GRADERS["contains"]("It is Sunday.", "monday") == 0
