"""The rules of the house that a reader of one file cannot see broken: layering, sizes, exports, pins."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
# What each package may import of the others. Only the top one may reach the demo and the load tests.
MAY_IMPORT = {
    "routers": {"routers"},
    "deployments": {"deployments", "routers"},
    "serve": {"serve", "deployments", "routers", "demo", "loadtests"},
    "demo": {"demo", "routers"},
    "loadtests": {"loadtests", "demo", "routers"},
}
# The extras of pyproject.toml that a package's imports come from.
EXTRAS_OF = {
    "routers": ["torch", "encoders"],
    "deployments": ["serve", "cpu", "gpu"],
    "serve": ["serve", "reports"],
    "demo": ["demo", "torch"],
    "loadtests": ["serve", "demo", "loadtests"],
}
NOT_IN_ROUTERS = {"aiohttp", "fastapi", "httpx", "openai", "ray", "starlette", "uvicorn", "vllm"}
# The client of embeddings endpoints: such features are computed elsewhere, so that reading a prompt is a request.
MAY_SPEAK_HTTP = {"routers/features/embeddings_api.py": {"httpx"}}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_NESTING = 3
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# Written in two parts, so that this file keeps the rule it checks.
REGISTRIES = [
    name + "." + domain
    for name, domain in [
        ("pypi", "org"),
        ("files.pythonhosted", "org"),
        ("download.pytorch", "org"),
        ("registry.npmjs", "org"),
        ("repo.anaconda", "com"),
        ("conda.anaconda", "org"),
        ("proxy.golang", "org"),
    ]
]
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:opt|work|tmp/w)/\w")


def tracked_files() -> list[Path]:
    """Return what git knows, and what it would take in, of this checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def python_files() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".py"]


def package_files() -> list[Path]:
    return [path for path in python_files() if path.relative_to(ROOT).parts[0] in MAY_IMPORT]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever in the file it does."""
    here = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level]) if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


def exported(tree: ast.Module) -> list[str] | None:
    """Return the names in `__all__`, or None where there is none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return list(ast.literal_eval(node.value))
    return None


def defined(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements of a module bind, also inside its `if` and `try`."""
    for node in body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.If | ast.Try):
            yield from defined(node.body + node.orelse)
        else:
            yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))


def depth(node: ast.AST) -> int:
    """Return how deep blocks nest inside a function; an `elif` is as deep as its `if`."""
    deepest = 0
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, FUNCTIONS):
                continue
            is_elif = field == "orelse" and isinstance(node, ast.If) and isinstance(child, ast.If)
            deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def pins(name: str) -> dict[str, str]:
    """Return the pinned versions of one list in requirements/."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(package): version for package, version in pairs}


def requirements_of(extras: list[str]) -> list[Requirement]:
    """Return what the project needs of other projects with some of its extras."""
    lines = [*project()["dependencies"]]
    for extra in extras:
        lines += project()["optional-dependencies"][extra]
    return [Requirement(line) for line in lines if not line.startswith("pointsman")]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_imports_run_downward():
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in package_files()
        for module in imports_of(path)
        if (top := module.split(".")[0]) in MAY_IMPORT and top not in MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    ]
    assert wrong == []


def test_routers_import_no_server_client_or_engine():
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in package_files()
        if path.is_relative_to(ROOT / "routers")
        for module in imports_of(path)
        if module.split(".")[0] in NOT_IN_ROUTERS - MAY_SPEAK_HTTP.get(name_of(path), set())
    ]
    assert wrong == []


def test_only_experts_import_the_engine():
    wrong = [
        name_of(path)
        for path in package_files()
        if path.is_relative_to(ROOT / "deployments") and not path.is_relative_to(ROOT / "deployments/experts")
        for module in imports_of(path)
        if module.split(".")[0] == "vllm" or module.startswith("ray.serve.llm")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("routers", sorted(NOT_IN_ROUTERS)), ("deployments.router", ["vllm", "torch", "transformers"])],
)
def test_importing_a_module_does_not_pull_in(module, unwanted):
    code = f"import sys, {module}; print(*[name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_public_modules_say_what_they_export():
    without = []
    for path in package_files():
        tree = ast.parse(path.read_text())
        only_a_docstring = all(isinstance(node, ast.Expr) for node in tree.body)
        if not only_a_docstring and path.stem != "__main__" and exported(tree) is None:
            without.append(name_of(path))
    assert without == []


