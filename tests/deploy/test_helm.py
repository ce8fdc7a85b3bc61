"""The Helm chart: Helm's own linter, what it renders against Kubernetes' schemas, and what the service's program says."""

import os
import pathlib
import subprocess
import sys
import tomllib
import unittest

import helm_python
import kubernetes_validate
import yaml
from helm_python import chart as helm

from documentation import example

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "service"))

from running import program  # noqa: E402

CHART = ROOT / "deploy" / "helm" / "chat-memory"
# The oldest version that the chart allows, and the newest whose schemas are there.
KUBERNETES = ("1.27", kubernetes_validate.latest_version())
LEAST = {"store": "dynamodb://chats?region=eu-west-1", "image": {"repository": "registry.example.com/chat-memory"}}
MOST = {
    **LEAST,
    "image": {"repository": "registry.example.com/chat-memory", "tag": "1", "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "settings": {"poll": "2s", "console": False, "max-streams": 100, "trusted-proxy": "10.0.0.0/16"},
    "extraEnv": [{"name": "AWS_REGION", "value": "eu-west-1"}],
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/chat-memory"}},
    "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"a.example.com/b": "c"}},
    "ingress": {
        "enabled": True, "className": "nginx", "annotations": {"a.example.com/b": "c"},
        "hosts": [{"host": "chat.example.com", "tlsSecret": "chat-tls"}, {"host": "plain.example.com"}],
    },
    "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "autoscaling": {"enabled": True, "maxReplicas": 5},
    "podAnnotations": {"a.example.com/b": "c"}, "podLabels": {"team": "chat"}, "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
SPARSE = {
    **LEAST, "serviceAccount": {"create": False}, "metrics": {"enabled": False}, "podDisruptionBudget": {"enabled": False},
}


def render(values, name="chat-memory"):
    """The rendered resources, by kind."""
    with helm.Chart.load(CHART) as chart:
        files = chart.render(values, name=name, namespace="chat")
    found = {}
    for file, text in files.items():
        if file.endswith(".yaml"):
            for resource in filter(None, yaml.safe_load_all(text)):
                found.setdefault(resource["kind"], []).append(resource)
    return found


def container(resources):
    (deployment,) = resources["Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


class Chart(unittest.TestCase):
    def test_helm_lint_finds_nothing(self):
        for values in (LEAST, MOST, SPARSE):
            report = helm.lint(CHART, values, strict=True)
            self.assertEqual(report["errors"], [])
            # Severity 1 is information: that there is no icon.
            self.assertEqual([message for message in report["messages"] if message["severity"] > 1], [])

    def test_rendered_resources_match_the_schemas_of_kubernetes(self):
        for values in (LEAST, MOST, SPARSE):
            resources = [resource for kind in render(values).values() for resource in kind]
            for resource in resources:
                # The Prometheus Operator's resource is not one of Kubernetes itself.
                if resource["kind"] == "ServiceMonitor":
                    continue
                for version in KUBERNETES:
                    with self.subTest(resource["kind"], version=version):
                        kubernetes_validate.validate(resource, version, strict=True)

    def test_only_what_was_asked_for_is_rendered(self):
        always = {"Deployment", "Service"}
        self.assertEqual(set(render(SPARSE)), always)
        self.assertEqual(set(render(LEAST)), always | {"ServiceAccount", "PodDisruptionBudget"})
        self.assertEqual(set(render(MOST)), set(render(LEAST)) | {"Ingress", "HorizontalPodAutoscaler", "ServiceMonitor"})

    def test_every_selector_finds_the_pods(self):
        resources = render(MOST, "eu")
        (deployment,) = resources["Deployment"]
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        selectors = [service["spec"]["selector"] for service in resources["Service"]]
        selectors += [resources[kind][0]["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")]
        self.assertEqual(len(selectors), 4)
        for selector in selectors:
            self.assertLessEqual(selector.items(), labels)
        (monitor,) = resources["ServiceMonitor"]
        watched = [one for one in resources["Service"] if monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()]
        self.assertEqual([one["metadata"]["name"] for one in watched], ["eu-chat-memory-metrics"])
        self.assertEqual([one["spec"]["ports"][0]["name"] for one in watched], [monitor["spec"]["endpoints"][0]["port"]])
        self.assertEqual(resources["HorizontalPodAutoscaler"][0]["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"])

    def test_pod_has_no_more_rights_than_it_needs(self):
        resources = render(LEAST)
        pod = resources["Deployment"][0]["spec"]["template"]["spec"]
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertFalse(pod["automountServiceAccountToken"])
        context = container(resources)["securityContext"]
        self.assertTrue(context["readOnlyRootFilesystem"])
        self.assertFalse(context["allowPrivilegeEscalation"])
        self.assertEqual(context["capabilities"], {"drop": ["ALL"]})

    def test_program_accepts_the_containers_settings(self):
        for values in (LEAST, MOST):
            chosen = container(render(values))
            environment = {one["name"]: one["value"] for one in chosen["env"]}
            printed = subprocess.run(
                [program(), *chosen["args"], "--print-config"],
                env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
                stdout=subprocess.PIPE, check=True, text=True,
            )
            settings = tomllib.loads(printed.stdout)
            expected = {"store": values["store"], "listen": "0.0.0.0:8080", "keys": "/etc/chat-memory/keys.toml"}
            expected |= {"metrics-listen": "0.0.0.0:9090", "log-format": "json", "shutdown-delay": "15s"}
            if values is MOST:
                expected |= {"poll": "2s", "console": False, "max-streams": 100, "trusted-proxy": ["10.0.0.0/16"]}
            self.assertLessEqual(expected.items(), settings.items())

    def test_schema_knows_every_setting_of_the_program(self):
        help_text = subprocess.run(
            [program(), "serve", "--help"], stdout=subprocess.PIPE, check=True, text=True,
        ).stdout
        variables = {line.split("env: ")[1].split("=")[0].strip(" ]") for line in help_text.splitlines() if "[env: " in line}
        settings = {name.removeprefix("CHAT_MEMORY_").replace("_", "-").lower() for name in variables if name.startswith("CHAT_MEMORY_")}
        with helm.Chart.load(CHART) as chart:
            known = set(chart.schema["properties"]["settings"]["properties"])
        # What the chart sets by itself, and TLS, which the ingress or the load balancer terminates.
        own = {"store", "config", "listen", "keys", "keys-text", "metrics-listen", "tls-cert", "tls-key"}
        self.assertEqual(known, settings - own)

    def test_pod_is_killed_only_after_it_could_stop(self):
        resources = render(LEAST)
        environment = {one["name"]: one["value"] for one in container(resources)["env"]}
        seconds = [int(environment[f"CHAT_MEMORY_{name}"].removesuffix("s")) for name in ("SHUTDOWN_DELAY", "DRAIN")]
        self.assertGreater(resources["Deployment"][0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], sum(seconds))

    def test_values_that_cannot_work_are_refused(self):
        for values in (
            {},
            {**LEAST, "store": "sqlite:/data/chats.db"},
            {**LEAST, "store": ""},
            {**LEAST, "image": {"repository": ""}},
            {**LEAST, "settings": {"listen": "0.0.0.0:80"}},
            {**LEAST, "replica": 3},
            {**LEAST, "ingress": {"enabled": True}},
        ):
            with self.subTest(values), self.assertRaises(helm_python.HelmError), helm.Chart.load(CHART) as chart:
                chart.validate_schema(values)

    def test_example_of_the_documentation_renders(self):
        values = yaml.safe_load(example("helm install", "yaml"))
        self.assertIn("Ingress", render(values))


if __name__ == "__main__":
    unittest.main()
