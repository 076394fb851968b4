from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from routers import ParameterError
from routers.learning.augment import augment
from routers.neural.training import Head, Tuning, _Run, batches, losses_of, noise, tune


class Bag(torch.nn.Module):
    """The sum of one weight a token: the smallest model that reads."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Embedding(256, 1)
        torch.nn.init.zeros_(self.weights.weight)

    def logits(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.stack([self.weights(torch.tensor(one)).sum(dim=0) for one in ids])


def read(texts: Sequence[str]) -> list[list[int]]:
    return [list(text.encode()) for text in texts]


def run(texts: Sequence[str], labels: Sequence[float], bag: Bag, **options: Any) -> dict[str, Any]:
    change, trained, held = options.pop("change", None), options.pop("trained", False), options.pop("held", None)
    targets = np.array(labels, dtype=np.float64)[:, None]
    heads, settings = [Head("sigmoid", 1)], Tuning(**options)
    shares: list[float] = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        happened = tune(
            bag,
            bag.logits,
            read,
            texts,
            targets,
            heads,
            settings,
            lambda doing, share: shares.append(share),
            change=change,
            held=held,
            trained=trained,
        )
    assert shares == sorted(shares)
    return happened


def random_labels(n: int = 60) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(3)
    letters = list("abcdefghijklmnop")
    return ["".join(rng.choice(letters, 6)) for _ in range(n)], rng.integers(0, 2, n).astype(float)


def test_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, np.log(3.0)]])
    targets = torch.tensor([[0.75, 0.25, 1.0, 0.5]])
    # Cross-entropy of equal shares: log 2. Binary: log 2, and -(log(3/4) + log(1/4)) / 2; their mean.
    binary = (np.log(2) - 0.5 * (np.log(0.75) + np.log(0.25))) / 2
    heads = [Head("softmax", 2), Head("sigmoid", 2)]
    np.testing.assert_allclose(losses_of(logits, targets, heads).numpy(), [np.log(2) + binary], rtol=1e-6)


def test_batches_hold_like_lengths_within_the_limit() -> None:
    ids = [[0] * length for length in (9, 1, 5, 2, 30, 1)]
    assert batches(ids, range(6), at_once=10) == [[1, 5, 3], [2], [0], [4]]
    assert batches(ids, [4, 0]) == [[0, 4]]
    assert batches(ids, []) == []


def test_the_best_epoch_is_kept() -> None:
    texts, labels = random_labels()
    bag = Bag()
    happened = run(texts, labels, bag, epochs=40, batch_size=8, learning_rate=0.5, held_out=0.2, patience=5, seed=1)
    losses, best = happened["held_out_loss"], happened["best_epoch"]
    assert losses[best - 1] == min(losses) < losses[-1]
    assert happened["epochs"] == len(losses) == best + 5 < 40
    held = np.random.default_rng(1).permutation(60)[:12]
    with torch.no_grad():
        logits = bag.logits(read([texts[i] for i in held]))
    kept = losses_of(logits, torch.tensor(labels[held, None], dtype=torch.float32), [Head("sigmoid", 1)]).mean()
    assert float(kept) == pytest.approx(min(losses), rel=1e-5)


def test_a_trained_model_stays_where_nothing_is_better() -> None:
    texts, labels = random_labels()
    bag = Bag()
    happened = run(texts, labels, bag, epochs=3, batch_size=8, learning_rate=0.9, held_out=0.5, trained=True)
    assert happened["best_epoch"] == 0
    assert len(happened["held_out_loss"]) == happened["epochs"] + 1
    assert not bag.weights.weight.any()


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_training_that_diverges_is_refused(held_out: float) -> None:
    texts, labels = random_labels()
    bag = Bag()
    torch.nn.init.constant_(bag.weights.weight, np.inf)
    with pytest.raises(ParameterError, match=r"learning rate 0\.1 diverged"):
        run(texts, labels, bag, epochs=3, batch_size=8, learning_rate=0.1, held_out=held_out)


def test_few_texts_are_all_learned_from() -> None:
    happened = run(["a", "b"] * 9, [1.0, 0.0] * 9, bag := Bag(), epochs=4, batch_size=4, learning_rate=0.1)
    assert (happened["best_epoch"], happened["epochs"], happened["held_out_loss"]) == (4, 4, [])
    assert bag.weights.weight[ord("a")] > 0 > bag.weights.weight[ord("b")]


def test_steps_are_counted_and_limited() -> None:
    texts, labels = random_labels(30)
    options: dict[str, Any] = {"epochs": 3, "batch_size": 8, "held_out": 0}
    assert run(texts, labels, Bag(), **options)["steps"] == 12
    assert run(texts, labels, Bag(), **options, max_steps=5)["steps"] == 5


def test_the_learning_rate_rises_then_falls() -> None:
    bag = Bag()
    training = _Run(bag, bag.logits, [Head("sigmoid", 1)], Tuning(learning_rate=0.1, warmup=0.25, weight_decay=0.3))
    training.plan(8)
    rates = []
    for _ in range(8):
        rates.append(training.schedule.get_last_lr()[0])
        training.optimizer.step()
        training.schedule.step()
    np.testing.assert_allclose(rates, 0.1 * np.array([0, 1 / 2, 1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7]))
    assert [group["weight_decay"] for group in training.optimizer.param_groups] == [0.3, 0.0]


def test_texts_are_changed_anew_in_every_epoch() -> None:
    seen: list[str] = []

    def change(text: str, rng: np.random.Generator) -> str:
        seen.append(text)
        return text + "xyz"[int(rng.integers(3))]

    texts, labels = random_labels(30)
    bag = Bag()
    run(texts, labels, bag, epochs=3, batch_size=8, learning_rate=0.1, held_out=0, change=change)
    assert seen == texts * 3
    assert bag.weights.weight[[ord("x"), ord("y"), ord("z")]].abs().min() > 0
    assert not bag.weights.weight[ord("q")]


def test_noise_mixes_texts_and_copies() -> None:
    text, change = "Which of these Words will change?", noise(3.0)
    rng = np.random.default_rng(0)
    changed = [change(text, rng) for _ in range(1000)]
    copies = [augment(text, rng) for _ in range(1000)]
    as_it_was = 0.25 + 0.75 * copies.count(text) / 1000
    assert changed.count(text) / 1000 == pytest.approx(as_it_was, abs=0.06)
    assert len(set(changed)) > 50
    assert noise(0.0) is None


def test_batches_weigh_every_text_alike() -> None:
    """A step over groups of different sizes has the gradient of the whole batch."""
    texts, labels = ["a", "b" * 4000, "c" * 4000], [1.0, 1.0, 0.0]
    assert len(batches(read(texts), range(3))) == 2
    bag = Bag()
    training = _Run(bag, bag.logits, [Head("sigmoid", 1)], Tuning(learning_rate=1e-9, batch_size=3))
    training.plan(4)
    gradients = []
    training.optimizer.register_step_pre_hook(lambda *_: gradients.append(bag.weights.weight.grad[97:100, 0].clone()))
    training.epoch(read(texts), np.array(labels)[:, None], [0, 1, 2])
    ratio = gradients[0] / gradients[0][1]
    np.testing.assert_allclose(ratio.numpy(), [1 / 4000, 1, -1], rtol=1e-4)


def test_named_texts_are_held_out() -> None:
    texts, labels = [f"{letter}{i}" for i in range(20) for letter in "ab"], [1.0, 0.0] * 20
    bag = Bag()
    happened = run(texts, labels, bag, held=[0, 1], epochs=2, batch_size=8, learning_rate=0.1)
    assert len(happened["held_out_loss"]) == 2
    assert happened["steps"] == 2 * 5
    unseen = Bag()
    run(["a", "z", *texts[2:]], [1.0, 1.0, *labels[2:]], unseen, held=[0, 1], epochs=1, learning_rate=0.1)
    assert unseen.weights.weight.detach()[ord("z")].tolist() == [0.0]
