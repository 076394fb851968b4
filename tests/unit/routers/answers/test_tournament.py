import numpy as np

from routers.answers.tournament import Game, bubble, max_logits, max_wins

# Leads of the row's candidate, read first, over the column's. Reading first is worth 1 to everyone but in the last row.
LEADS = np.array([[9.0, 3.0, -1.0], [-1.0, 9.0, 2.0], [3.0, 0.0, 9.0]])


def test_max_logits_by_hand() -> None:
    # a: (3 - -1) + (-1 - 3) = 0, b: (-1 - 3) + (2 - 0) = -2, c: (3 - -1) + (0 - 2) = 2; each over 2 * 2.
    np.testing.assert_allclose(max_logits(LEADS), [0.0, -0.5, 0.5])
    assert max_logits([[5.0]]).tolist() == [0.0]
    assert max_logits([[0.0, 3.0], [-1.0, 0.0]]).tolist() == [2.0, -2.0]


def test_max_wins_by_hand() -> None:
    # Rows won: a 1 (over b), b 1 (over c), c 1 (over a; the 0 is nobody's). Columns won: a 1 (b), b 0, c 1 (a).
    np.testing.assert_allclose(max_wins(LEADS), [2 / 4, 1 / 4, 2 / 4])
    assert max_wins([[5.0]]).tolist() == [0.0]


def test_the_order_of_candidates_does_not_matter() -> None:
    leads = np.random.default_rng(0).normal(size=(5, 5))
    order = [3, 0, 4, 1, 2]
    for aggregate in (max_logits, max_wins):
        np.testing.assert_allclose(aggregate(leads[np.ix_(order, order)]), aggregate(leads)[order])


def test_an_advantage_of_being_read_first_cancels_out() -> None:
    leads = np.random.default_rng(1).normal(size=(4, 4))
    np.testing.assert_allclose(max_logits(leads + 3.0), max_logits(leads))


def test_bubble_by_hand() -> None:
    strength = [np.array([1.0, 3.0, 2.0, 5.0]), np.array([7.0]), np.array([2.0, 1.0])]
    rounds: list[list[Game]] = []

    def leads(games: list[Game]) -> list[float]:
        rounds.append(games)
        return [strength[contest][one] - strength[contest][two] for contest, one, two in games]

    scores = bubble([4, 1, 2], leads)
    # First contest: 0 loses to 1 by 2, 2 loses to 1 by 1, 1 loses to 3 by 2.
    assert [score.tolist() for score in scores] == [[-4.0, -2.0, -3.0, 0.0], [0.0], [0.0, -1.0]]
    assert rounds == [[(0, 0, 1), (2, 0, 1)], [(0, 1, 2)], [(0, 1, 3)]]
    assert bubble([], leads) == []


def test_bubble_finds_whom_transitive_leads_say_is_best() -> None:
    rng = np.random.default_rng(2)
    for n in range(1, 8):
        strength = rng.normal(size=n)
        (score,) = bubble([n], lambda games, s=strength: [s[one] - s[two] for _, one, two in games])
        assert score.argmax() == strength.argmax()
        assert (score <= 0).all()


def test_a_tie_leaves_the_best_so_far() -> None:
    (score,) = bubble([3], lambda games: [0.0 if two == 1 else 1.0 for _, one, two in games])
    assert score.tolist() == [0.0, 0.0, -1.0]


def test_whoever_ties_with_a_loser_is_behind_the_winner() -> None:
    strength = [1.0, 1.0, 4.0]
    (score,) = bubble([3], lambda games: [strength[one] - strength[two] for _, one, two in games])
    assert score.tolist() == [-3.0, -3.0, 0.0]
