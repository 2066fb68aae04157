"""Reads back what the clients pushed: every line of each, once."""
import json
import sys
import time
import urllib.parse
import urllib.request

url, run = sys.argv[1:3]
now = time.time_ns()
selectors = {
    "python-logging-loki": f'{{client="python-logging-loki", run="{run}"}}',
    "otel-sdk": f'{{service_name="otel-sdk", k8s_pod_name="pod-1"}} | run_id="{run}"',
    "pino-loki": f'{{client="pino-loki", run="{run}"}}',
    "winston-loki": f'{{client="winston-loki", run="{run}"}}',
}
failed = 0
for client, query in selectors.items():
    params = urllib.parse.urlencode({"query": query, "start": now - 3600 * 10**9, "end": now + 60 * 10**9, "limit": 1000})
    with urllib.request.urlopen(f"{url}/loki/api/v1/query_range?{params}") as answer:
        result = json.load(answer)["data"]["result"]
    lines = [value[1] for stream in result for value in stream["values"]]
    found = [sum(f"line {i} of {client}" in line for line in lines) for i in range(20)]
    good = found == [1] * 20
    failed += not good
    print(f"{client}: {'20 lines, each once' if good else found}")
print(f"{len(selectors) - failed} passed, {failed} failed")
sys.exit(failed > 0)
