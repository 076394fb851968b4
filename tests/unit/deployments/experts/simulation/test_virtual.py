import numpy as np
import pytest

from deployments.experts.simulation.engine import Engine
from deployments.experts.simulation.timing import Capacity, Timing
from deployments.experts.simulation.virtual import closed_loop


def test_one_user_sees_the_engines_own_time():
    seen = closed_loop(Engine(Timing(step_s=0.1), Capacity()), users=1, prompt_tokens=10, output_tokens=5)
    assert seen.latency_s == pytest.approx(np.full(8, 0.5))
    assert seen.first_token_s == pytest.approx(np.full(8, 0.1))
    assert seen.requests_per_s == pytest.approx(2.0)


@pytest.mark.parametrize("users", [10, 64, 300])
def test_users_and_rate_and_latency_agree_with_littles_law(users):
    timing = Timing(step_s=0.01, token_s=1e-4, sequence_s=2e-4)
    engine = Engine(timing, Capacity(max_sequences=64, max_step_tokens=256))
    seen = closed_loop(engine, users=users, prompt_tokens=40, output_tokens=20, answers_each=20)
    assert seen.requests_per_s * seen.latency_s.mean() == pytest.approx(users, rel=0.05)


def test_a_saturated_engine_gives_no_more_to_more_users():
    def rate(users):
        engine = Engine(Timing(step_s=0.01, sequence_s=1e-3), Capacity(max_sequences=32))
        return closed_loop(engine, users=users, prompt_tokens=10, output_tokens=20).requests_per_s

    assert rate(8) > 3 * rate(1)
    assert rate(128) == pytest.approx(rate(64), rel=0.05)
