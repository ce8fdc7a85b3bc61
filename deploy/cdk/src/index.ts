/**
 * The DynamoDB table of chat memory, its alarms, and a role with the least privilege on it: what deploy/cloudformation.yaml creates.
 * `cargo xtask test deploy` compares the two.
 */

import { Duration, RemovalPolicy, Stack, Token } from "aws-cdk-lib";
import {
  Alarm,
  type AlarmProps,
  ComparisonOperator,
  type IMetric,
  MathExpression,
  Metric,
  TreatMissingData,
} from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import { AttributeType, BillingMode, Table, TableEncryption } from "aws-cdk-lib/aws-dynamodb";
import { ManagedPolicy, PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import type { ITopic } from "aws-cdk-lib/aws-sns";
import { Construct } from "constructs";

/** Settings of the table, of who uses it, and of its alarms. */
export interface ChatMemoryTableProps {
  /**
   * The table's name.
   * @default "chats"
   */
  readonly tableName?: string;
  /**
   * How many days back the table can be restored to any second, 1 to 35.
   * @default 35
   */
  readonly pointInTimeRecoveryDays?: number;
  /**
   * At rest by the account's own key alias/aws/dynamodb, whose use CloudTrail shows (`kms`), or by a key of DynamoDB's (`owned`).
   * @default "kms"
   */
  readonly encryption?: "kms" | "owned";
  /**
   * Whether the table refuses to be deleted. In any case it is kept when the stack is deleted.
   * @default true
   */
  readonly deletionProtection?: boolean;
  /**
   * Which of AWS's services may assume the role. For anything else attach {@link ChatMemoryTable.policy} to a role of your own.
   * @default "ecs-tasks.amazonaws.com"
   */
  readonly service?: "ecs-tasks.amazonaws.com" | "ec2.amazonaws.com" | "lambda.amazonaws.com" | "pods.eks.amazonaws.com";
  /**
   * If the store's URL names a namespace, the same here narrows the role to its sessions.
   * @default - no namespace
   */
  readonly namespace?: string;
  /**
   * Whether the role may also run `chat-memory table check`.
   * @default false
   */
  readonly allowTableCheck?: boolean;
  /**
   * Whether there are alarms for throttling and for errors of DynamoDB.
   * @default true
   */
  readonly alarms?: boolean;
  /**
   * The topic that the alarms notify.
   * @default - the alarms only show their state
   */
  readonly alarmTopic?: ITopic;
  /**
   * Alarm if TTL deleted nothing for this many days, 1 to 7. Set it only where something expires every day.
   * @default - no such alarm
   */
  readonly ttlAlarmDays?: number;
}

/** The operations that the service uses; DynamoDB counts its errors per operation only. */
const OPERATIONS = ["DeleteItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"];

/** The table of conversations, its alarms, and a role with the least privilege on it. */
export class ChatMemoryTable extends Construct {
  readonly table: Table;
  /** What the service may do, to be attached to a role of your own. */
  readonly policy: ManagedPolicy;
  /** The role that the service may run as. */
  readonly role: Role;
  readonly alarms: Alarm[] = [];
  /** The value for CHAT_MEMORY_STORE. */
  readonly storeUrl: string;

  constructor(scope: Construct, id: string, props: ChatMemoryTableProps = {}) {
    super(scope, id);
    check(props);
    this.table = new Table(this, "Table", {
      tableName: props.tableName ?? "chats",
      billingMode: BillingMode.PAY_PER_REQUEST,
      partitionKey: { name: "session_id", type: AttributeType.STRING },
      sortKey: { name: "sk", type: AttributeType.STRING },
      timeToLiveAttribute: "ttl",
      pointInTimeRecoverySpecification: {
        pointInTimeRecoveryEnabled: true,
        recoveryPeriodInDays: props.pointInTimeRecoveryDays ?? 35,
      },
      encryption: props.encryption === "owned" ? TableEncryption.DEFAULT : TableEncryption.AWS_MANAGED,
      deletionProtection: props.deletionProtection ?? true,
      removalPolicy: RemovalPolicy.RETAIN,
    });

    this.policy = this.sessions(props.namespace);
    const policies = [this.policy];
    if (props.allowTableCheck) policies.push(this.tableCheck());
    this.role = this.serviceRole(props.service ?? "ecs-tasks.amazonaws.com", policies);
    if (props.alarms ?? true) this.watch(props);

    const namespace = props.namespace ? `&namespace=${props.namespace}` : "";
    this.storeUrl = `dynamodb://${this.table.tableName}?region=${Stack.of(this).region}${namespace}`;
  }

  /** What `chat-memory iam-policy` prints. */
  private sessions(namespace: string | undefined): ManagedPolicy {
    const conditions = { "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [`ns#${namespace}#*`, `ns#${namespace}/*`] } };
    return new ManagedPolicy(this, "Sessions", {
      description: `Sessions of the table ${this.table.tableName}`,
      statements: [
        new PolicyStatement({
          sid: "ChatMemorySessions",
          actions: [
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
          ],
          resources: [this.table.tableArn],
          ...(namespace ? { conditions } : {}),
        }),
        new PolicyStatement({
          sid: "ChatMemoryTable",
          actions: ["dynamodb:DescribeTimeToLive"],
          resources: [this.table.tableArn],
        }),
      ],
    });
  }

  /** What `chat-memory iam-policy --for table-check` prints. */
  private tableCheck(): ManagedPolicy {
    return new ManagedPolicy(this, "Check", {
      description: `Looking at the settings of the table ${this.table.tableName}`,
      statements: [
        new PolicyStatement({
          sid: "ChatMemoryTable",
          actions: [
            "dynamodb:DescribeContinuousBackups",
            "dynamodb:DescribeTable",
            "dynamodb:DescribeTimeToLive",
            "dynamodb:Scan",
          ],
          resources: [this.table.tableArn],
        }),
      ],
    });
  }

  private serviceRole(service: string, managedPolicies: ManagedPolicy[]): Role {
    const principal = new ServicePrincipal(service);
    return new Role(this, "Role", {
      description: `The chat memory service on the table ${this.table.tableName}`,
      assumedBy: service === "pods.eks.amazonaws.com" ? principal.withSessionTags() : principal,
      managedPolicies,
    });
  }

  private watch(props: ChatMemoryTableProps): void {
    const name = this.table.tableName;
    const metric = (metricName: string, period: Duration, more: Record<string, string> = {}) =>
      new Metric({
        namespace: "AWS/DynamoDB",
        metricName,
        dimensionsMap: { TableName: name, ...more },
        statistic: "Sum",
        period,
      });
    const minute = Duration.minutes(1);
    // The service retries what was throttled, so a single event is no problem.
    const inThreeOfFive = {
      evaluationPeriods: 5,
      datapointsToAlarm: 3,
      threshold: 0,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: TreatMissingData.NOT_BREACHING,
    };
    for (const [kind, what] of [["Read", "reads"], ["Write", "writes"]] as const) {
      this.alarm(`${kind}Throttles`, props.alarmTopic, {
        alarmDescription: `DynamoDB throttled ${what} of the table ${name} in three of five minutes`,
        metric: metric(`${kind}ThrottleEvents`, minute),
        ...inThreeOfFive,
      });
    }
    const usingMetrics: Record<string, IMetric> = {};
    for (const operation of OPERATIONS) {
      usingMetrics[operation.charAt(0).toLowerCase() + operation.slice(1)] = metric("SystemErrors", minute, {
        Operation: operation,
      });
    }
    this.alarm("SystemErrors", props.alarmTopic, {
      alarmDescription: `DynamoDB answered requests for the table ${name} with errors of its own in three of five minutes`,
      metric: new MathExpression({ expression: "SUM(METRICS())", label: "SystemErrors", usingMetrics, period: minute }),
      ...inThreeOfFive,
    });
    // DynamoDB does not report how late TTL is, only how many items it deleted, usually within a few days of their expiry.
    if (props.ttlAlarmDays) {
      this.alarm("TtlStopped", props.alarmTopic, {
        alarmDescription: `TTL deleted nothing from the table ${name} for ${props.ttlAlarmDays} days`,
        metric: metric("TimeToLiveDeletedItemCount", Duration.days(1)),
        evaluationPeriods: props.ttlAlarmDays,
        datapointsToAlarm: props.ttlAlarmDays,
        threshold: 1,
        comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
        treatMissingData: TreatMissingData.BREACHING,
      });
    }
  }

  private alarm(id: string, topic: ITopic | undefined, props: AlarmProps): void {
    const alarm = new Alarm(this, id, props);
    if (topic) {
      alarm.addAlarmAction(new SnsAction(topic));
      alarm.addOkAction(new SnsAction(topic));
    }
    this.alarms.push(alarm);
  }
}

/** Refuses settings that a deployment would refuse only after minutes, or that would widen the role. */
function check(props: ChatMemoryTableProps): void {
  const within = (name: string, value: number | undefined, least: number, most: number) => {
    if (value !== undefined && !Token.isUnresolved(value) && !(Number.isInteger(value) && value >= least && value <= most)) {
      throw new Error(`invalid ${name} ${value}: expected a whole number from ${least} to ${most}`);
    }
  };
  within("pointInTimeRecoveryDays", props.pointInTimeRecoveryDays, 1, 35);
  within("ttlAlarmDays", props.ttlAlarmDays, 1, 7);
  if (props.namespace !== undefined && /[#*?$]/.test(props.namespace)) {
    throw new Error(`invalid namespace "${props.namespace}": expected none of the characters #, *, ? and $`);
  }
}
