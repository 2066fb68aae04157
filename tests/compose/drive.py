#!/usr/bin/env python3
"""What a user does with the compose cluster: push and query through the gateway, lose an ingester, replace it."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

GATEWAY = "http://localhost:3100"
ALERTMANAGER = "http://localhost:9093"
RULES = """
name: compose
interval: 1s
rules:
  - alert: Lines
    expr: sum(count_over_time({app="compose"}[1h])) > 0
    for: 2s
    annotations: {summary: "{{ $value }} lines"}
"""
READY_WITHIN_S = 120
VISIBLE_WITHIN_S = 30
passed = failed = 0


def check(claim, holds, detail=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(("ok   " if holds else "FAIL ") + claim + (f": {detail}" if detail and not holds else ""), flush=True)


def call(path, body=None, timeout=20):
    """Status and body; a connection that fails is status 0. A body is a text, or something to be sent as JSON."""
    headers = {"X-Scope-OrgID": "demo", "Content-Type": "application/json"}
    body = json.dumps(body) if isinstance(body, dict) else body
    request = urllib.request.Request(GATEWAY + path, data=body and body.encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def until(within_s, condition):
    """The last answer of `condition`, as soon as it is true."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)


def compose(*arguments):
    return subprocess.run(["docker-compose", *arguments], check=True, capture_output=True, text=True).stdout


class Ledger:
    """Every line that was acknowledged; a push that fails is repeated, as an agent does."""

    def __init__(self):
        self.lines = set()
        self.failures = []

    def push(self, count, streams=20):
        for _ in range(count):
            number, now = len(self.lines), time.time_ns()
            line = f"level=info number={number} text=compose"
            stream = {"app": "compose", "instance": str(number % streams)}
            body = {"streams": [{"stream": stream, "values": [[str(now), line]]}]}
            for attempt in range(10):
                status, text = call("/loki/api/v1/push", body)
                if status == 204:
                    self.lines.add(line)
                    break
                self.failures.append((attempt, status, text.strip()))
                time.sleep(0.5)

    def found(self):
        """Lines as a query through the gateway returns them, and its warnings."""
        start = time.time_ns() - 3600 * 10**9
        query = urllib.parse.urlencode({"query": '{app="compose"}', "limit": 5000, "start": start})
        status, text = call("/loki/api/v1/query_range?" + query)
        if status != 200:
            return None, text
        answer = json.loads(text)
        return sorted(line for stream in answer["data"]["result"] for _, line in stream["values"]), answer.get("warnings")

    def complete(self):
        """Whether every acknowledged line is returned, each once."""
        self.seen = self.found()
        return self.seen[0] == sorted(self.lines)


def cached_chunks():
    """How many chunks memcached was given."""
    script = r"exec 3<>/dev/tcp/localhost/11211; printf 'stats\r\nquit\r\n' >&3; cat <&3"
    stats = compose("exec", "-T", "memcached", "bash", "-c", script).split()
    return int(stats[stats.index("cmd_set") + 1])


def alerts():
    """The names of the alerts that the Alertmanager shows."""
    with urllib.request.urlopen(ALERTMANAGER + "/api/v2/alerts", timeout=20) as answer:
        return [alert["labels"]["alertname"] for alert in json.load(answer)]


def short(seen, ledger):
    lines, note = seen
    return f"{len(lines or [])} of {len(ledger.lines)} lines, {note}"


def main(services):
    check("every service comes up", until(READY_WITHIN_S, lambda: call("/ready")[0] == 200), call("/ready"))
    ledger = Ledger()
    accepted = until(READY_WITHIN_S, lambda: (ledger.push(1), ledger.lines)[1])
    check("the gateway takes a push", accepted, ledger.failures[-1:])
    ledger.failures.clear()
    ledger.push(500)
    check("pushes need no second try", not ledger.failures, ledger.failures[:3])
    check("every line is returned once", until(VISIBLE_WITHIN_S, ledger.complete), short(ledger.seen, ledger))

    accepted = call("/loki/api/v1/rules/compose", RULES)
    check("the gateway takes a rule", accepted[0] == 202, accepted)
    check("its alert reaches the Alertmanager", until(VISIBLE_WITHIN_S, lambda: "Lines" in alerts()), call("/prometheus/api/v1/rules"))

    compose("kill", "-s", "SIGKILL", "ingester-1")
    ledger.push(500)
    stuck = [failure for failure in ledger.failures if failure[0] == 9]
    check("with an ingester killed every push is taken at the latest when repeated", not stuck, stuck[:3])
    check("with an ingester killed every line is returned once", until(VISIBLE_WITHIN_S, ledger.complete), short(ledger.seen, ledger))
    compose("up", "-d", "--no-build", "ingester-1")
    ledger.push(200)
    check("with the ingester back every line is returned once", until(VISIBLE_WITHIN_S, ledger.complete), short(ledger.seen, ledger))

    started = time.monotonic()
    compose("stop", "-t", "40", "ingester-0")
    check("a stop takes less than 30 s", time.monotonic() - started < 32, f"{time.monotonic() - started:.1f} s")
    check("what a stopping ingester stores is in the cache of chunks", until(VISIBLE_WITHIN_S, cached_chunks))
    ledger.push(100)
    compose("up", "-d", "--no-build", "ingester-0")
    check("after a stop every line is returned once", until(VISIBLE_WITHIN_S, ledger.complete), short(ledger.seen, ledger))

    running = compose("ps", "--services", "--filter", "status=running").split()
    gone = sorted(set(services) - set(running))
    check("every service is still running", not gone, gone)
    contract = subprocess.run([sys.executable, "tests/contract/contract_check.py", "--tenant", "contract", GATEWAY], capture_output=True, text=True)
    print("\n".join(line for line in contract.stdout.splitlines() if not line.startswith(("PASS", "SKIP"))))
    check("the calls of Loki's clients are answered through the gateway", contract.returncode == 0, contract.stderr[-500:])
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1].split()))
