import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from routers import RoutingData
from routers.evaluation import by_fold, rows_of
from serve.reporting.tables_in_docs import table
from serve.results import learning as learning_module
from serve.results.learning import learning
from serve.results.line_up import FAST_N, FAST_TWO, HELD_OUT, HYBRID, N_EXPERTS, TWO_EXPERTS, Entry
from serve.results.page import PARTS, write_section
from serve.results.pools import POOLS, pools
from serve.results.published import HYBRID_DROPS, ROUTELLM
from serve.results.shifts import domains, noise, renamed, transfer
from serve.results.study import Aim, Section, Study, judged_part, with_interval
from serve.results.two_experts import chosen_pairs, hybrid, routellm

MIXTRAL = "Mixtral-8x7B-Instruct-v0.1"
LENGTH = (Entry("length", "length"),)
KNN = (Entry("near", "poly-knn", {"k": 3}),)


def write(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public sets' columns with 60 rows of each; short prompts are easy, and only the large ones know the rest."""
    root, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    texts = [f"{i}: {' '.join(['word'] * int(rng.integers(1, 12)))} {i % 7}" for i in range(60)]
    easy = [len(text) < 34 for text in texts]
    right = ["mixtral_8x7b_instruct_correct", "gpt4_1106_preview_correct"]
    subjects = ("high_school_mathematics", "anatomy", "law", "virology")
    mmlu = [
        {"subject": subjects[i % 4], "prompt": text, right[0]: easy[i], right[1]: i % 10 > 0, "contaminated": i == 59}
        for i, text in enumerate(texts)
    ]
    write(root / "routellm" / "mmlu_mixtral_gpt4.csv", mmlu)
    answers = {"reference_answer": 1, "mixtral_8x7b_instruct_response": "x", "gpt4_1106_preview_response": "1 2 3"}
    gsm8k = [{**{k: v for k, v in row.items() if k != "subject"}, **answers} for row in mmlu]
    write(root / "routellm" / "gsm8k_mixtral_gpt4.csv", gsm8k)
    judged = ["mixtral_8x7b_instruct_score", "gpt4_1106_preview_score"]
    turns = [
        {
            "question_id": i, "category": "ab"[i % 2], "turn": turn, judged[0]: 9.0 if easy[i] else 3.0, judged[1]: 9.0,
            "contaminated": False, "prompt_turn1": texts[i], "prompt_turn2": "more",
        }
        for i in range(40)
        for turn in (1, 2)
    ]  # fmt: skip
    write(root / "routellm" / "mt_bench_scores.csv", turns)
    models = sorted({*POOLS["pool-small"].experts, *POOLS["pool-large"].experts, MIXTRAL})
    about = {"src": "x", "answer": "A"}
    scores, chars = [], []
    for i, text in enumerate(texts):
        knows = {model: int(rng.random() < (0.3 + 0.08 * place)) for place, model in enumerate(models)}
        row = {"question_id": i, "fold10": i % 10, "category": f"c{i % 3}", **about, "in_mmlu_test": i < 10}
        scores.append({**row, "prompt": text, **knows, "gemini-1.5-pro-002": "" if i == 5 else 1})
        chars.append({"question_id": i, **dict.fromkeys(models, 40)})
    write(root / "mmlu_pro" / "mmlu_pro_scores.csv", scores)
    write(root / "mmlu_pro" / "mmlu_pro_output_chars.csv", chars)
    _zeroeval(root / "zeroeval", texts)
    return root


def _zeroeval(folder: Path, texts: list[str]) -> None:
    rng, models = np.random.default_rng(1), [*POOLS["pool-frontier"].experts, "Meta-Llama-3.1-8B-Instruct", MIXTRAL]
    scores, chars = [], []
    for i in range(120):
        keys = {"dataset": "gsm" if i < 60 else "crux", "id": str(i)}
        question = texts[i] if i < 60 else f"def f{i}(): return {i}"
        knows = {model: int(rng.random() < 0.9 - 0.12 * place) for place, model in enumerate(models)}
        scores.append({**keys, "fold10": i % 10, "question": question, "answer": 1, **knows})
        chars.append({**keys, **dict.fromkeys(models, 80)})
    write(folder / "zeroeval_scores.csv", scores)
    write(folder / "zeroeval_output_chars.csv", chars)


@pytest.fixture
def study(folder: Path) -> Study:
    return Study(folder, resamples=20)


def test_every_router_of_the_line_up_can_be_made() -> None:
    for entry in (*TWO_EXPERTS, *N_EXPERTS, *FAST_TWO, *FAST_N, *HELD_OUT, *HYBRID):
        router = entry.make(("a", "b"), 7)
        assert getattr(router, "seed", 7) == 7
        assert getattr(router, "small", "a") == "a"


def test_routers_take_part_where_they_fit(study: Study) -> None:
    mmlu, gsm8k = (
        study.load(name).select((MIXTRAL, "gpt-4-1106-preview")) for name in ("routellm-mmlu", "routellm-gsm8k")
    )
    told = Entry("told", "linear", {"side": ["domain"]}, reads_domain=True)
    few = Entry("few", "length", most_prompts=59)
    assert (told.fits(mmlu), told.fits(gsm8k)) == (True, False)
    assert (few.fits(mmlu), few.fits(rows_of(mmlu, np.arange(59)))) == (False, True)
    scene = study.judged(gsm8k, by_fold(gsm8k, 2), [told, few, *LENGTH])
    assert set(scene.judgement.routers) == {"length"}


def test_prompts_without_an_answer_of_the_pool_are_left_out(study: Study) -> None:
    assert len(study.load("mmlu-pro", experts=POOLS["pool-large"].experts).texts) == 59
    assert len(study.load("mmlu-pro", experts=POOLS["pool-small"].experts).texts) == 60
    assert len(study.load("mmlu-pro", "in_mmlu_test", experts=POOLS["pool-small"].experts).texts) == 50


def test_routellm_stands_beside_what_was_published(study: Study) -> None:
    section = routellm(study, LENGTH)
    text = "\n".join(section.text)
    for published in ROUTELLM.values():
        for name, (cpt50, cpt80, apgr) in published.items():
            assert f"| published: {name} | {cpt50:.1f} | {cpt80:.1f} | {apgr:.3f} |" in text
    assert "### MMLU: 59 prompts" in text
    assert "(44 prompts, same trained routers)" in text
    assert "### MT-Bench: 40 prompts" in text
    assert set(section.pictures) == {f"{name}.png" for name in ROUTELLM}
    assert [aim.text[:25] for aim in section.aims] == ["APGR of at least 0.72 on ", "APGR of at least 0.66 on "]


def test_pairs_are_nearest_to_their_gap() -> None:
    quality, cost = {"a": 0.4, "b": 0.5, "c": 0.76, "d": 0.8, "e": 0.9}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 0.5}
    rows = [
        (f"p{i}", f"p{i}", name, 0, float(i < 100 * good), 1, 1, float(cost[name]), 0.0)
        for name, good in quality.items()
        for i in range(100)
    ]
    names = ["prompt_id", "prompt", "expert", "sample", "quality", "input_tokens", "output_tokens", "cost", "latency_s"]
    data = RoutingData(pd.DataFrame(rows, columns=names))
    # e is the best but the cheapest, so it is nobody's large expert.
    assert chosen_pairs(data) == {"small": ("c", "d"), "medium": ("a", "b"), "large": ("a", "d")}


