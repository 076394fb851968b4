"""Make the Makefile's environment: `install` fills it from the pinned lists, `lock` writes those lists anew.

`peer` makes an environment beside it for another project's server that `make bench-peers` compares with.

It runs on the environment's own Python before anything else is there, so it uses the standard library only.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
UV = Path(sys.executable).with_name("uv")
DEVICES = ("cpu", "gpu")
PEERS = ("litellm", "routellm")
# The lists hold for every CPython the project supports; the oldest one has the most conditional dependencies.
RESOLVE_FOR = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")


def pip_settings() -> dict[str, str]:
    """Return pip's settings by bare name, such as `index-url`; the environment wins over pip's files."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    layers: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        layer, _, name = key.rpartition(".")
        if layer in layers and value:
            layers[layer][name] = str(ast.literal_eval(value))
    return layers["global"] | layers["install"] | layers[":env:"]


def uv_environment(pip: Mapping[str, str]) -> dict[str, str]:
    """Translate pip's settings into uv's, which does not read them. What is exported for uv already wins."""
    wanted = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": pip.get("extra-index-url", ""),
        "UV_FIND_LINKS": ",".join(pip.get("find-links", "").split()),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"} else "",
        "UV_INSECURE_HOST": pip.get("trusted-host", ""),
        "UV_HTTP_TIMEOUT": pip.get("default-timeout", pip.get("timeout", "")),
        "SSL_CERT_FILE": pip.get("cert", ""),
        # pip takes the best version of all its indexes; uv would stop at the first index that has the name.
        "UV_INDEX_STRATEGY": "unsafe-best-match" if pip.get("extra-index-url") else "",
        "UV_PYTHON": sys.executable,
    }
    return {key: value for key, value in wanted.items() if value} | dict(os.environ)


def uv(*arguments: str, env: Mapping[str, str], may_fail: bool = False) -> bool:
    """Run uv in the project's folder and say whether it succeeded; end the program if it had to."""
    done = subprocess.run([str(UV), *arguments], check=False, cwd=PROJECT, env=env, capture_output=may_fail, text=True)
    if done.returncode and not may_fail:
        sys.exit(f"uv {' '.join(arguments[:2])} failed; its message is above.")
    return done.returncode == 0


def bootstrap() -> dict[str, str]:
    """Install the pinned uv with pip and return the environment to run it in."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*command, "-r", str(HERE / "bootstrap.txt")], check=False).returncode:
        sys.exit("pip could not install uv; its message is above. `pip config list` shows where it looked.")
    return uv_environment(pip_settings())


def torch_pin(name: str) -> str:
    """Return the line that names torch in a list of this folder."""
    lines = (HERE / name).read_text().splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def install(device: str) -> None:
    """Bring the environment to exactly the pinned lists, then add the project itself, editable."""
    env = bootstrap()
    torch = torch_pin(f"{device}.txt")
    print(f"Installing {torch}, then the rest of requirements/{device}.txt and dev.txt.", flush=True)
    install_torch(torch, device, env)
    lists = [str(HERE / f"{device}.txt"), str(HERE / "dev.txt"), str(HERE / "bootstrap.txt")]
    # Compiled once here rather than by each of an engine's processes, where Python may not be allowed to write.
    uv("pip", "sync", "--compile-bytecode", *lists, env=env)
    uv("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", ".", env=env)


def install_torch(torch: str, device: str, env: Mapping[str, str]) -> None:
    """Install torch from where pip is told to look, else from PyTorch's own index."""
    if uv("pip", "install", "--no-deps", torch, env=env, may_fail=True):
        return
    print(f"{torch} is not where pip is told to look: taking it from PyTorch's own index.", flush=True)
    backend = "cpu" if device == "cpu" else "auto"
    uv("pip", "install", "--no-deps", "--torch-backend", backend, torch, env=env)


def peer(name: str) -> None:
    """Bring `.peers/<name>` to exactly the pinned list of a peer, whose packages would not fit beside ours."""
    folder = PROJECT / ".peers" / name
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    env = {**bootstrap(), "UV_PYTHON": str(folder / "bin" / "python")}
    print(f"Installing requirements/peers-{name}.txt into {folder.relative_to(PROJECT)}.", flush=True)
    if "torch==" in (HERE / f"peers-{name}.txt").read_text():
        install_torch(torch_pin(f"peers-{name}.txt"), "cpu", env)
    # Without compiled files a peer would compile modules while it answers, wherever Python may not write them.
    uv("pip", "sync", "--quiet", "--compile-bytecode", str(HERE / f"peers-{name}.txt"), env=env)


def lock() -> None:
    """Resolve the pinned lists from pyproject.toml and the `.in` files; pins that still fit stay."""
    env = bootstrap()
    options: list[str] = ["--excludes", "requirements/excludes.txt"]
    if not uv("pip", "install", "--dry-run", "--no-deps", torch_pin("cpu.in"), env=env, may_fail=True):
        options += ["--torch-backend", "cpu"]
    resolve("cpu", ("cpu", "demo", "encoders", "reports"), options, env)
    resolve("dev", ("dev",), ["--constraint", "requirements/cpu.txt"], env)
    resolve("peers-litellm", (), [], env)
    resolve("peers-routellm", (), [*options[2:], "--constraint", "requirements/cpu.txt"], env)
    # A folder of wheels may hold a CPU build of torch, which would satisfy the GPU list's pin too.
    only_index = {key: value for key, value in env.items() if key != "UV_FIND_LINKS"}
    resolve("gpu", ("gpu", "demo", "encoders", "reports"), ["--constraint", "requirements/dev.txt"], only_index)


def resolve(name: str, extras: Sequence[str], options: Sequence[str], env: Mapping[str, str]) -> None:
    """Write `requirements/<name>.txt` from `requirements/<name>.in` and, with extras, from pyproject.toml's."""
    chosen = [part for extra in extras for part in ("--extra", extra)]
    inputs = [*(["pyproject.toml"] if extras else []), f"requirements/{name}.in"]
    style = ["--quiet", "--no-annotate", "--custom-compile-command", "make lock"]
    output = ["--output-file", f"requirements/{name}.txt"]
    uv("pip", "compile", *inputs, *chosen, *options, *RESOLVE_FOR, *style, *output, env=env)


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=("install", "lock", "peer"))
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--name", choices=PEERS, help="whose environment `peer` makes")
    arguments = parser.parse_args()
    if arguments.action == "install":
        install(arguments.device)
    elif arguments.action == "peer":
        peer(arguments.name or parser.error("peer needs --name"))
    else:
        lock()


if __name__ == "__main__":
    main()
