"""Makes deposits on as many processes as the benchmark has threads: a thread of Python's would only
wait for the others. What is to be done is in the environment, what was done is one line of JSON."""

import json
import multiprocessing
import os
import random
import time

HOT = os.environ["WORKLOAD"] == "hot"
ROWS = int(os.environ["ROWS"])
PROCESSES = int(os.environ["THREADS"])
WARM_UP = float(os.environ["SECONDS_WARM_UP"])
COUNTED = float(os.environ["SECONDS_COUNTED"])


def work(connect, ready, answers):
    """One process: `connect` opens its connection and returns what makes a deposit."""
    deposit = connect()
    ready.wait()
    begin = time.monotonic() + WARM_UP
    end = begin + COUNTED
    acked = counted = 0
    times = []
    while (asked := time.monotonic()) < end:
        deposit(1 if HOT else random.randint(1, ROWS))
        ended = time.monotonic()
        acked += 1
        counted += begin <= ended <= end
        if asked >= begin:
            times.append((ended - asked) * 1e3)
    answers.put((acked, counted, times))


def run(connect):
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(PROCESSES)
    answers = fork.Queue()
    workers = [fork.Process(target=work, args=(connect, ready, answers)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    done = []
    while len(done) < PROCESSES:
        done.append(answers.get(timeout=WARM_UP + COUNTED + 60))
    for worker in workers:
        worker.join()
    each = [counted for _, counted, _ in done]
    times = sorted(time for _, _, times in done for time in times)

    def at(part):
        return times[min(int(len(times) * part), len(times) - 1)] if times else 0.0

    print(
        json.dumps(
            {
                "acked": sum(acked for acked, _, _ in done),
                "deposits": sum(each),
                "total": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1)},
                "fairness": max(each) / max(min(each), 1),
            }
        )
    )
