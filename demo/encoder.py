"""A small encoder, trained from scratch to check answers: what the demo's judges of answers are fine-tuned from.

It learns from generated training questions, each with an answer of the expert `small` (at its usual temperature), the
right answer, or the right answer with one token changed. Pre-training is ELECTRA's (Clark et al., 2020) with `small` in
the place of its generator, corrective as in COCO-LM (Meng et al., 2021): of each token of the answer it learns whether
it is right and which one would be; of the whole, whether the answer is right. Some answers are masked instead, and only
to be found. Held-out questions are never seen: a question's text decides its split.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from tokenizers.processors import TemplateProcessing
from torch import nn
from torch.nn import functional
from transformers import ModernBertConfig, ModernBertForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from demo.batches import draw_tasks
from demo.export import EXPERTS_FOLDER, load_expert
from demo.families import Task
from demo.sampling import sample_answers
from demo.tokenizer import SPECIAL_TOKENS, VOCABULARY_TOKENS, build_tokenizer
from demo.train import Progress

__all__ = ["ENCODER", "EncoderRecipe", "TrainedEncoder", "encoder_config", "encoder_tokenizer", "train_encoder"]

_HEAD_DIM = 32
_CONTEXT_TOKENS = 256
_MASK = SPECIAL_TOKENS.index("<|tool|>")
_TEMPERATURE = 0.7
_STEPS_AT_ONCE = 20
_ANSWERS_EACH = 4
_LEVELS = (1.0, 1.0, 1.0, 1.0, 1.0)
_NO_TARGET = -100
_CLIP_NORM = 1.0


@dataclass(frozen=True, slots=True)
class EncoderRecipe:
    """Size and training of the encoder.

    Attributes:
        hidden: width.
        layers: number of layers.
        feed_forward: width of their gated feed-forward parts.
        steps: steps of the optimiser.
        examples: answers of one step; four of each question are read, in steps near each other.
        peak_rate: peak of the learning rate, after `warmup_steps`; then it falls as a cosine.
        warmup_steps: steps in which it rises.
        masked: share of the answers that are masked.
        true: share of the others that are the right answer.
        altered: share of the others that are the right answer with one token changed; the rest is from `small`.
        seed: of everything random.
    """

    hidden: int = 128
    layers: int = 5
    feed_forward: int = 256
    steps: int = 1500
    examples: int = 128
    peak_rate: float = 2e-3
    warmup_steps: int = 100
    masked: float = 0.25
    true: float = 0.2
    altered: float = 0.2
    seed: int = 0


ENCODER = EncoderRecipe()


@dataclass(frozen=True, slots=True)
class TrainedEncoder:
    """What became of a training.

    Attributes:
        parameters: weights of the encoder, without the heads that only pre-training needs.
        seconds: that it took.
    """

    parameters: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows of question and answer, padded.

    Attributes:
        tokens: (examples, length) ids.
        mask: (examples, length), 1 where there is a token.
        wanted: (examples, length) the right token where one of the answer stands, -100 elsewhere.
        right: (examples,) 1.0 where the answer is right, 0.0 where it is not, NaN where it is masked.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    wanted: torch.Tensor
    right: torch.Tensor


def encoder_config(recipe: EncoderRecipe) -> ModernBertConfig:
    """The ModernBERT architecture of `recipe`: full attention, 32-wide heads, one output."""
    ids = {token: place for place, token in enumerate(SPECIAL_TOKENS)}
    return ModernBertConfig(
        vocab_size=VOCABULARY_TOKENS,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.feed_forward,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.hidden // _HEAD_DIM,
        max_position_embeddings=_CONTEXT_TOKENS,
        layer_types=["full_attention"] * recipe.layers,
        num_labels=1,
        pad_token_id=ids["<|pad|>"],
        bos_token_id=ids["<|user|>"],
        cls_token_id=ids["<|user|>"],
        eos_token_id=ids["<|end|>"],
        sep_token_id=ids["<|end|>"],
    )


def encoder_tokenizer() -> PreTrainedTokenizerFast:
    """The demo's tokenizer; around a question and its answer it puts what the experts see around them."""
    tokenizer = build_tokenizer()
    marks = [(name, SPECIAL_TOKENS.index(name)) for name in ("<|user|>", "<|assistant|>", "<|end|>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A <|end|>", pair="<|user|> $A <|assistant|> $B <|end|>", special_tokens=marks
    )
    tokenizer.model_max_length = _CONTEXT_TOKENS
    return tokenizer


def train_encoder(
    out: Path, progress: Progress, *, recipe: EncoderRecipe = ENCODER, experts: Path = EXPERTS_FOLDER, threads: int = 1
) -> TrainedEncoder:
    """Train the encoder and write it to `out` as a float16 checkpoint in Hugging Face's format.

    Args:
        out: folder for the checkpoint.
        progress: told the step and its loss after each.
        recipe: what to train.
        experts: folder of the experts' checkpoints, of which `small` is needed.
        threads: CPU threads.

    Raises:
        ArtifactError: there is no checkpoint of `small`.
    """
    torch.set_num_threads(threads)
    disable_progress_bar()
    began = time.monotonic()
    trainer = _Trainer(recipe, experts)
    for step, batches in enumerate(trainer.batches(), start=1):
        progress(step, trainer.learn(batches, step))
    trainer.model.half().save_pretrained(out)
    trainer.tokenizer.save_pretrained(out)
    parameters = sum(weight.numel() for weight in trainer.model.parameters())
    return TrainedEncoder(parameters, time.monotonic() - began)


class _Trainer:
    """The model with the two heads that only pre-training needs."""

    def __init__(self, recipe: EncoderRecipe, experts: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.small = load_expert(experts / "small")
        self.tokenizer, self.plain = encoder_tokenizer(), build_tokenizer()
        self.model = ModernBertForSequenceClassification(encoder_config(recipe))
        # On CPUs the fused attention's backward pass in bf16 takes several times as long as the plain one.
        self.model.set_attn_implementation("eager")
        self.detect = nn.Linear(recipe.hidden, 1)
        self.correct = nn.Linear(recipe.hidden, VOCABULARY_TOKENS)
        self.weights = [*self.model.parameters(), *self.detect.parameters(), *self.correct.parameters()]
        groups = [
            {"params": [weight for weight in self.weights if weight.dim() > 1], "weight_decay": 0.05},
            {"params": [weight for weight in self.weights if weight.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=(0.9, 0.98), fused=True)

    def batches(self) -> Iterator[list[_Batch]]:
        """Two batches a step, of short and of long rows, so that little is padding; they follow from the seed."""
        recipe = self.recipe
        for start in range(0, recipe.steps, _STEPS_AT_ONCE):
            rng = Random(f"encoder/{recipe.seed}/{start}")
            steps = min(_STEPS_AT_ONCE, recipe.steps - start)
            read = self._read(-(-steps * recipe.examples // _ANSWERS_EACH), rng)
            rows = _rows([task for task, _ in read], [answer for _, answer in read], self.tokenizer)
            for step in range(steps):
                mine = sorted(rows[step * recipe.examples : (step + 1) * recipe.examples], key=lambda row: len(row[0]))
                yield [_padded(mine[: len(mine) // 2]), _padded(mine[len(mine) // 2 :])]

    def _read(self, n_tasks: int, rng: Random) -> list[tuple[Task, str | None]]:
        """Four answers to read to each of so many tasks, in any order; None where one is masked."""
        recipe = self.recipe
        tasks = draw_tasks(str(rng.random()), n_tasks, _LEVELS)
        prompts = [task.prompt for task in tasks]
        sampled = sample_answers(self.small, self.plain, prompts, _ANSWERS_EACH, _TEMPERATURE, rng.randrange(2**31))
        kinds = ("masked", "true", "altered", "small")
        given_rest = 1 - recipe.true - recipe.altered
        shares = [recipe.masked, *((1 - recipe.masked) * share for share in (recipe.true, recipe.altered, given_rest))]
        read: list[tuple[Task, str | None]] = []
        for task, answers in zip(tasks, sampled, strict=True):
            for answer, kind in zip(answers, rng.choices(kinds, shares, k=_ANSWERS_EACH), strict=True):
                altered = _altered(task, tasks, rng)
                read.append((task, {"masked": None, "true": task.answer, "altered": altered, "small": answer}[kind]))
        rng.shuffle(read)
        return read

    def learn(self, batches: list[_Batch], step: int) -> float:
        """One step of the optimiser; its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = _rate(self.recipe, step)
        total = 0.0
        for batch in batches:
            loss = self._loss(batch) / len(batches)
            loss.backward()
            total += float(loss.item())
        nn.utils.clip_grad_norm_(self.weights, _CLIP_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total

    def _loss(self, batch: _Batch) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.model.model(input_ids=batch.tokens, attention_mask=batch.mask).last_hidden_state
            whole = self.model.classifier(self.model.drop(self.model.head(hidden[:, 0])))[:, 0]
            spots = batch.wanted != _NO_TARGET
            found, corrected = self.detect(hidden[spots])[:, 0], self.correct(hidden[spots])
        wanted, masked = batch.wanted[spots], batch.right.isnan()
        same = (batch.tokens[spots] == wanted).float()
        seen = ~masked[:, None].expand_as(spots)[spots]
        return (
            functional.cross_entropy(corrected.float(), wanted)
            + functional.binary_cross_entropy_with_logits(found.float()[seen], same[seen])
            + functional.binary_cross_entropy_with_logits(whole.float()[~masked], batch.right[~masked])
        )


def _rate(recipe: EncoderRecipe, step: int) -> float:
    if step < recipe.warmup_steps:
        return recipe.peak_rate * step / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * done))


def _altered(task: Task, others: list[Task], rng: Random) -> str:
    """The right answer with one letter or digit changed or two neighbours exchanged; of words, another word."""
    answer = task.answer
    if answer.islower():
        return next(
            (other.answer for other in rng.sample(others, min(len(others), 40)) if other.family == task.family), answer
        )
    place = rng.randrange(len(answer))
    if rng.random() < 0.5 and place:
        return answer[: place - 1] + answer[place] + answer[place - 1] + answer[place + 1 :]
    kind = "0123456789" if answer[place].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    fresh = rng.choice(kind) if answer[place].isalnum() else answer[place]
    return answer[:place] + fresh + answer[place + 1 :]


_Row = tuple[list[int], list[int], float]


def _rows(tasks: list[Task], given: list[str | None], tokenizer: PreTrainedTokenizerFast) -> list[_Row]:
    """Each task as ids of question and answer, the right tokens where the answer stands, and whether it is right."""
    backend = tokenizer.backend_tokenizer
    end = SPECIAL_TOKENS.index("<|end|>")
    questions = backend.encode_batch([(task.prompt, "") for task in tasks])
    rights = backend.encode_batch([task.answer for task in tasks], add_special_tokens=False)
    answers = backend.encode_batch([answer or "" for answer in given], add_special_tokens=False)
    rows = []
    for task, answer, question, right, read in zip(tasks, given, questions, rights, answers, strict=True):
        wanted = [*right.ids, end]
        ids = [_MASK] * len(wanted) if answer is None else [*read.ids, end]
        before = question.ids[:-1]
        n_both = min(len(ids), len(wanted))
        targets = [_NO_TARGET] * len(before) + wanted[:n_both] + [_NO_TARGET] * (len(ids) - n_both)
        rows.append((before + ids, targets, math.nan if answer is None else float(answer == task.answer)))
    return rows


def _padded(rows: list[_Row]) -> _Batch:
    longest = max(len(ids) for ids, _, _ in rows)
    tokens = torch.zeros((len(rows), longest), dtype=torch.long)
    mask, wanted = torch.zeros_like(tokens), torch.full_like(tokens, _NO_TARGET)
    for place, (ids, targets, _) in enumerate(rows):
        tokens[place, : len(ids)], mask[place, : len(ids)] = torch.tensor(ids), 1
        wanted[place, : len(ids)] = torch.tensor(targets)
    return _Batch(tokens, mask, wanted, torch.tensor([right for _, _, right in rows]))
