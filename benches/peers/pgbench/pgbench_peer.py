"""pgbench: the same statements by a client in C. What is to be done is in the environment, what was
done is one line of JSON."""

import json
import os
import pathlib
import re
import subprocess
import tempfile

WARM_UP = float(os.environ["SECONDS_WARM_UP"])
COUNTED = float(os.environ["SECONDS_COUNTED"])
CLIENTS = int(os.environ["THREADS"])

script = pathlib.Path(__file__).with_name(os.environ["WORKLOAD"] + ".sql")
with tempfile.TemporaryDirectory() as folder:
    # It counts in whole seconds, and has no warm-up: the log tells when each transaction ended.
    seconds = max(1, round(WARM_UP + COUNTED + 0.3))
    command = ["pgbench", "--no-vacuum", "--protocol=prepared", "--log", f"--file={script}"]
    command += [f"--client={CLIENTS}", f"--jobs={min(CLIENTS, os.cpu_count() or 1)}"]
    command += [f"--define=rows={os.environ['ROWS']}", f"--time={seconds}"]
    command += [os.environ["DATABASE_URL"]]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise SystemExit(run.stderr)
    lines = [
        line.split() for file in pathlib.Path(folder).iterdir() for line in file.open()
    ]

acked = int(re.search(r"transactions actually processed: (\d+)", run.stdout)[1])
# client, transaction, latency in µs, script, second, µs
done = [(int(line[0]), int(line[2]) / 1e3, int(line[4]) + int(line[5]) / 1e6) for line in lines]
first = min(ended - latency / 1e3 for _, latency, ended in done) + WARM_UP
last = first + COUNTED
times = sorted(
    latency for _, latency, ended in done if first <= ended - latency / 1e3 <= last
)
each = [0] * CLIENTS
for client, _, ended in done:
    each[client] += first <= ended <= last


def at(part):
    return times[min(int(len(times) * part), len(times) - 1)] if times else 0.0


print(
    json.dumps(
        {
            "acked": acked,
            "deposits": sum(each),
            "total": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1)},
            "fairness": max(each) / max(min(each), 1),
        }
    )
)
