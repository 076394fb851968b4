"""Locust's users, and what each of its processes knows of the load test. Only Locust's processes import this."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.pool import Pool
from locust import LoadTestShape, User, task
from locust.env import Environment

from loadtests.chat_client import Answered, ChatClient, request_body
from loadtests.prompts import Conversation, conversations, document
from loadtests.samples import NOTHING, ClientTick, Sample
from loadtests.scenario import Scenario
from loadtests.shapes import users_at
from loadtests.traces import Arrivals, arrivals, gaps_s

__all__ = ["ChatUser", "Desk", "PlannedShape"]

_TICK_S = 0.5
_MOST_WORKERS = 10_000


class Desk:
    """What one process shares: the scenario, what its users have seen, and how the process itself fares.

    Args:
        environment: Locust's.
        scenario: the load test.
    """

    def __init__(self, environment: Environment, scenario: Scenario) -> None:
        self._environment = environment
        self._samples: list[Sample] = []
        self._ticks: list[ClientTick] = []
        self._messages: dict[str, str] = {}
        self._simulated: set[str] = set()
        self.begin(scenario)

    def begin(self, scenario: Scenario) -> None:
        """Start a load test, the first one or another one."""
        self.scenario = scenario
        self.started_s = time.time()
        self._users = 0
        self._gaps = gaps_s(scenario.data) if scenario.thinking == "azure" and scenario.think_s else None

    def seat(self) -> int:
        """A number for a new user that no other one of this load test has."""
        self._users += 1
        return self._users * _MOST_WORKERS + self.worker

    @property
    def worker(self) -> int:
        """The place of this process among those that make the load."""
        return int(getattr(self._environment.runner, "worker_index", 0))

    def think_s(self, chooser: random.Random) -> float:
        """How long a user waits before the next question."""
        mean_s = self.scenario.think_s
        if mean_s <= 0:
            return 0.0
        if self._gaps is not None:
            return mean_s * float(self._gaps[chooser.randrange(len(self._gaps))])
        return chooser.expovariate(1 / mean_s)

    def record(self, answered: Answered) -> None:
        """Keep what came of a request, and tell Locust: a row for each quantity, in its column of times.

        The row `tokens/s` holds tokens a second of one request, not milliseconds.
        """
        sample = answered.sample
        self._samples.append(sample)
        if sample.failure:
            self._messages.setdefault(sample.failure, answered.message)
        if answered.simulated:
            self._simulated.add(sample.expert)
        name = "chat, streaming" if self.scenario.stream else "chat"
        error = RuntimeError(f"{sample.failure}: {answered.message}") if sample.failure else None
        self._fire("POST", name, 1e3 * sample.latency_s, answered.length, error)
        if sample.failure:
            return
        if sample.first_token_s != NOTHING:
            self._fire("first token", name, 1e3 * (sample.first_token_s - sample.started_s))
        if sample.token_interval_s is not None:
            self._fire("output token", name, 1e3 * sample.token_interval_s)
        if sample.output_tokens > 0:
            self._fire("tokens/s", name, sample.output_tokens / sample.latency_s)

    def _fire(self, kind: str, name: str, value: float, length: int = 0, error: Exception | None = None) -> None:
        self._environment.events.request.fire(
            request_type=kind, name=name, response_time=value, response_length=length, exception=error, context={}
        )

    def drain(self) -> dict[str, Any]:
        """Everything since the last time."""
        report = {
            "samples": self._samples,
            "ticks": self._ticks,
            "messages": self._messages,
            "simulated": sorted(self._simulated),
        }
        self._samples, self._ticks = [], []
        return report

    def watch_itself(self) -> None:
        """Note for ever how much of a processor this process uses, and how late its event loop is."""
        process = os.getpid()
        while True:
            from_s, cpu_s = time.perf_counter(), time.process_time()
            gevent.sleep(_TICK_S)
            passed_s = time.perf_counter() - from_s
            cpu = (time.process_time() - cpu_s) / passed_s
            self._ticks.append(ClientTick(time.time(), process, cpu, max(0.0, passed_s - _TICK_S)))


class ChatUser(User):
    """A user who asks, waits for the answer, thinks, and asks again; or, of a trace, the one who sends all requests."""

    host = Scenario.url

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._desk: Desk = environment.desk
        scenario = self._desk.scenario
        seat = self._desk.seat()
        self._chooser = random.Random(f"{scenario.seed}/{seat}")
        self._client = ChatClient(scenario, concurrency=scenario.most_open if scenario.is_trace else 1)
        self._questions: Iterator[Conversation] = conversations(
            scenario.mix, folder=scenario.data, prompt_tokens=scenario.prompt_tokens, seed=self._chooser.getrandbits(32)
        )
        self._replayed = False

    def wait_time(self) -> float:
        """Seconds before the next question."""
        return self._desk.think_s(self._chooser)

    def on_stop(self) -> None:
        """Close the connections."""
        self._client.close()

    @task
    def ask(self) -> None:
        """Ask once; of a trace, send everything."""
        scenario = self._desk.scenario
        if not scenario.is_trace:
            body = request_body(scenario, next(self._questions), scenario.max_tokens, fixed=scenario.fixed_length)
            self._desk.record(self._client.ask(body))
        elif self._replayed:
            gevent.sleep(_TICK_S)
        else:
            self._replayed = True
            self._replay(scenario)

    def _replay(self, scenario: Scenario) -> None:
        """Send this process's part of a trace, each request at its time whether or not others are answered."""
        planned = arrivals(
            scenario.shape, scenario.data, seconds=scenario.seconds, rate=scenario.rate, seed=scenario.seed
        ).share(self._desk.worker, scenario.processes)
        pool = Pool(max(1, scenario.most_open // scenario.processes))
        from_s = time.perf_counter()
        for number, time_s in enumerate(planned.times_s):
            body = self._body_of(planned, number)
            gevent.sleep(max(0.0, from_s + time_s - time.perf_counter()))
            pool.wait_available()
            late_s = time.perf_counter() - from_s - time_s
            pool.spawn(self._send, body, late_s)
        pool.join()

    def _send(self, body: bytes, late_s: float) -> None:
        self._desk.record(self._client.ask(body, late_s=late_s))

    def _body_of(self, planned: Arrivals, number: int) -> bytes:
        scenario = self._desk.scenario
        tokens = int(planned.output_tokens[number])
        if not tokens:
            return request_body(scenario, next(self._questions), scenario.max_tokens, fixed=scenario.fixed_length)
        length = min(int(planned.prompt_tokens[number]), scenario.prompt_tokens)
        messages = [{"role": "user", "content": document(length, self._chooser)}]
        return request_body(scenario, messages, min(tokens, scenario.max_tokens), fixed=True)


class PlannedShape(LoadTestShape):
    """A scenario's users over time.

    Args:
        scenario: the load test.
        requests: tells how many requests there were, so that the load ends with the most that are wanted.
    """

    abstract = True

    def __init__(self, scenario: Scenario, requests: Any) -> None:
        super().__init__()
        self._scenario = scenario
        self._stages = scenario.stages
        self._requests = requests

    def tick(self) -> tuple[int, float] | None:
        """Users now, and how fast they come or go; None at the end."""
        users = users_at(self._stages, self.get_run_time())
        if users is None or self._requests() >= self._scenario.most_requests:
            return None
        return users, self._scenario.spawn_rate
