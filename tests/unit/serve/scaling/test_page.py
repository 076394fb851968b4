from typing import Any

from serve.scaling.following import lost
from serve.scaling.page import aims_of_following, following_text, growth_text, zero_text
from serve.scaling.pictures import draw_following, draw_growth

LATENCY = {"p50": 10.0, "p95": 1200.0, "p99": 3000.0, "mean": 20.0, "max": 5000.0}


def series(*values: float) -> dict[str, list[float]]:
    return {"t_s": [10.0 * place for place in range(len(values))], "values": list(values)}


def following(failed: int = 0, *, turns: int = 1) -> dict[str, Any]:
    judged = {
        "turns": turns,
        "load_turns": 1,
        "excess_turns": turns - 1,
        "lag": {"up_s": [4.0, 6.5], "down_s": [16.0], "never": 0},
        "least": 1,
        "most": 3,
        "held_s": 300.0,
        "fixed_s": 400.0,
        "short_s": 7.0,
        "saved": 0.25,
    }
    pool = {
        "gpus": 4,
        "bounds": {"least": 1, "most": 4, "target": 10.0, "capacity": 16, "hold_s": 15.0},
        "load": series(5, 25, 5),
        "replicas": series(1, 3, 1),
        "wanted": series(1, 3, 1),
        "held": series(1, 3, 2),
        "judged": judged,
    }
    summary = {"requests": 500, "failures": {"status 500": failed} if failed else {}}
    found: dict[str, Any] = {
        "about": {"scenario": {"seconds": 100.0}},
        "summary": {**summary, "first_token_ms": LATENCY, "latency_ms": LATENCY},
        "client": {"machine_cpu": 0.5, "was_limit": False},
        "over_time": {
            "t_s": [5.0, 15.0],
            "requests_per_s": [5.0, 6.0],
            "failures_per_s": [0.0, float(failed)],
            "under_way": [3.0, 4.0],
        },
        "server": {"queues": {"waiting large": series(0, 9, 0)}},
        "pools": {"large/Expert": pool},
        "compression": 20.0,
    }
    return {**found, "lost": lost(found, {"answered": 500.0, "failed": 0.0})}


def test_a_load_that_was_followed() -> None:
    text = following_text(following())
    assert "| large/Expert | 1–3 (may: 1–4) | 1, 1 | 4.0–6.5 | 16.0 | 7 | 300 | 400 | 25% |" in text
    assert "1,200 ms (95 %)" in text
    assert "In GPU-seconds: 1,200 instead of 1,600, which saves 25%." in text
    assert "Missed" not in text
    assert text.count("- Reached: ") == 4


def test_lost_requests_and_oscillation_are_missed_aims() -> None:
    found = following(failed=3, turns=4)
    missed = [text for reached, text in aims_of_following(found) if not reached]
    assert missed == [
        "requests that failed for a client: 3",
        "large/Expert: changes of direction beyond the load's own: 3",
    ]


def test_an_answer_that_another_expert_had_to_give_is_no_failure_but_said() -> None:
    attempts = {"answered": 90.0, "accepted": 5.0, "rejected": 4.0, "failed": 2.0, "late": 1.0}
    assert lost({"summary": {"failures": {}}}, attempts) == {"failed": 0, "given_to_another": 3}


def test_sleep() -> None:
    episode = {
        "what": "asleep",
        "requests": 1,
        "lost": 0,
        "waited_s": 4.26,
        "experts": ["letters"],
        "tried": "",
        "running": 0,
        "held": 0,
    }
    found = {
        "expert": "letters",
        "route": "expert",
        "compression": 20.0,
        "episodes": [episode],
        "rests": [{"unwanted_s": 31.0, "gone_s": 33.2}],
        "lost": 0,
    }
    text = zero_text(found)
    assert "| asleep | 1 | 0 of 0 | 4.3 | letters | – | 0 |" in text
    assert "after 31.0 s and 33.2 s." in text
    assert "- Reached: requests lost: 0." in text


def point(count: int, rate: float, machine: float) -> dict[str, Any]:
    return {
        "count": count,
        "requests_per_s": rate,
        "failures": 0,
        "machine_cpu": machine,
        "client_cpu": 0.2,
        "cpu_s": {"router": 0.002, "haproxy": 0.0005, "experts": 0.0001},
        "bytes_per_request": 4000.0,
    }


def growth() -> dict[str, Any]:
    return {
        "processors": 2,
        "users": 64,
        "users_an_expert": 10,
        "answer_tokens": 16,
        "expert": {"timing": {"step_s": 0.16}, "capacity": {"max_sequences": 8}},
        "routers": [point(1, 400.0, 0.8), point(2, 500.0, 0.98)],
        "experts": [point(1, 3.0, 0.1), point(2, 6.0, 0.15), point(4, 10.0, 0.2)],
    }


def test_growth() -> None:
    text = growth_text(growth())
    assert "| 2 | 500 | 0.62 | 98% | 2.00 | 500 | 0.50 | 0.10 | 0.40 | 4,000 | 0 |" in text
    assert "From 2 Routers on the machine itself was the limit (98% of its processors in use)." in text
    assert "The machine was not the limit up to 4 experts." in text
    assert "- Reached: 2 experts: 100.0% of linear (aim: 90%)." in text
    assert "- **Missed**: 4 experts: 83.3% of linear (aim: 90%)." in text


def test_pictures_can_be_drawn() -> None:
    assert len(draw_following(following(failed=1)).axes) == 3
    assert len(draw_growth(growth()).axes) == 2
