"""A stock Faust agent that does nothing with what it reads: what small messages cost without us.

python stock_agent.py BOOTSTRAP TOPIC,TOPIC... COUNT     prints {"seconds": ..., "messages": ...}

Faust's own aiokafka driver, its default settings but for what lets a figure be taken at all: it
reads from the beginning, and commits as it comes.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import faust


def main() -> None:
    """Read so many messages, tell how long it took from the first one on, and end."""
    bootstrap, topics, count = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
    app = faust.App(
        f"stock-{time.time_ns()}",
        broker=f"aiokafka://{bootstrap}",
        datadir=tempfile.mkdtemp(),
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=1,
    )
    topic = app.topic(*topics, key_serializer="raw", value_type=bytes, value_serializer="raw")
    seen, began = 0, 0.0

    @app.agent(topic)
    async def read(stream: faust.StreamT[bytes]) -> None:
        nonlocal seen, began
        async for _ in stream:
            began = began or time.monotonic()
            seen += 1
            if seen == count:
                seconds = time.monotonic() - began
                print(json.dumps({"seconds": seconds, "messages": count}), flush=True)
                await app.stop()

    worker = faust.Worker(app, loglevel="error", redirect_stdouts=False)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main()
