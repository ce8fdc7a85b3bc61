"""What a CloudFormation template creates for given parameters, in the form in which the three kinds of infrastructure are compared."""

import json
import re

ACCOUNT, REGION = "111122223333", "eu-west-1"
NO_VALUE = object()


def listed(value):
    return value if isinstance(value, list) else [value]


def policy_document(document):
    """A policy with its lists as lists and without what says nothing."""
    if isinstance(document, str):
        document = json.loads(document)
    statements = [
        {**statement, "Action": sorted(listed(statement["Action"])), "Resource": listed(statement.get("Resource", []))}
        for statement in document["Statement"]
    ]
    return {"Version": document["Version"], "Statement": statements}


class Stack:
    def __init__(self, template, **parameters):
        self.template = template
        declared = template.get("Parameters", {})
        unknown = set(parameters) - set(declared)
        assert not unknown, f"the template has no parameters {unknown}"
        self.values = {name: parameter["Default"] for name, parameter in declared.items() if "Default" in parameter}
        for name, value in parameters.items():
            self.values[name] = str(value).lower() if isinstance(value, bool) else value
        self.values |= {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::NoValue": NO_VALUE}
        self.values |= {"AWS::URLSuffix": "amazonaws.com"}

    def condition(self, name):
        return self.value(self.template["Conditions"][name])

    def reference(self, name):
        if name in self.values:
            return self.values[name]
        resource = self.template["Resources"][name]
        if resource["Type"] == "AWS::DynamoDB::Table":
            return self.value(resource["Properties"]["TableName"])
        return name

    def attribute(self, name, attribute):
        resource = self.template["Resources"][name]
        if resource["Type"] == "AWS::DynamoDB::Table" and attribute == "Arn":
            return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.reference(name)}"
        return f"{name}.{attribute}"

    def substituted(self, text):
        def one(match):
            name, _, attribute = match[1].partition(".")
            return str(self.attribute(name, attribute) if attribute else self.reference(name))

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def value(self, node):
        """A part of the template with its functions applied."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (function, argument), = node.items()
            match function:
                case "Ref":
                    return self.reference(argument)
                case "Condition" if isinstance(argument, str):
                    return self.condition(argument)
                case "Fn::GetAtt":
                    return self.attribute(*(argument.split(".") if isinstance(argument, str) else argument))
                case "Fn::Sub":
                    return self.substituted(argument)
                case "Fn::Join":
                    return argument[0].join(map(str, self.value(argument[1])))
                case "Fn::If":
                    return self.value(argument[1] if self.condition(argument[0]) else argument[2])
                case "Fn::Equals":
                    return str(self.value(argument[0])) == str(self.value(argument[1]))
                case "Fn::Not":
                    return not self.value(argument[0])
                case "Fn::And":
                    return all(map(self.value, argument))
            assert not function.startswith("Fn::"), f"{function} is not known here"
        return {name: value for name, node in node.items() if (value := self.value(node)) is not NO_VALUE}

    def resources(self, kind):
        """The resources of this type that the stack creates, by name: (the resource, its evaluated properties)."""
        for name, resource in self.template["Resources"].items():
            if resource["Type"] == f"AWS::{kind}" and ("Condition" not in resource or self.condition(resource["Condition"])):
                yield name, (resource, self.value(resource["Properties"]))

    def infrastructure(self):
        (resource, table), = dict(self.resources("DynamoDB::Table")).values()
        assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain", resource
        policies = dict(self.resources("IAM::ManagedPolicy"))
        (_, role), = dict(self.resources("IAM::Role")).values()
        attached = [policies[name][1] for name in role["ManagedPolicyArns"]]
        assert len(attached) == len(policies)
        return {
            "table": {
                "name": table["TableName"],
                "billing": table["BillingMode"],
                "keys": {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]},
                "attributes": {one["AttributeName"]: one["AttributeType"] for one in table["AttributeDefinitions"]},
                "ttl": (table["TimeToLiveSpecification"]["AttributeName"], table["TimeToLiveSpecification"]["Enabled"]),
                "recovery": (
                    table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
                    int(table["PointInTimeRecoverySpecification"]["RecoveryPeriodInDays"]),
                ),
                "encrypted": table.get("SSESpecification", {}).get("SSEEnabled", False),
                "protected": str(table["DeletionProtectionEnabled"]).lower() == "true",
            },
            "trust": policy_document(role["AssumeRolePolicyDocument"]),
            "role": role["Description"],
            "policies": {policy["Description"]: policy_document(policy["PolicyDocument"]) for policy in attached},
            "alarms": {alarm["AlarmDescription"]: self.alarm(alarm) for _, alarm in dict(self.resources("CloudWatch::Alarm")).values()},
        }

    @staticmethod
    def alarm(alarm):
        def metric(metric, statistic, period):
            dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric["Dimensions"]}
            return metric["Namespace"], metric["MetricName"], dimensions, statistic, period

        if "Metrics" in alarm:
            expressions = [query for query in alarm["Metrics"] if "Expression" in query]
            stats = [query["MetricStat"] for query in alarm["Metrics"] if "MetricStat" in query]
            returned = [query.get("ReturnData", True) for query in alarm["Metrics"]]
            assert returned.count(True) == len(expressions) == 1 and len(expressions) + len(stats) == len(returned), alarm
            metrics = [metric(stat["Metric"], stat["Stat"], stat["Period"]) for stat in stats]
            of = (expressions[0]["Expression"], expressions[0]["Label"])
        else:
            metrics, of = [metric(alarm, alarm["Statistic"], alarm["Period"])], None
        return {
            "metrics": sorted(metrics, key=str),
            "of": of,
            "when": (alarm["ComparisonOperator"], float(alarm["Threshold"])),
            "periods": (int(alarm["DatapointsToAlarm"]), int(alarm["EvaluationPeriods"])),
            "missing": alarm["TreatMissingData"],
            "actions": (alarm.get("AlarmActions"), alarm.get("OKActions")),
        }
