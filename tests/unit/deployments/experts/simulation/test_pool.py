import pytest

from deployments.experts.simulation.engine import Engine
from deployments.experts.simulation.pool import Call, serve_users
from deployments.experts.simulation.timing import Capacity, Timing


def engine(step_s, sequences=256):
    return Engine(Timing(step_s=step_s), Capacity(max_sequences=sequences))


def test_one_user_waits_for_all_calls_of_a_prompt_one_after_the_other():
    pool = {"small": [engine(0.1)], "large": [engine(1.0)]}
    served = serve_users(pool, [[Call("small", 5, 3), Call("large", 5, 2)]], users=1, answers=10)
    assert served.latency_s == pytest.approx([2.3] * 10)
    assert served.requests_per_s == pytest.approx(1 / 2.3)


def test_replicas_share_the_users():
    def rate(replicas):
        pool = {"small": [engine(0.1, sequences=1) for _ in range(replicas)]}
        return serve_users(pool, [[Call("small", 5, 5)]], users=8, answers=100).requests_per_s

    assert rate(1) == pytest.approx(2.0)
    assert rate(4) == pytest.approx(8.0)


def test_prompts_go_where_they_are_sent_and_the_busier_expert_is_the_limit():
    pool = {"small": [engine(0.1, sequences=1)], "large": [engine(0.1, sequences=1)]}
    prompts = [[Call("large", 1, 10)]] * 3 + [[Call("small", 1, 10)]]
    served = serve_users(pool, prompts, users=50, answers=400)
    # `large` answers one a second and three prompts of four.
    assert served.requests_per_s == pytest.approx(4 / 3, rel=0.1)


def test_users_and_rate_and_latency_agree_with_littles_law():
    pool = {"small": [engine(0.02, sequences=16), engine(0.02, sequences=16)]}
    served = serve_users(pool, [[Call("small", 5, tokens)] for tokens in (4, 20, 60)], users=64, answers=2000)
    assert served.requests_per_s * served.latency_s.mean() == pytest.approx(64, rel=0.05)
