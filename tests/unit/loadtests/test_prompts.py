import itertools
import random

import pytest

from loadtests.errors import LoadTestError
from loadtests.prompts import MIXES, conversations, document


@pytest.fixture
def data(tmp_path):
    (tmp_path / "zeroeval").mkdir()
    rows = "".join(f'gsm,{number},0,"Question {number}, please?",1\n' for number in range(20))
    (tmp_path / "zeroeval" / "zeroeval_scores.csv").write_text("dataset,id,fold10,question,answer\n" + rows)
    return tmp_path


def first(mix, data, count=40, seed=0, prompt_tokens=100):
    return list(itertools.islice(conversations(mix, folder=data, prompt_tokens=prompt_tokens, seed=seed), count))


@pytest.mark.parametrize("mix", MIXES)
def test_every_mix_asks_as_openai_wants_it(mix, data):
    for messages in first(mix, data):
        assert [message["role"] for message in messages] == (["user", "assistant"] * 6)[: len(messages)]
        assert messages[-1]["role"] == "user"
        assert all(message["content"] for message in messages)


@pytest.mark.parametrize("mix", MIXES)
def test_users_ask_different_things_and_the_same_ones_again_with_their_seed(mix, data):
    assert first(mix, data, seed=1) == first(mix, data, seed=1) != first(mix, data, seed=2)


def test_a_conversation_grows_by_its_history(data):
    asked = first("chat", data)
    turns = [(len(messages) + 1) // 2 for messages in asked]
    assert max(turns) > 2
    for before, after in itertools.pairwise(asked):
        if len(after) > 1:
            assert after[: len(before)] == before


def test_documents_are_as_long_as_they_should_be_and_share_no_beginning(data):
    chooser = random.Random(0)
    texts = [document(250, chooser) for _ in range(50)]
    assert {len(text) for text in texts} == {1000}
    assert len({text[:8] for text in texts}) == 50
    assert len(document(1, chooser)) == 4


def test_mistakes_are_named(tmp_path):
    with pytest.raises(LoadTestError, match="no prompt mix 'other': use one of exam, zeroeval"):
        conversations("other", folder=tmp_path, prompt_tokens=1, seed=0)
    with pytest.raises(LoadTestError, match=r"zeroeval_scores.csv cannot be read .*--data"):
        next(conversations("zeroeval", folder=tmp_path / "nowhere", prompt_tokens=1, seed=0))