def test_hybrid_has_the_published_table(study: Study) -> None:
    text = "\n".join(hybrid(study, LENGTH).text)
    assert all(f"published, {kind}" in text for kind in HYBRID_DROPS)
    assert "| published, large: FLAN-T5 800m to Llama-2 13b | r_trans | 2.1 | 4.7 | 10.3 |" in text
    assert len(re.findall(r"^\| (?:small|medium|large): .* → .* \| length \|", text, re.MULTILINE)) == 6


def test_pools_have_aims_and_oracles(study: Study) -> None:
    section = pools(study, KNN)
    text = "\n".join(section.text)
    assert text.count("| *domain-oracle* |") == text.count("| *prompt-oracle* |") == 3
    assert text.count("| near |") == 3
    assert [aim.text[:20] for aim in section.aims] == ["at least 46.0 % on M", *["no router significan"] * 3]
    assert {"pool-small.png", "pool-small-domains.png", "pool-small-map.png"} <= set(section.pictures)


def test_transfer_leaves_out_what_both_sets_have(study: Study) -> None:
    text = "\n".join(transfer(study, LENGTH).text)
    assert "Learned from 50 prompts" in text
    assert "Learned from 60 prompts" in text
    assert "judged on 59" in text
    assert "judged on 60" in text


def test_renamed_experts_keep_their_answers(study: Study) -> None:
    data = study.load("routellm-gsm8k")
    small, large = data.experts
    other = renamed(data, {large: "big", small: "tiny"})
    assert other.experts == ("big", "tiny")
    assert (other.quality() == data.quality()[:, ::-1]).all()


