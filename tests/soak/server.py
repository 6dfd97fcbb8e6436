"""The server of the soak, in a process of its own: `python -m tests.soak.server`.

It prints its address. For each line of its input it hangs up on everybody, and prints
how many connections were open.
"""

import asyncio
import sys

from rxstream.simulator import FAST, Settings, Simulator


async def main() -> None:
    """Answer until the input ends."""
    loop = asyncio.get_running_loop()
    async with Simulator(Settings(speed=FAST)) as simulator:
        _say(simulator.url)
        while await loop.run_in_executor(None, sys.stdin.readline):
            # as a server would that restarts, but at the same address
            held = list(simulator._connections.values())  # pyright: ignore[reportPrivateUsage]  # it has no such switch
            for connection in held:
                connection.transport.abort()
            for connection in held:
                await connection.closed.wait()
            _say(str(len(held)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
