"""Lets the processes of a CPU engine sleep while they wait for each other: a plugin of vLLM.

vLLM's engine and its worker pass messages through shared memory and, for a second after each message, look for the
next without pause. On a GPU host that costs a core that has nothing else to do; where the model computes on those
cores, two processes per engine take the time of the model, of other engines and of the Router.
"""

from __future__ import annotations

import logging
import os
import time
from importlib import import_module
from typing import Any

__all__ = ["NAPS_ENV", "nap_s", "register"]

NAPS_ENV = "POINTSMAN_ENGINE_NAPS"
"""Set to 1 in an engine's environment to make it nap; anything else leaves vLLM as it is."""
_log = logging.getLogger(__name__)
# A nap is short beside the wait it belongs to, so that a step of the model takes little longer.
_SHARE_OF_WAIT = 1 / 16
_SHORTEST_S = 0.0001
_LONGEST_S = 0.002


def nap_s(waited_s: float) -> float:
    """Seconds to sleep before looking again, for one who has waited ``waited_s`` seconds."""
    return min(max(waited_s * _SHARE_OF_WAIT, _SHORTEST_S), _LONGEST_S)


def register() -> None:
    """Make this process nap, if its environment asks for it. vLLM calls it in every process of an engine.

    Where vLLM has moved what is changed here, a warning says so and the engine waits as vLLM has it.
    """
    if os.environ.get(NAPS_ENV) != "1":
        return
    try:
        condition = import_module("vllm.distributed.device_communicators.shm_broadcast").SpinCondition
        spin_or_park = condition.wait
    except (ImportError, AttributeError) as error:
        _log.warning("This vLLM waits otherwise than known here, so its engine will not nap (%s).", error)
        return

    def wait(self: Any, timeout_ms: int | None = None) -> None:
        waited_s = time.monotonic() - self.last_read
        if waited_s <= self.busy_loop_s:
            time.sleep(nap_s(waited_s))
        else:
            spin_or_park(self, timeout_ms)

    condition.wait = wait
