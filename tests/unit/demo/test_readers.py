"""Experts as readers: they load as encoders, and read what the expert would have seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from demo.__main__ import app
from demo.readers import reader_tokenizer, write_reader
from demo.tokenizer import build_tokenizer
from routers import ArtifactError
from routers.neural.checkpoint import load_checkpoint
from routers.neural.tokens import Reader


def test_a_reader_loads_as_an_encoder(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["reader", "small", "--out", str(tmp_path / "reader")])
    assert done.exit_code == 0, done.output
    model, tokenizer = load_checkpoint(str(tmp_path / "reader"), "encoder", 1, None)
    assert (model.config.model_type, model.num_labels) == ("llama", 1)
    assert tokenizer.is_fast


def test_it_reads_what_the_expert_sees() -> None:
    [pair] = Reader(reader_tokenizer().backend_tokenizer, 64).read([("calculate 4 plus 5", "9")])
    assert pair == build_tokenizer()("<|user|>calculate 4 plus 5<|assistant|>9<|end|>").input_ids
    [alone] = Reader(reader_tokenizer().backend_tokenizer, 64).read(["calculate 4 plus 5"])
    assert alone == build_tokenizer()("<|user|>calculate 4 plus 5<|end|>").input_ids


def test_an_expert_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="python -m demo train huge"):
        write_reader("huge", tmp_path / "reader")
    assert not (tmp_path / "reader").exists()
