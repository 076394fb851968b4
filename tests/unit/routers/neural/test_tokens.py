import numpy as np
import pytest
from tokenizers import Tokenizer

from routers import ArtifactError
from routers.neural.tokens import Reader, largest_id


def written(tokenizer: Tokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_special_tokens_stand_around_a_text(tokenizer: Tokenizer) -> None:
    [ids] = Reader(tokenizer, 16).read(["ab"])
    assert ids == [1, tokenizer.token_to_id("a"), tokenizer.token_to_id("b"), 2]


@pytest.mark.parametrize(("max_tokens", "kept"), [(12, "abcdefghij"), (11, "abcdeghij"), (8, "abchij"), (7, "abcij")])
def test_long_texts_lose_their_middle(tokenizer: Tokenizer, max_tokens: int, kept: str) -> None:
    [ids] = Reader(tokenizer, max_tokens).read(["abcdefghij"])
    assert (ids[0], ids[-1]) == (1, 2)
    assert written(tokenizer, ids) == kept
    assert len(ids) == len(kept) + 2


def test_a_template_stands_around_a_text_and_is_never_cut(tokenizer: Tokenizer) -> None:
    reader = Reader(tokenizer, 9, before="Q:", after="\nA:", closing=False)
    short, long = reader.read(["x", "abcdefghij"])
    assert written(tokenizer, short) == "Q:x\nA:"
    assert written(tokenizer, long) == "Q:abj\nA:"
    assert short[-1] != 2


def test_special_tokens_in_a_text_are_letters(tokenizer: Tokenizer) -> None:
    [ids] = Reader(tokenizer, 16).read(["a[SEP][PAD]"])
    assert ids == [1, *(tokenizer.token_to_id(letter) for letter in "a[SEP][PAD]"), 2]


def test_huge_empty_and_strange_texts(tokenizer: Tokenizer) -> None:
    read = Reader(tokenizer, 10).read(["", "x" * 3_000_000 + "yz", "数学 🎲 \x00 \ud800", " \n"])
    assert read[0] == [1, 2]
    assert written(tokenizer, read[1]) == "xxxxxxyz"
    assert all(1 <= len(ids) <= 10 for ids in read)


def test_a_text_without_any_token_is_one_pad(tokenizer: Tokenizer) -> None:
    bare = Tokenizer.from_str(tokenizer.to_str())
    bare.post_processor = None
    assert Reader(bare, 8, pad=7).read([""]) == [[7]]


def test_saved_and_parsed_it_reads_the_same(tokenizer: Tokenizer) -> None:
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=30)
    reader = Reader(tokenizer, 12)
    again = Reader(Reader.parse(reader.tensor(), 260), 12)
    texts = ["", "one two three four", "数学"]
    assert again.read(texts) == reader.read(texts)


def test_foreign_tokenizers_are_refused(tokenizer: Tokenizer) -> None:
    saved = Reader(tokenizer, 12).tensor()
    with pytest.raises(ArtifactError, match="does not fit its model"):
        Reader.parse(saved, largest_id(tokenizer.get_vocab()))
    for broken in (saved[:-5], np.array([255, 254], dtype=np.uint8), np.zeros(0, dtype=np.uint8)):
        with pytest.raises(ArtifactError, match="cannot be read"):
            Reader.parse(broken, 260)


def test_the_texts_of_a_tuple_are_read_one_after_the_other(tokenizer: Tokenizer) -> None:
    reader = Reader(tokenizer, 40)
    plain, pair, three = reader.read(["ab", ("ab", "c"), ("a", "", "c")])
    assert written(tokenizer, plain) == "ab"
    assert written(tokenizer, pair) == "ab\nc"
    assert written(tokenizer, three) == "a\n\nc"
    assert (pair[0], pair[-1]) == (1, 2)


def test_the_tokenizers_own_mark_stands_between_the_texts_of_a_pair(tokenizer: Tokenizer) -> None:
    from tokenizers.processors import TemplateProcessing

    special = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    a, b = (tokenizer.token_to_id(letter) for letter in "ab")
    assert Reader(tokenizer, 16).read([("a", "b")]) == [[1, a, 2, b, 2]]


@pytest.mark.parametrize(
    ("max_tokens", "kept"),
    [(19, "abcdefgh\nABCDEFGH"), (13, "abcgh\nABCGH"), (12, "abgh\nABCGH"), (5, "a\nA")],
)
def test_long_texts_of_a_tuple_share_the_room(tokenizer: Tokenizer, max_tokens: int, kept: str) -> None:
    [ids] = Reader(tokenizer, max_tokens).read([("abcdefgh", "ABCDEFGH")])
    assert written(tokenizer, ids) == kept
    [ids] = Reader(tokenizer, 13).read([("abcdefgh", "AB")])
    assert written(tokenizer, ids) == "abcdefgh\nAB"
