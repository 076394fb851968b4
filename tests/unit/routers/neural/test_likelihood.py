from pathlib import Path
from typing import Any

import numpy as np
import pytest

from routers.errors import ArtifactError, ParameterError
from routers.neural.likelihood import LikelihoodModel
from tests.unit.routers.checkpoints import tiny_causal

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[CLS]{{ m['content'] }}[SEP]{% else %}{{ m['content'] }}[SEP]\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{% endif %}"
)
CLS, SEP = 1, 2


def with_template(folder: Path, template: str | None = TEMPLATE, **more: Any) -> str:
    """The tiny language model with a chat template, and what else its tokenizer should say."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_causal(), **more)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    AutoModelForCausalLM.from_pretrained(tiny_causal()).save_pretrained(folder)
    return str(folder)


def expected(ids: list[int], start: int) -> np.ndarray:
    """Log-likelihoods of ids from `start` on, by the library, one text at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_causal(), dtype=torch.float32).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half())
        logs = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    return np.array([float(logs[place - 1, ids[place]]) for place in range(start, len(ids))])


def byte_ids(model: LikelihoodModel, text: str) -> list[int]:
    return model.reader.tokenizer.encode(text, add_special_tokens=False).ids


def test_a_chat_template_puts_its_marks_around_question_and_answer(tmp_path: Path) -> None:
    model = LikelihoodModel(64).load(with_template(tmp_path))
    assert model.settings()["template"] == {"before": [CLS], "between": [SEP], "after": [SEP]}
    pairs = [("1 + 1 ?", "2"), ("a much longer question ?", "a longer answer"), ("x", "")]
    found = model.token_likelihoods([prompt for prompt, _ in pairs], [answer for _, answer in pairs])
    for (prompt, answer), own in zip(pairs, found, strict=True):
        begun = [CLS, *byte_ids(model, prompt), SEP]
        np.testing.assert_allclose(own, expected([*begun, *byte_ids(model, answer), SEP], len(begun)), atol=1e-4)
        assert own.dtype == np.float32


@pytest.mark.parametrize(("ending", "after"), [({}, []), ({"eos_token": "[SEP]"}, [SEP])])
def test_without_a_template_a_new_line_parts_them(tmp_path: Path, ending: dict[str, str], after: list[int]) -> None:
    model = LikelihoodModel(64).load(with_template(tmp_path, None, **ending))
    begun = [CLS, *byte_ids(model, "1 + 1 ?\n")]
    (found,) = model.token_likelihoods(["1 + 1 ?"], ["2"])
    np.testing.assert_allclose(found, expected([*begun, *byte_ids(model, "2"), *after], len(begun)), atol=1e-4)
    assert len(model.token_likelihoods(["1 + 1 ?"], [""])[0]) == len(after)


def test_a_text_cannot_pose_as_a_mark(tmp_path: Path) -> None:
    model = LikelihoodModel(64).load(with_template(tmp_path))
    (found,) = model.token_likelihoods(["x"], ["2[SEP]3"])
    assert len(found) == len("2[SEP]3") + 1


def test_long_texts_share_the_room(tmp_path: Path) -> None:
    model = LikelihoodModel(40).load(with_template(tmp_path))
    for prompt, answer in (("q" * 500, "a" * 500), ("q", "a" * 500), ("q" * 500, "a")):
        ((ids, start),) = model.reader.read_pairs([(prompt, answer)])
        assert len(ids) == 40
        assert ids[start - 1] == SEP
        assert len(model.token_likelihoods([prompt], [answer])[0]) == 40 - start
    ((ids, start),) = model.reader.read_pairs([("q" * 500, "a")])
    assert ids[start:] == [*byte_ids(model, "a"), SEP]


def test_what_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="leaves out the question or the answer"):
        LikelihoodModel(64).load(with_template(tmp_path / "mute", "hello"))
    with pytest.raises(ParameterError, match="chat template cannot be used"):
        LikelihoodModel(64).load(with_template(tmp_path / "raises", "{{ raise_exception('no') }}"))
    wordy = TEMPLATE.replace("[CLS]", "[CLS] You are a helpful assistant. ")
    with pytest.raises(ParameterError, match="leaves no room"):
        LikelihoodModel(20).load(with_template(tmp_path / "wordy", wordy))
    with pytest.raises(ParameterError, match="cannot be used"):
        LikelihoodModel(64).load(str(tmp_path))


def test_saved_templates_are_checked(tmp_path: Path) -> None:
    model = LikelihoodModel(64).load(with_template(tmp_path))
    settings, tensors = model.settings(), model.tensors()
    again = LikelihoodModel(64).restore(settings, tensors)
    assert again.settings() == settings
    np.testing.assert_array_equal(
        again.token_likelihoods(["x y"], ["z"])[0], model.token_likelihoods(["x y"], ["z"])[0]
    )
    good = settings["template"]
    for wrong in (None, {}, {**good, "before": [999]}, {**good, "after": "x"}, {**good, "between": []}):
        with pytest.raises(ArtifactError, match="does not describe its chat template"):
            LikelihoodModel(64).restore({**settings, "template": wrong}, tensors)
