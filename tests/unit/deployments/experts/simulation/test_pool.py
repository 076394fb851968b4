import pytest

from deployments.experts.simulation.engine import Engine
from deployments.experts.simulation.pool import Call, serve_users
from deployments.experts.simulation.timing import Capacity, Timing


def engine(step_s, sequences=256):
    return Engine(Timing(step_s=step_s), Capacity(max_sequences=sequences))


def test_one_user_waits_for_all_calls_of_a_prompt_one_after_the_other():
    pool = {"small": [engine(0.1)], "large": [engine(1.0)]}
    served = serve_users(pool, [[Call("small", 5, 3), Call("large", 5, 2)]], users=1, until_s=20)
    assert served.latency_s(0, 99) == pytest.approx([2.3] * 9)
    assert served.requests_per_s(0, 20) == pytest.approx(1 / 2.3)


def test_replicas_share_the_users():
    def rate(replicas):
        pool = {"small": [engine(0.1, sequences=1) for _ in range(replicas)]}
        return serve_users(pool, [[Call("small", 5, 5)]], users=8, until_s=50).requests_per_s(10, 50)

    assert rate(1) == pytest.approx(2.0)
    assert rate(4) == pytest.approx(8.0)


def test_prompts_go_where_they_are_sent_and_the_busier_expert_is_the_limit():
    pool = {"small": [engine(0.1, sequences=1)], "large": [engine(0.1, sequences=1)]}
    prompts = [[Call("large", 1, 10)]] * 3 + [[Call("small", 1, 10)]]
    served = serve_users(pool, prompts, users=50, until_s=400)
    # `large` answers one a second and three prompts of four.
    assert served.requests_per_s(100, 400) == pytest.approx(4 / 3, rel=0.1)


def test_users_and_rate_and_latency_agree_with_littles_law():
    pool = {"small": [engine(0.02, sequences=16), engine(0.02, sequences=16)]}
    served = serve_users(pool, [[Call("small", 5, tokens)] for tokens in (4, 20, 60)], users=64, until_s=60)
    assert served.requests_per_s(10, 60) * served.latency_s(10, 60).mean() == pytest.approx(64, rel=0.05)


def test_nobody_asks_after_the_end_and_all_are_answered():
    served = serve_users({"small": [engine(1.0)]}, [[Call("small", 5, 3)]], users=4, until_s=7)
    assert served.began_s.tolist() == [0.0] * 4 + [3.0] * 4 + [6.0] * 4
    assert served.ended_s.max() == pytest.approx(9.0)
    assert served.requests_per_s(6, 9) == pytest.approx(4 / 3)
