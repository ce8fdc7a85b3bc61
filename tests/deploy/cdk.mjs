// Prints the templates that the construct in deploy/cdk makes, as a JSON list: one for each of the settings in the list on standard
// input. The first argument is the folder with the compiled construct and its packages.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.argv[2];
const require = createRequire(join(folder, "package.json"));
const { App, CfnOutput, Stack } = require("aws-cdk-lib");
const { Topic } = require("aws-cdk-lib/aws-sns");
const { Template } = require("aws-cdk-lib/assertions");
const { ChatMemoryTable } = await import(pathToFileURL(join(folder, "dist", "index.js")));

let input = "";
for await (const piece of process.stdin) input += piece;
const templates = JSON.parse(input).map(({ alarmTopicArn, ...settings }) => {
  const stack = new Stack(new App(), "Chats", { env: { account: "111122223333", region: "eu-west-1" } });
  if (alarmTopicArn) settings.alarmTopic = Topic.fromTopicArn(stack, "Topic", alarmTopicArn);
  const { storeUrl } = new ChatMemoryTable(stack, "ChatMemory", settings);
  new CfnOutput(stack, "StoreUrl", { value: storeUrl });
  return Template.fromStack(stack).toJSON();
});
process.stdout.write(JSON.stringify(templates));
