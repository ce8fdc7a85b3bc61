# The table of conversations, its alarms, and a role with the least privilege on it: what deploy/cloudformation.yaml creates.
# `cargo xtask test deploy` compares the two.

locals {
  alarm_actions = var.alarm_topic_arn == "" ? null : [var.alarm_topic_arn]

  # The operations that the service uses; DynamoDB counts its errors per operation only.
  operations = toset(["DeleteItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"])
}

resource "aws_dynamodb_table" "chats" {
  name                        = var.table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "session_id"
  range_key                   = "sk"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "session_id"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = var.point_in_time_recovery_days
  }

  server_side_encryption {
    enabled = var.encryption == "kms"
  }
}

resource "aws_iam_policy" "sessions" {
  name_prefix = "chat-memory-"
  description = "Sessions of the table ${aws_dynamodb_table.chats.name}"
  tags        = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      merge(
        {
          Sid    = "ChatMemorySessions"
          Effect = "Allow"
          Action = [
            "dynamodb:ConditionCheckItem",
            "dynamodb:DeleteItem",
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
          ]
          Resource = aws_dynamodb_table.chats.arn
        },
        { for operator in var.namespace == "" ? [] : ["ForAllValues:StringLike"] : "Condition" => {
          (operator) = { "dynamodb:LeadingKeys" = ["ns#${var.namespace}#*", "ns#${var.namespace}/*"] }
        } },
      ),
      {
        Sid      = "ChatMemoryTable"
        Effect   = "Allow"
        Action   = ["dynamodb:DescribeTimeToLive"]
        Resource = aws_dynamodb_table.chats.arn
      },
    ]
  })
}

resource "aws_iam_policy" "check" {
  count       = var.allow_table_check ? 1 : 0
  name_prefix = "chat-memory-check-"
  description = "Looking at the settings of the table ${aws_dynamodb_table.chats.name}"
  tags        = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid    = "ChatMemoryTable"
      Effect = "Allow"
      Action = [
        "dynamodb:DescribeContinuousBackups",
        "dynamodb:DescribeTable",
        "dynamodb:DescribeTimeToLive",
        "dynamodb:Scan",
      ]
      Resource = aws_dynamodb_table.chats.arn
    }]
  })
}

resource "aws_iam_role" "service" {
  name_prefix = "chat-memory-"
  description = "The chat memory service on the table ${aws_dynamodb_table.chats.name}"
  tags        = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = var.service }
      Action    = var.service == "pods.eks.amazonaws.com" ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]
    }]
  })
}

resource "aws_iam_role_policy_attachment" "sessions" {
  role       = aws_iam_role.service.name
  policy_arn = aws_iam_policy.sessions.arn
}

resource "aws_iam_role_policy_attachment" "check" {
  count      = var.allow_table_check ? 1 : 0
  role       = aws_iam_role.service.name
  policy_arn = aws_iam_policy.check[0].arn
}

# The service retries what was throttled, so a single event is no problem. On demand, it means a hot session or a sudden rise.
resource "aws_cloudwatch_metric_alarm" "throttles" {
  for_each            = var.alarms ? { Read = "reads", Write = "writes" } : {}
  alarm_name          = "${aws_dynamodb_table.chats.name}-${each.value}-throttled"
  alarm_description   = "DynamoDB throttled ${each.value} of the table ${aws_dynamodb_table.chats.name} in three of five minutes"
  namespace           = "AWS/DynamoDB"
  metric_name         = "${each.key}ThrottleEvents"
  dimensions          = { TableName = aws_dynamodb_table.chats.name }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "system_errors" {
  count               = var.alarms ? 1 : 0
  alarm_name          = "${aws_dynamodb_table.chats.name}-system-errors"
  alarm_description   = "DynamoDB answered requests for the table ${aws_dynamodb_table.chats.name} with errors of its own in three of five minutes"
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags

  metric_query {
    id          = "errors"
    expression  = "SUM(METRICS())"
    label       = "SystemErrors"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.operations

    content {
      # An id begins with a small letter.
      id          = "${lower(substr(metric_query.value, 0, 1))}${substr(metric_query.value, 1, -1)}"
      return_data = false

      metric {
        namespace   = "AWS/DynamoDB"
        metric_name = "SystemErrors"
        dimensions  = { TableName = aws_dynamodb_table.chats.name, Operation = metric_query.value }
        stat        = "Sum"
        period      = 60
      }
    }
  }
}

# DynamoDB does not report how late TTL is, only how many items it deleted, usually within a few days of their expiry. A day
# without any is a sign only where something expires every day.
resource "aws_cloudwatch_metric_alarm" "ttl_stopped" {
  count               = var.alarms && var.ttl_alarm_days > 0 ? 1 : 0
  alarm_name          = "${aws_dynamodb_table.chats.name}-ttl-stopped"
  alarm_description   = "TTL deleted nothing from the table ${aws_dynamodb_table.chats.name} for ${var.ttl_alarm_days} days"
  namespace           = "AWS/DynamoDB"
  metric_name         = "TimeToLiveDeletedItemCount"
  dimensions          = { TableName = aws_dynamodb_table.chats.name }
  statistic           = "Sum"
  period              = 86400
  evaluation_periods  = var.ttl_alarm_days
  datapoints_to_alarm = var.ttl_alarm_days
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
  tags                = var.tags
}