def test_held_out_domains(study: Study) -> None:
    section = domains(study, LENGTH)
    assert "APGR above length on held-out subjects" in section.aims[0].text
    assert not section.aims[0].reached  # length is not above itself


def test_noise_tells_agreement_and_what_is_left(study: Study) -> None:
    section = noise(study, LENGTH)
    text = "\n".join(section.text)
    one = study.load("routellm-gsm8k", "contaminated")
    two = study.load("zeroeval", experts=(MIXTRAL,)).frame
    first = dict(zip(one.texts, one.quality()[:, one.experts.index(MIXTRAL)], strict=True))
    same = [first[row.prompt] == row.quality for row in two.itertuples() if row.prompt in first]
    assert f"both agree on {100 * np.mean(same):.1f} %" in text
    assert text.count("length, learned from the") == 2
    assert "| knows the first |" in text


def test_learning_curves(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FAST_TWO", "FAST_N"):
        monkeypatch.setattr(learning_module, name, KNN)
    section = learning(study, sizes=(10, 30, 1000))
    assert "| router | 10 prompts | 30 prompts |" in "\n".join(section.text)
    assert set(section.pictures) == {"learning-mmlu.png", "learning-pool.png"}


def test_part_of_the_prompts_is_judged_alone(study: Study) -> None:
    data = study.load("routellm-mmlu")
    scene = study.judged(data, by_fold(data, 5), LENGTH)
    kept = np.arange(60) < 20
    part = judged_part(study, scene, kept)
    assert part.judgement.n_prompts == 20
    expected = scene.exam.quality[kept].mean(axis=0)
    assert [of["quality"] for of in part.judgement.experts.values()] == pytest.approx(list(expected))


def test_page_keeps_other_sections_and_gathers_aims(tmp_path: Path, study: Study) -> None:
    first = Section(["One."], [Aim("a thing", reached=True, cause="never shown")])
    second = Section(["Two."], [Aim("another", reached=False, cause="It is hard.")], {"x.png": b"png"})
    write_section("pools", first, study, tmp_path)
    write_section("routellm", second, study, tmp_path)
    page = write_section("pools", first, study, tmp_path).read_text()
    assert page.index("Two.") < page.index("One.")
    assert page.count("One.") == page.count("Two.") == 1
    top = page[: page.index("<!-- begin")]
    assert "- **Missed**: another. It is hard.\n- Reached: a thing." in top
    assert "never shown" not in page
    assert (tmp_path / "results" / "x.png").read_bytes() == b"png"


def test_tables() -> None:
    assert table(["a", "b"], [["c", "d"]]) == "| a | b |\n| --- | ---: |\n| c | d |"
    assert with_interval(0.1234, (0.1, 0.2)) == "0.123 [0.100, 0.200]"
    assert with_interval(0.1234, None, percent=True) == "12.3"
    assert with_interval(None, None) == "–"


def test_command_refuses_what_it_does_not_know(folder: Path, tmp_path: Path) -> None:
    import typer

    from serve.results.__main__ import results

    app = typer.Typer()
    app.command()(results)
    done = CliRunner().invoke(app, ["--data", str(folder), "--out", str(tmp_path), "--only", "magic"])
    assert done.exit_code == 2
    assert all(part in done.stderr for part in PARTS)
    assert not (tmp_path / "results.md").exists()
