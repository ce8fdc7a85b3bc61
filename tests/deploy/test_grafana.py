"""The Grafana dashboard: Prometheus scrapes a running service, as docs/deploying.md configures it, and answers every query."""

import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import yaml

from documentation import example

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "service"))

from running import PATIENCE_S, Service  # noqa: E402

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "chat-memory.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
JOB = "chat-memory"


def get(url):
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return answer.read().decode()


def post(url, body, **headers):
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.status


def traffic(url, number):
    """Some of everything that a service without faults can do: reads, writes, a repeat, a conflict, a usage error, a stream."""
    session = f"{url}/v1/sessions/s{number}"
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    assert post(f"{session}/messages", body, Idempotency_Key=f"k{number}") == 201
    assert post(f"{session}/messages", body, Idempotency_Key=f"k{number}") == 201
    stale = json.loads(get(f"{session}/messages"))["position"]
    assert post(f"{session}/messages", body) == 201
    assert post(f"{session}/messages", body, If_Match=f'"{stale}"') == 412
    assert post(f"{session}/messages", {"messages": 1}) in (400, 422)
    get(f"{url}/v1/sessions")
    urllib.request.urlopen(f"{session}/events", timeout=PATIENCE_S).close()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    """Prometheus with the documentation's configuration, until the block ends."""

    def __init__(self, target):
        self.configuration = yaml.safe_load(example("Prometheus reads it so", "yaml"))
        (job,) = self.configuration["scrape_configs"]
        assert job["job_name"] == JOB
        job["static_configs"] = [{"targets": [target]}]
        # Often, so that the test need not wait for two scrapes.
        job["scrape_interval"] = "500ms"
        job["scrape_timeout"] = "500ms"

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(self.folder.name)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(self.configuration), encoding="utf-8")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = open(folder / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=self.log, stderr=self.log,
        )
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()

    def query(self, path, **parameters):
        """What Prometheus answers; None while it does not listen yet."""
        if self.process.poll() is not None:
            self.log.seek(0)
            raise RuntimeError(f"Prometheus ended: {self.log.read()}")
        try:
            answer = get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        except OSError:
            return None
        return json.loads(answer)["data"]


def filled(expression):
    """The expression with Grafana's variables as Grafana fills them."""
    return expression.replace("$__rate_interval", "1m").replace("$job", ".+")


class Dashboard(unittest.TestCase):
    def test_every_query_has_a_result_on_a_real_scrape(self):
        metrics = free_port()
        with Service(options=["--metrics-listen", f"127.0.0.1:{metrics}"]) as service, Prometheus(f"127.0.0.1:{metrics}") as prometheus:
            waiting, rounds, deadline = dict.fromkeys(EXPRESSIONS), 0, time.monotonic() + PATIENCE_S
            # A rate is there after two scrapes, and a number after traffic between them.
            while waiting and time.monotonic() < deadline:
                traffic(service.url, rounds)
                rounds += 1
                for panel, expression in list(waiting):
                    answer = prometheus.query("query", query=filled(expression))
                    values = [float(one["value"][1]) for one in answer["result"]] if answer else []
                    waiting[panel, expression] = values
                    if values and not any(value != value for value in values):
                        del waiting[panel, expression]
                time.sleep(0.2)
            self.assertEqual(waiting, {}, "these queries have no result, or one that is not a number")
            for panel, expression in EXPRESSIONS:
                if panel in ("Requests", "Replicas", "Store operations", "Refused and failed requests", "Operations that did not succeed"):
                    result = prometheus.query("query", query=filled(expression))["result"]
                    self.assertTrue(any(float(one["value"][1]) > 0 for one in result), (panel, result))
            # The dashboard's variable lists the jobs that have this metric.
            variable, = [one for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()
            self.assertEqual(prometheus.query(f"label/{label}/values", **{"match[]": metric}), [JOB])
            # No name in the dashboard is one that the service does not have, even where a query has a default.
            exposed = set(re.findall(r"^(chat_memory_\w+)", get(f"http://127.0.0.1:{metrics}/metrics"), re.MULTILINE))
            # It appears with the first retry.
            exposed.add("chat_memory_retries_total")
            used = {name for _, expression in EXPRESSIONS for name in re.findall(r"chat_memory_\w+", expression)}
            self.assertLessEqual(used, exposed)
            families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed}
            self.assertEqual({re.sub(r"_bucket$", "", name) for name in used}, families, "every metric has a panel")

    def test_names_of_labels_and_outcomes_are_those_of_the_documentation(self):
        text = (ROOT / "docs" / "http.md").read_text(encoding="utf-8").split("\n## Metrics\n")[1]
        known = set(re.findall(r"`(\w+)`", text)) | {"le", "job", "instance"}
        for panel, expression in EXPRESSIONS:
            labels = re.findall(r"[{,]\s*(\w+)\s*[=!]", expression)
            labels += [label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")]
            labels += [value for value in re.findall(r'outcome="(\w+)"', expression)]
            self.assertLessEqual(set(labels), known, panel)

    def test_panels_are_placed_without_overlap(self):
        taken = set()
        for panel in DASHBOARD["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
        ids = [panel["id"] for panel in DASHBOARD["panels"]]
        self.assertEqual(len(ids), len(set(ids)))

    def test_every_panel_has_a_unit_and_a_description(self):
        for panel in PANELS:
            self.assertTrue(panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            for target in panel["targets"]:
                self.assertEqual(target["datasource"], {"type": "prometheus", "uid": "${datasource}"})


if __name__ == "__main__":
    unittest.main()