def test_exported_names_exist_once():
    wrong = []
    for path in package_files():
        tree = ast.parse(path.read_text())
        names = exported(tree) or []
        lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
        missing = set() if lazy else set(names) - set(defined(tree.body))
        wrong += [f"{name_of(path)}: {name}" for name in sorted(missing)]
        wrong += [f"{name_of(path)}: {name} twice" for name in set(names) if names.count(name) > 1]
    assert wrong == []


def test_files_are_short():
    counts = {name_of(path): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: count for name, count in counts.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short_and_shallow():
    wrong = []
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, FUNCTIONS):
                continue
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                wrong.append(f"{name_of(path)}:{node.lineno} {node.name} has {lines} lines")
            if depth(node) > MAX_NESTING:
                wrong.append(f"{name_of(path)}:{node.lineno} {node.name} nests {depth(node)} deep")
    assert wrong == []


def test_no_file_names_a_package_registry_or_a_path_of_one_machine():
    wrong = []
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" in content:
            continue
        text = content.decode(errors="replace")
        wrong += [f"{name_of(path)}: {host}" for host in REGISTRIES if host in text]
        wrong += [f"{name_of(path)}: {found.group()}" for found in MACHINE_PATH.finditer(text)]
    assert wrong == []


def test_pinned_lists_agree():
    dev = pins("dev")
    for name in ("cpu", "gpu"):
        device = pins(name)
        assert {package: device[package] for package in dev.keys() & device.keys()} == {
            package: dev[package] for package in dev.keys() & device.keys()
        }, f"requirements/{name}.txt and dev.txt"


@pytest.mark.parametrize("name", ["peers-litellm", "peers-routellm"])
def test_peers_lists_hold_what_they_ask_for(name):
    lines = (ROOT / "requirements" / f"{name}.in").read_text().splitlines()
    asked = [Requirement(line) for line in lines if not line.startswith("#")]
    pinned = pins(name)
    assert asked
    assert [str(each) for each in asked if not each.specifier.contains(pinned[canonicalize_name(each.name)])] == []


@pytest.mark.parametrize(
    ("name", "extras"),
    [("cpu", ["serve", "cpu", "torch", "demo"]), ("gpu", ["serve", "gpu", "torch", "demo"])],
)
def test_pinned_lists_satisfy_the_project(name, extras):
    pinned = pins(name) | pins("dev")
    requirements = requirements_of([*extras, "dev"])
    unmet = [
        str(requirement)
        for requirement in requirements
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"))
    ]
    assert unmet == []


@pytest.mark.parametrize(("package", "extras"), EXTRAS_OF.items())
def test_packages_import_only_what_their_extras_install(package, extras):
    declared = {canonicalize_name(requirement.name) for requirement in requirements_of(extras)}
    distributions = packages_distributions()
    undeclared = set()
    for path in package_files():
        if path.relative_to(ROOT).parts[0] != package:
            continue
        for module in imports_of(path):
            top = module.split(".")[0]
            owners = {canonicalize_name(owner) for owner in distributions.get(top, [])}
            if top not in MAY_IMPORT and top not in sys.stdlib_module_names and not owners & declared:
                undeclared.add(f"{name_of(path)} imports {top}")
    assert undeclared == set()


def test_cpu_list_leaves_out_what_breaks_the_cpu_engine():
    lines = (ROOT / "requirements" / "excludes.txt").read_text().splitlines()
    excluded = {line for line in lines if line and not line.startswith("#")}
    assert excluded == {"torchaudio", "torchcodec", "torchvision"}
    assert excluded & pins("cpu").keys() == set()


def test_changelog_has_the_version():
    assert f"## [{project()['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_bare_make_lists_every_target():
    listing = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert {"install", "serve", "test", "bench", "check"} <= set(targets)
    assert [target for target in targets if f"make {target} " not in listing] == []
