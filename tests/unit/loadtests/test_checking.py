import asyncio

import pytest
from aiohttp import web

from loadtests.checking import check
from loadtests.errors import LoadTestError
from loadtests.scenario import Scenario


async def endpoint(serve_chat, *, status=200, models=("auto", "small"), body=None):
    async def answer(request):
        return web.json_response(body or {"choices": [{"message": {"content": "x"}}]}, status=status)

    async def cards(request):
        return web.json_response({"data": [{"id": name} for name in models]})

    return await serve_chat(answer, cards)


async def checked(url, **settings):
    await asyncio.to_thread(check, Scenario(url=url, shape="constant", **settings))


@pytest.mark.parametrize("model", ["auto", "auto@0.7", "router-hybrid-trans-0.5", "small"])
async def test_models_that_pointsman_knows(serve_chat, model):
    await checked(await endpoint(serve_chat), model=model)


async def test_an_endpoint_that_is_down():
    with pytest.raises(LoadTestError, match=r"Nothing answers at http://127\.0\.0\.1:9/v1 .*start an endpoint with"):
        await checked("http://127.0.0.1:9/v1")


async def test_a_model_that_is_not_there(serve_chat):
    with pytest.raises(LoadTestError, match="has no model 'large': use one of auto, small"):
        await checked(await endpoint(serve_chat), model="large")


async def test_an_endpoint_that_refuses(serve_chat):
    url = await endpoint(serve_chat, status=503, body={"error": {"message": "The expert 'small' is away."}})
    with pytest.raises(LoadTestError, match="a first request with 503: The expert 'small' is away"):
        await checked(url)


async def test_an_endpoint_that_lists_no_models_is_asked_all_the_same(serve_chat):
    async def answer(request):
        return web.json_response({"choices": []})

    await checked(await serve_chat(answer), model="whatever")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mix": "zeroeval"}, "zeroeval_scores.csv cannot be read"),
        ({"think_s": 1.0, "thinking": "azure"}, "AzureLLMInferenceTrace_conv.csv cannot be read"),
    ],
)
async def test_missing_data_are_named_before_any_request(tmp_path, settings, message):
    with pytest.raises(LoadTestError, match=message):
        await checked("http://127.0.0.1:9/v1", data=tmp_path, **settings)


def test_a_trace_and_another_machine(tmp_path):
    folder = tmp_path / "azure_traces"
    folder.mkdir()
    rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:00.0,1,1\n2023-11-16 18:16:00.0,1,1\n"
    (folder / "AzureLLMInferenceTrace_conv.csv").write_text(rows)
    trace = {"shape": "azure-conv", "data": tmp_path}
    with pytest.raises(LoadTestError, match="Nothing answers"):
        check(Scenario(url="http://127.0.0.1:9/v1", **trace))
    with pytest.raises(LoadTestError, match="is not this machine"):
        check(Scenario(url="http://192.0.2.1/v1", **trace))
