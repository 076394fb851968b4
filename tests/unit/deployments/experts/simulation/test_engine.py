import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.experts.simulation.engine import Engine, QueueFullError, Sequence
from deployments.experts.simulation.timing import Capacity, Timing
from routers import ParameterError

TIMING = Timing(step_s=0.01, weights_s=0.02, token_s=0.001, sequence_s=0.002, context_token_s=0.0001, request_s=0.005)


def run(engine: Engine, now_s: float = 0.0) -> float:
    """Step until nothing is left; returns when that is."""
    while (step := engine.start_step()) is not None:
        now_s += step.duration_s
        engine.finish_step(step, now_s)
    return now_s


def test_a_step_takes_what_the_formula_says():
    duration_s = TIMING.duration_s(decoding=10, prompt_tokens=50, context_tokens=1000, begun=2)
    assert duration_s == pytest.approx(0.01 + 60 * 0.001 + 10 * 0.002 + 1000 * 0.0001 + 2 * 0.005)
    # Few tokens wait for the weights.
    assert TIMING.duration_s(decoding=1, prompt_tokens=0, context_tokens=0, begun=0) == pytest.approx(0.032)


def test_one_request_alone():
    engine = Engine(Timing(step_s=0.1, token_s=0.01), Capacity())
    sequence = Sequence(prompt_tokens=20, output_tokens=4)
    engine.submit(sequence, 5.0)
    ended_s = run(engine, 5.0)
    assert sequence.first_token_s == pytest.approx(5.0 + 0.1 + 20 * 0.01)
    # Three more tokens, a step each.
    assert ended_s == sequence.finished_s == pytest.approx(5.3 + 3 * 0.11)
    assert (engine.running, engine.waiting, engine.kv_tokens, engine.start_step()) == (0, 0, 0, None)


def test_a_long_prompt_is_read_in_chunks_beside_a_running_answer():
    engine = Engine(Timing(step_s=1.0), Capacity(max_step_tokens=300))
    short, long = Sequence(10, 100), Sequence(700, 1)
    engine.submit(short, 0.0)
    engine.finish_step(engine.start_step(), 1.0)
    engine.submit(long, 1.0)
    read = []
    while long.finished_s is None:
        step = engine.start_step()
        read.append(step.prompt_tokens)
        engine.finish_step(step, 0.0)
    # One of the 300 tokens is the running sequence's own.
    assert read == [299, 299, 102]
    assert engine.generated(short) == 4


def test_more_than_fit_at_a_time_wait_their_turn():
    engine = Engine(Timing(step_s=1.0), Capacity(max_sequences=2))
    sequences = [Sequence(5, 3) for _ in range(5)]
    for sequence in sequences:
        engine.submit(sequence, 0.0)
    first = engine.start_step()
    assert (engine.running, engine.waiting) == (2, 3)
    engine.finish_step(first, 1.0)
    run(engine, 1.0)
    assert [sequence.finished_s for sequence in sequences] == [3, 3, 6, 6, 9]


def test_a_full_queue_refuses():
    engine = Engine(Timing(step_s=1.0), Capacity(max_sequences=1, max_waiting=1))
    engine.submit(Sequence(5, 3), 0.0)
    engine.start_step()
    engine.submit(Sequence(5, 3), 0.0)
    with pytest.raises(QueueFullError, match="1 requests wait already"):
        engine.submit(Sequence(5, 3), 0.0)


def test_a_full_cache_sends_the_last_one_back_and_loses_nothing():
    engine = Engine(Timing(step_s=1.0), Capacity(kv_tokens=40, max_model_tokens=40))
    first, last = Sequence(10, 20), Sequence(10, 20)
    engine.submit(first, 0.0)
    engine.submit(last, 0.0)
    now_s = run(engine)
    assert (first.preemptions, last.preemptions) == (0, 1)
    assert first.finished_s == 20
    # What it had made is read anew with its prompt, not made anew: 10 tokens before, 10 after.
    assert last.finished_s == now_s == 30
    assert last.first_token_s == 1


def test_a_cancelled_sequence_leaves_nothing_behind():
    engine = Engine(Timing(step_s=1.0), Capacity(max_sequences=2, max_step_tokens=50))
    decoding, reading, waiting = Sequence(5, 50), Sequence(90, 5), Sequence(5, 5)
    for sequence in (decoding, reading, waiting):
        engine.submit(sequence, 0.0)
    engine.finish_step(engine.start_step(), 1.0)
    step = engine.start_step()
    for sequence in (decoding, reading, waiting):
        engine.cancel(sequence)
    engine.finish_step(step, 2.0)
    assert (engine.running, engine.waiting, engine.kv_tokens, engine.start_step()) == (0, 0, 0, None)
    engine.cancel(decoding)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=25),
    kv_tokens=st.integers(90, 400),
    max_sequences=st.integers(1, 8),
    max_step_tokens=st.integers(8, 64),
)
def test_every_request_is_answered_whole_and_the_cache_never_overflows(
    lengths, kv_tokens, max_sequences, max_step_tokens
):
    engine = Engine(TIMING, Capacity(kv_tokens, 90, max_sequences, max_step_tokens))
    sequences = [Sequence(prompt, output) for prompt, output in lengths]
    for sequence in sequences:
        engine.submit(sequence, 0.0)
    now_s, ended = 0.0, []
    while (step := engine.start_step()) is not None:
        assert step.decoding + step.prompt_tokens <= max_step_tokens
        assert engine.running <= max_sequences
        before = [engine.generated(sequence) for sequence in sequences]
        now_s += step.duration_s
        ended += engine.finish_step(step, now_s)
        assert engine.kv_tokens <= kv_tokens
        made = [engine.generated(sequence) - old for sequence, old in zip(sequences, before, strict=True)]
        assert set(made) <= {0, 1}
        assert sum(made) == step.decoding + len(step.read)
    assert sorted(map(id, ended)) == sorted(map(id, sequences))
    assert all(engine.generated(sequence) == sequence.output_tokens for sequence in sequences)
    assert engine.kv_tokens == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kv_tokens": 0}, "kv_tokens is 0"),
        ({"max_waiting": -1}, "max_waiting is -1"),
        ({"kv_tokens": 10, "max_model_tokens": 11}, "longest request could never run"),
        ({"max_step_tokens": 8, "max_sequences": 9}, "not every running sequence"),
    ],
)
def test_impossible_capacities_are_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        Capacity(**values)


def test_negative_times_are_refused():
    with pytest.raises(ParameterError, match=r"timing\.token_s is -1"):
        Timing(token_s=-1)
