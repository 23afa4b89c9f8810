"""Two processes on this machine that a test starts, as torchrun would start them."""

import os
import subprocess
import sys
from pathlib import Path


def both_done(script: str, *arguments: object, timeout: float = 60.0) -> bool:
    """Run a script beside this file by two processes; return whether they ended in time.

    Args:
        script: its file name.
        arguments: of both processes.
        timeout: seconds; at its end both are killed.
    """
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, arguments)]
    base = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(command, env={**base, "RANK": str(rank)}, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        for process in started:
            _, said = process.communicate(timeout=timeout)
            assert process.returncode == 0, said.decode()
    except subprocess.TimeoutExpired:
        return False
    finally:
        for process in started:
            process.kill()
            process.wait()
    return True
