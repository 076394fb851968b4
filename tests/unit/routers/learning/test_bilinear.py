import numpy as np
import pytest
import torch

from routers import ArtifactError
from routers.learning.bilinear import Bilinear, BilinearSettings, train_bilinear


def never(epoch: int, model: Bilinear) -> bool:
    return False


def problem(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two features; expert 1 wins where the first one is positive."""
    x = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    battles = np.zeros((n, 2, 2), dtype=np.float32)
    battles[:, 1, 0] = 1 / (1 + np.exp(-3 * x[:, 0]))
    battles[:, 0, 1] = 1 - battles[:, 1, 0]
    return x, battles


def test_the_score_by_hand() -> None:
    # v are (3, 4) and (0, 2), of length 1: (0.6, 0.8) and (0, 1).
    # W1^T q + b = (1 * 2 + 1 * 1 + 0.5, 2 * 1 - 1) = (3.5, 1).
    model = Bilinear(
        experts=np.array([[3.0, 4.0], [0.0, 2.0]], dtype=np.float32),
        project=np.array([[1.0, 0.0], [1.0, 2.0]], dtype=np.float32),
        bias=np.array([0.5, -1.0], dtype=np.float32),
        out=np.array([2.0, 10.0], dtype=np.float32),
    )
    prompt = np.array([[2.0, 1.0]], dtype=np.float32)
    # delta_0 = 2 * 0.6 * 3.5 + 10 * 0.8 * 1 = 12.2; delta_1 = 10.
    np.testing.assert_allclose(model.scores(prompt), [[12.2, 10.0]], rtol=1e-6)
    direction, offset = model.difference(1, 0)
    # d = w2 * (v_1 - v_0) = (-1.2, 2): u = W1 d = (-1.2, 2.8), c = b d = -2.6.
    np.testing.assert_allclose(direction, [-1.2, 2.8], rtol=1e-6)
    assert offset == pytest.approx(-2.6)
    assert float((prompt @ direction)[0]) + offset == pytest.approx(10.0 - 12.2, abs=1e-5)


def test_one_dot_product_equals_the_difference_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    model = Bilinear(*(rng.normal(size=shape).astype(np.float32) for shape in ((3, 16), (40, 16), (16,), (16,))))
    x = rng.normal(size=(25, 40)).astype(np.float32)
    scores = model.scores(x)
    for first, second in ((1, 0), (0, 2)):
        direction, offset = model.difference(first, second)
        np.testing.assert_allclose(x @ direction + offset, scores[:, first] - scores[:, second], atol=1e-4)


def test_the_length_of_an_experts_vector_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    model = Bilinear(*(rng.normal(size=shape).astype(np.float32) for shape in ((2, 4), (3, 4), (4,), (4,))))
    longer = Bilinear(model.experts * np.array([[5.0], [0.1]], dtype=np.float32), model.project, model.bias, model.out)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(longer.scores(x), model.scores(x), rtol=1e-4)


def test_it_learns_who_wins() -> None:
    x, battles = problem()
    model = train_bilinear(x, battles, BilinearSettings(dim=8, learning_rate=2e-2, epochs=25), never)
    direction, offset = model.difference(1, 0)
    learned = 1 / (1 + np.exp(-(x @ direction + offset)))
    assert np.abs(learned - battles[:, 1, 0]).mean() < 0.05


def test_every_two_experts_fight() -> None:
    # Expert 2 beats 1 and 1 beats 0 on every prompt: the scores are in this order.
    x, _ = problem(120)
    battles = np.broadcast_to(np.tril(np.ones((3, 3), dtype=np.float32), -1), (120, 3, 3))
    scores = train_bilinear(x, battles, BilinearSettings(dim=8, learning_rate=2e-2, epochs=10), never).scores(x)
    assert (np.diff(scores, axis=1) > 0).mean() > 0.95


def test_the_watch_sees_every_epoch_and_ends_it() -> None:
    x, battles = problem(40)
    seen = []
    settings = BilinearSettings(dim=4, epochs=9)
    last = train_bilinear(x, battles, settings, lambda epoch, model: seen.append((epoch, model)) or epoch == 3)
    assert [epoch for epoch, _ in seen] == [1, 2, 3]
    np.testing.assert_array_equal(last.project, seen[-1][1].project)
    assert (seen[0][1].project != last.project).any()


def test_it_goes_on_from_given_weights() -> None:
    x, battles = problem(100)
    settings = BilinearSettings(dim=4, epochs=1, learning_rate=1e-6, noise=0.0)
    start = train_bilinear(x, battles, settings, never)
    again = train_bilinear(x, battles, settings, never, start=start)
    np.testing.assert_allclose(again.project, start.project, atol=1e-4)
    assert (again.project != start.project).any()


def test_the_seed_decides_and_torchs_random_state_stays() -> None:
    x, battles = problem(40)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = (
        train_bilinear(x, battles, BilinearSettings(dim=4, epochs=1, seed=seed), never).project for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_saved_weights_are_checked() -> None:
    x, battles = problem(40)
    model = train_bilinear(x, battles, BilinearSettings(dim=4, epochs=1), never)
    restored = Bilinear.restore(model.tensors(), 2, 2)
    np.testing.assert_array_equal(restored.scores(x), model.scores(x))
    for wrong in ({**model.tensors(), "mf.out": np.ones(5, dtype=np.float32)}, {}):
        with pytest.raises(ArtifactError, match="train and save"):
            Bilinear.restore(wrong, 2, 2)
