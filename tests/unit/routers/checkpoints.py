"""Tiny checkpoints, made on the spot: transformers with random weights that read bytes."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

__all__ = ["tiny_causal", "tiny_encoder"]

_SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]


@functools.cache
def tiny_encoder() -> str:
    """Folder of a BERT of one layer."""
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=260,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=96,
        pad_token_id=0,
        initializer_range=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _saved(BertModel(config), ends=True)


@functools.cache
def tiny_causal(*, digits: bool = True) -> str:
    """Folder of a Llama of one layer with tied embeddings; its tokenizer may lack the digits."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=260,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.1,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _saved(LlamaForCausalLM(config), ends=False, digits=digits)


def _saved(model: object, *, ends: bool, digits: bool = True) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    if not digits:
        letters = [f"<{letter}>" if letter in "12345" else letter for letter in letters]
    vocabulary = {token: i for i, token in enumerate([*_SPECIAL, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    template = "[CLS] $A [SEP]" if ends else "[CLS] $A"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )
    folder = Path(tempfile.mkdtemp(prefix="tiny-checkpoint-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return str(folder)
