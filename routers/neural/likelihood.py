"""Causal language models as they are, asked how likely they find an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from routers.errors import ArtifactError, ParameterError
from routers.neural.checkpoint import Task, best_device, load_checkpoint, needed, settle_weights
from routers.neural.model import TextModel, longest_text
from routers.neural.tokens import Frame, Reader
from routers.neural.training import batches

__all__ = ["LikelihoodModel"]

_TOKENS_AT_ONCE = 8_192
_MARKS = ("\ue000question\ue000", "\ue000answer\ue000")
_PARTS = ("before", "between", "after")


class LikelihoodModel(TextModel):
    """A causal language model that says how likely it finds the tokens of an answer after its question.

    It is not fine-tuned. Question and answer stand in the checkpoint's chat template, as a user's message and the
    assistant's, up to the token that ends the answer, which counts as one of the answer's tokens. Without a template
    there is a new line between the two, and at the end the tokenizer's end-of-sequence token, where it has one.

    Args:
        max_tokens: most tokens of question, answer and template; the first and the last part of longer texts are read.
    """

    task: ClassVar[Task] = "causal"
    kind: ClassVar[str] = "likelihood"

    def __init__(self, max_tokens: int) -> None:
        super().__init__([], max_tokens)
        self.offset = np.zeros(0, dtype=np.float32)

    def load(self, source: str) -> Self:
        """Take a checkpoint, its weights rounded to float16, which is how they are saved.

        Args:
            source: its folder, or its name on the model hub.

        Raises:
            ParameterError: the checkpoint cannot be used, or `max_tokens` has no room for more than its template.
        """
        self.model, tokenizer = load_checkpoint(source, self.task, 0, None)
        settle_weights(self.model)
        self.max_tokens = min(self.max_tokens, longest_text(self.model.config, tokenizer))
        self.reader = Reader(tokenizer.backend_tokenizer, self.max_tokens, frame=_frame(tokenizer), pad=self._pad)
        if self.reader.room < 2:
            raise ParameterError(
                f"The chat template of {source!r} leaves no room for a question and an answer in {self.max_tokens} "
                "tokens: allow more."
            )
        self.model.to(best_device()).eval()
        return self

    def token_likelihoods(self, prompts: Sequence[str], answers: Sequence[str]) -> list[NDArray[np.float32]]:
        """Natural logarithms of the probabilities of each answer's tokens, (n_tokens,) float32 at most 0.

        Args:
            prompts: (n,) questions.
            answers: (n,) answers, one to each.

        Returns:
            (n,) arrays; an empty one where an answer has no token.
        """
        torch, _ = needed()
        read = self.reader.read_pairs(list(zip(prompts, answers, strict=True)))
        ids, starts = [one for one, _ in read], [start for _, start in read]
        found: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(ids)
        with torch.inference_mode(), self._precision():
            for group in batches(ids, range(len(ids)), _TOKENS_AT_ONCE):
                logs = self._logits([ids[place] for place in group]).cpu().numpy()
                for row, place in enumerate(group):
                    found[place] = logs[row, starts[place] - 1 : len(ids[place]) - 1].copy()
        return found

    def settings(self) -> dict[str, Any]:
        """What the artifact's `features` says of this model, as JSON values."""
        parts = (self.reader.before, self.reader.between, self.reader.after)
        return {**super().settings(), "template": dict(zip(_PARTS, parts, strict=True))}

    def _reader(self, tokenizer: Any, settings: Mapping[str, Any] | None) -> Reader:
        frame = _checked_frame((settings or {}).get("template"), self._vocabulary())
        return Reader(tokenizer, self.max_tokens, frame=frame, pad=self._pad)

    def _logits(self, ids: Sequence[Sequence[int]]) -> Any:
        """Log-likelihoods (n, longest - 1) of each token but the first."""
        padded, mask = self._padded(ids)
        logits = self.model(input_ids=padded, attention_mask=mask, use_cache=False).logits[:, :-1].float()
        return logits.log_softmax(dim=-1).gather(2, padded[:, 1:, None])[:, :, 0]


def _frame(tokenizer: Any) -> Frame | None:
    """What the chat template puts around a question and its answer; the reader's own where there is none."""
    if not tokenizer.chat_template:
        ending = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        return Frame.of(tokenizer.backend_tokenizer, ending)
    question, answer = _MARKS
    asked = [{"role": "user", "content": question}]
    try:
        begun = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        ended = tokenizer.apply_chat_template([*asked, {"role": "assistant", "content": answer}], tokenize=False)
    except Exception as error:  # noqa: BLE001 - a template is a program that may fail in any way
        raise ParameterError(f"The chat template cannot be used ({error}): give another checkpoint.") from None
    before, _, between = begun.partition(question)
    after = ended.partition(answer)[2]
    if question not in begun or answer not in ended:
        raise ParameterError("The chat template leaves out the question or the answer: give another checkpoint.")
    ids = [tokenizer.encode(part, add_special_tokens=False) for part in (before, between, after)]
    # What follows the token that ends the answer, such as a new line, is no part of it.
    return Frame(ids[0], ids[1], ids[2][:1])


def _checked_frame(saved: Any, vocabulary: int) -> Frame:
    parts: list[Any] = [saved.get(name) for name in _PARTS] if isinstance(saved, dict) else []
    fits = all(isinstance(ids, list) and all(type(i) is int and 0 <= i < vocabulary for i in ids) for ids in parts)
    if not parts or not fits or not parts[1]:
        raise ArtifactError("The judge's file does not describe its chat template: train and save the judge again.")
    return Frame(*parts)
