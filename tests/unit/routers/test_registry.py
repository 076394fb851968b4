import subprocess
import sys

import pytest

import routers
from routers import ParameterError, list_routers, make_router


def test_every_router_is_described() -> None:
    infos = list_routers()
    assert [info.name for info in infos] == sorted(info.name for info in infos)
    assert {"cluster", "hybrid-trans"} <= {info.name for info in infos}
    for info in infos:
        assert info.paper
        assert info.summary.endswith(".")
        assert info.experts in ("two", "n")
        assert set(make_router(info.name).get_params()) == set(info.parameters)


def test_errors_name_the_choices() -> None:
    with pytest.raises(ParameterError, match=r"no router 'hybird': choose one of .*hybrid-trans"):
        make_router("hybird")
    with pytest.raises(ParameterError, match="no parameter 'k'"):
        make_router("cluster", k=3)
    with pytest.raises(ParameterError, match="'n_clusters' of ClusterRouter is 0"):
        make_router("cluster", n_clusters=0)


def test_exports_are_there_and_sorted() -> None:
    assert routers.__all__ == sorted(routers.__all__)
    assert all(hasattr(routers, name) for name in routers.__all__)


def test_importing_and_deciding_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'sklearn', 'pandas', 'pyarrow', 'scipy', 'ray', 'vllm'}"
    code = f"import sys, routers; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
