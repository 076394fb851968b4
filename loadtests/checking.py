"""Whether a load test can be run, asked before any load is made: each mistake is one sentence."""

from __future__ import annotations

import httpx

from loadtests.errors import LoadTestError
from loadtests.prompts import conversations
from loadtests.scenario import Scenario
from loadtests.traces import arrivals, gaps_s

__all__ = ["check"]

_LIST_S = 10.0


def check(scenario: Scenario) -> None:
    """See that the data are there, that the endpoint answers, and that it knows the model.

    Raises:
        LoadTestError: something is missing.
    """
    _check_data(scenario)
    _check_model(scenario)
    _check_answer(scenario)


def _check_data(scenario: Scenario) -> None:
    next(conversations(scenario.mix, folder=scenario.data, prompt_tokens=scenario.prompt_tokens, seed=scenario.seed))
    if scenario.is_trace:
        planned = arrivals(scenario.shape, scenario.data, seconds=scenario.seconds, rate=scenario.rate)
        if not len(planned):
            raise LoadTestError(f"{scenario.shape} has no request in {scenario.seconds:g} s: give more --seconds.")
    if scenario.think_s and scenario.thinking == "azure":
        gaps_s(scenario.data)


def _check_model(scenario: Scenario) -> None:
    names = _models(scenario)
    # A route may carry a threshold: `auto@0.7`, `router-hybrid-trans-0.7`.
    name = scenario.model.partition("@")[0]
    if names is not None and name not in names and not name.startswith("router-"):
        raise LoadTestError(
            f"{scenario.url} has no model {scenario.model!r}: use one of {', '.join(names) or '(it has none)'}."
        )


def _models(scenario: Scenario) -> list[str] | None:
    """What the endpoint offers; None where it does not list it."""
    host, port, path = scenario.address
    try:
        response = httpx.get(f"http://{_in_url(host)}:{port}{path}/models", timeout=_LIST_S)
    except httpx.HTTPError as error:
        raise LoadTestError(
            f"Nothing answers at {scenario.url} ({error}): start an endpoint with `pointsman serve`, or name its URL."
        ) from None
    try:
        return [str(card["id"]) for card in response.raise_for_status().json()["data"]]
    except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
        return None


def _check_answer(scenario: Scenario) -> None:
    """Ask once, as a user would."""
    host, port, path = scenario.address
    url = f"http://{_in_url(host)}:{port}{path}/chat/completions"
    body = {"model": scenario.model, "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 1}
    try:
        response = httpx.post(url, json=body, timeout=scenario.timeout_s)
    except httpx.HTTPError as error:
        raise LoadTestError(f"{url} does not answer a first request ({error!r}): see whether it is healthy.") from None
    if response.status_code != 200:
        raise LoadTestError(f"{url} answers a first request with {response.status_code}: {_said(response)}")


def _said(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200].strip() or "it says no more."


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
