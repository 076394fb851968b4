import os
import signal
import subprocess
import sys

import numpy as np
import orjson
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from routers import ParameterError, RoutingData, load_router, make_router
from serve import router_bench
from serve.cli import app
from serve.router_bench import Aim, Material, Scale, as_json, material, measure, table
from serve.router_cases import Case
from serve.router_timing import KeptFeatures, ask, memory_mb, train

PAIR = {"small": "s", "large": "l"}
TINY = Scale(few_prompts=20, questions=16, encoder_questions=4, rounds=2, seconds=0.005, limit_s=120)


def tiny_data(n=80):
    """Prompts with numbers of one or of four digits, of which the small expert can do the first."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        hard = i % 2
        prompt = f"add {rng.integers(10 ** (3 * hard), 10 ** (3 * hard + 1))} to {i} please"
        for expert, quality, cost in (("s", 1.0 - hard, 1.0), ("l", 1.0, 9.0)):
            rows.append((f"p{i}", prompt, expert, 0, quality, 5, 1, cost, 0.1))
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost", "latency_s"]
    return RoutingData(pd.DataFrame(rows, columns=names))


@pytest.fixture
def tiny(tmp_path):
    data = tiny_data()
    data.write(tmp_path / "train.parquet")
    data.write(tmp_path / "few.parquet")
    (tmp_path / "questions.json").write_bytes(orjson.dumps(data.texts[:16]))
    return Material(tmp_path, "tiny", PAIR, 80, 80)


def task(tiny, router, **params):
    return {
        "router": router,
        "params": params,
        "data": str(tiny.train),
        "artifact": str(tiny.folder / router),
        "prompts": str(tiny.questions),
        "n_prompts": 10,
        "rounds": 3,
        "seconds": 0.002,
        "keep": False,
    }


def test_training_saves_the_router(tiny):
    shares = []
    said = train(task(tiny, "length", **PAIR), lambda doing, share: shares.append(share))
    assert said["train_s"] > 0
    files = list((tiny.folder / "length").iterdir())
    assert said["artifact_mb"] == pytest.approx(sum(file.stat().st_size for file in files) / 1e6)
    assert load_router(tiny.folder / "length").experts_ == ("s", "l")
    assert shares[-1] == 1.0


def test_asking_gives_every_round_and_nothing_of_the_first(tiny):
    train(task(tiny, "length", **PAIR))
    said = ask(task(tiny, "length"))
    assert set(said) == {"load_s", "first_ms", "memory_mb", "single_ms", "batch_per_s"}
    assert len(said["single_ms"]) == len(said["batch_per_s"]) == 3
    assert min(said["single_ms"]) > 0
    assert min(said["batch_per_s"]) > 0


def test_asking_with_kept_features_measures_both_ways(tiny):
    features = {"kind": "tfidf-svd", "n_components": 4}
    train(task(tiny, "poly-knn", features=features))
    said = ask({**task(tiny, "poly-knn"), "keep": True})
    assert len(said["kept_single_ms"]) == len(said["single_ms"]) == 3
    assert len(said["kept_batch_per_s"]) == 3


def test_kept_features_change_no_prediction(tiny):
    data = RoutingData.read(tiny.train)
    router = make_router("poly-knn", features={"kind": "tfidf-svd", "n_components": 4}).fit(data)
    expected = router.predict(data.texts[:5])
    router.features_ = KeptFeatures(router.features_).fit(data.texts[:5])
    found = router.predict(data.texts[:5])
    np.testing.assert_array_equal(found.quality, expected.quality)
    np.testing.assert_array_equal(found.novelty, expected.novelty)
    with pytest.raises(KeyError):
        router.predict(["never seen"])


def test_memory_is_that_of_this_process():
    before = memory_mb()
    held = np.ones(8_000_000)
    assert 50 < memory_mb() - before < 80
    assert held.nbytes == 64_000_000


def test_the_process_that_asks_has_one_core_and_loads_only_what_a_server_does(tiny):
    code = (
        "import os, sys, orjson, serve.router_timing as t; t.ask = lambda task: "
        "{'cores': len(os.sched_getaffinity(0)), 'loaded': [m for m in ('sklearn', 'pandas', 'torch', 'ray') if m in "
        "sys.modules]}; t._main(*sys.argv[1:])"
    )
    task_file, result = tiny.folder / "task.json", tiny.folder / "result.json"
    task_file.write_text("{}")
    subprocess.run([sys.executable, "-c", code, "ask", task_file, result], check=True, cwd=router_bench._ROOT)
    assert orjson.loads(result.read_bytes()) == {"cores": 1, "loaded": []}


def test_measuring_trains_in_one_process_and_asks_in_another(tiny):
    shares = []
    said = measure(Case("length", "length", PAIR), tiny, TINY, shares.append)
    assert said["train_prompts"] == 80
    assert {"train_s", "artifact_mb", "load_s", "memory_mb", "single_ms"} <= set(said)
    assert len(said["single_ms"]) == TINY.rounds
    assert shares[-1] == 1.0


def test_a_router_that_fails_says_why(tiny):
    said = measure(Case("length", "length", {"small": "who"}), tiny, TINY, float)
    assert said["failed"].startswith("train: ")
    assert "small='who' is not an expert of the data" in said["failed"]


def test_a_router_that_takes_too_long_is_given_up(tiny):
    said = measure(Case("length", "length", PAIR), tiny, Scale(limit_s=0.01), float)
    assert said["failed"] == "train: not done within 0.01 s"


def test_being_interrupted_ends_the_process(tiny, monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(router_bench.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def interrupt(share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(Case("length", "length", PAIR), tiny, TINY, interrupt)
    assert started[0].poll() in (0, -signal.SIGKILL)


def test_only_named_routers_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(router_bench, "_DATA", tmp_path)
    asked = ["bench", "--only", "routers", "--quick", "--routers", "random,length", "--json", str(tmp_path / "j")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert list(orjson.loads((tmp_path / "j").read_bytes())["routers"]["rows"]) == ["length", "random"]


def test_an_unknown_router_is_refused_before_anything_is_measured():
    result = CliRunner().invoke(app, ["bench", "--only", "routers", "--routers", "length,cluster-knn"])
    assert result.exit_code == 2
    assert "no router 'cluster-knn' to measure" in result.output.replace("\n", " ")


def test_material_of_a_folder_with_mmlu_pro(tmp_path):
    folder = tmp_path / "sets" / "mmlu_pro"
    folder.mkdir(parents=True)
    rows = [f"{i},{i % 10},math,ori,A,False,How much is {i}?,{i % 2},1" for i in range(40)]
    head = "question_id,fold10,category,src,answer,in_mmlu_test,prompt,"
    models = "Meta-Llama-3.1-8B-Instruct,Meta-Llama-3.1-70B-Instruct"
    (folder / "mmlu_pro_scores.csv").write_text("\n".join([head + models, *rows]))
    chars = [f"{i},10,20" for i in range(40)]
    (folder / "mmlu_pro_output_chars.csv").write_text("\n".join(["," + models, *chars]))
    made = material(tmp_path / "sets", Scale(train_prompts=25, few_prompts=6, questions=8), tmp_path)
    learned, few = RoutingData.read(made.train), RoutingData.read(made.few)
    asked = orjson.loads(made.questions.read_bytes())
    assert (len(learned.texts), len(few.texts), len(asked)) == (made.train_prompts, made.few_prompts, 8) == (25, 6, 8)
    assert not set(asked) & set(learned.texts)
    assert set(few.texts) <= set(learned.texts)
    assert made.pair == {"small": "Meta-Llama-3.1-8B-Instruct", "large": "Meta-Llama-3.1-70B-Instruct"}
    assert made.about.startswith("MMLU-Pro: 2 experts; 25 prompts to learn from, 8 others")


def test_without_mmlu_pro_the_demos_data_stands_in(tmp_path, monkeypatch):
    monkeypatch.setattr(router_bench, "_DATA", tmp_path)
    made = material(None, Scale(train_prompts=30, few_prompts=5, questions=10), tmp_path)
    assert made.about.startswith("The demo's data, as there is no mmlu_pro")
    assert made.pair == {"small": "letters", "large": "large"}
    assert set(made.pair.values()) <= set(RoutingData.read(made.train).experts)


def test_the_pair_of_other_data_is_the_cheapest_and_the_dearest():
    assert router_bench._pair(tiny_data()) == PAIR


def test_a_folder_without_mmlu_pro_is_refused(tmp_path):
    with pytest.raises(ParameterError, match=r"holds no mmlu_pro/mmlu_pro_scores\.csv"):
        material(tmp_path, TINY, tmp_path)
    result = CliRunner().invoke(app, ["bench", "--only", "routers", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no mmlu_pro" in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("single_ms", "batch_per_s", "missed"),
    [(0.5, 5000, False), (0.4, 6000, False), (0.51, 6000, True), (0.4, 4999, True)],
)
def test_both_parts_of_an_aim_must_be_reached(single_ms, batch_per_s, missed):
    assert Aim(single=2000, batch=5000).missed(single_ms, batch_per_s) is missed


def test_an_aim_for_one_of_them_leaves_the_other_free():
    assert not Aim(single=290).missed(3.4, 1)
    assert Aim(single=290).missed(3.5, 1e6)
    assert str(Aim(single=1550)) == "1,550/s"
    assert str(Aim(2000, 5000)) == "2,000/s, 5,000/s together"


MEASURED = {
    "cluster": {
        "train_prompts": 9000,
        "train_s": 2.5,
        "artifact_mb": 1.234,
        "load_s": 0.5,
        "first_ms": 1.0,
        "memory_mb": 12.0,
        "single_ms": [0.3, 0.1, 0.2],
        "batch_per_s": [4000.0, 3000.0, 4500.0],
    },
    "poly-bert": {"failed": "needs an encoder checkpoint of your own"},
    "routellm-mf, MiniLM embedding": {
        "single_ms": [20.0, 30.0, 22.0],
        "batch_per_s": [50.0, 50.0, 50.0],
        "kept_single_ms": [0.1, 0.1, 0.1],
        "kept_batch_per_s": [9000.0, 9000.0, 9000.0],
    },
}


def test_rows_have_medians_and_verdicts():
    rows = as_json(MEASURED)
    assert list(rows) == ["cluster", "poly-bert", "routellm-mf, MiniLM embedding", "routellm-mf, embedding kept"]
    assert (rows["cluster"]["single_ms_median"], rows["cluster"]["batch_per_s_median"]) == (0.2, 4000.0)
    assert (rows["cluster"]["aim"], rows["cluster"]["aim_met"]) == ("2,000/s, 5,000/s together", False)
    assert rows["poly-bert"]["aim_met"] is None
    assert (rows["routellm-mf, MiniLM embedding"]["aim"], rows["routellm-mf, MiniLM embedding"]["aim_met"]) == (
        None,
        None,
    )
    assert rows["routellm-mf, embedding kept"]["aim_met"] is True
    assert rows["routellm-mf, embedding kept"]["single_ms"] == [0.1, 0.1, 0.1]


def test_the_table_shows_medians_with_their_spread():
    console = Console(width=220, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(table(as_json(MEASURED)))
    console.file.close()
    text = console.export_text()
    (cluster,) = [line for line in text.splitlines() if "cluster" in line]
    for cell in ("9,000", "2.5", "0.200 (0.100–0.300)", "4,000 (3,000–4,500)", "0.50", "1.0", "12", "1.23", "missed"):
        assert f" {cell} " in cluster
    assert "needs an encoder checkpoint of your own" in text
    assert "22.0 (20.0–30.0)" in text
