variable "table_name" {
  description = "The table's name"
  type        = string
  default     = "chats"

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.table_name))
    error_message = "A table's name has 3 to 255 letters, digits, underscores, dots and hyphens."
  }
}

variable "point_in_time_recovery_days" {
  description = "How many days back the table can be restored to any second"
  type        = number
  default     = 35

  validation {
    condition     = var.point_in_time_recovery_days >= 1 && var.point_in_time_recovery_days <= 35
    error_message = "Point-in-time recovery reaches back 1 to 35 days."
  }
}

variable "encryption" {
  description = "At rest by the account's own key alias/aws/dynamodb, whose use CloudTrail shows (kms), or by a key of DynamoDB's (owned)"
  type        = string
  default     = "kms"

  validation {
    condition     = contains(["kms", "owned"], var.encryption)
    error_message = "The encryption is kms or owned."
  }
}

variable "deletion_protection" {
  description = "Whether the table refuses to be deleted. Turn it off before you destroy the module with its data"
  type        = bool
  default     = true
}

variable "service" {
  description = "Which of AWS's services may assume the role"
  type        = string
  default     = "ecs-tasks.amazonaws.com"

  validation {
    condition     = contains(["ecs-tasks.amazonaws.com", "ec2.amazonaws.com", "lambda.amazonaws.com", "pods.eks.amazonaws.com"], var.service)
    error_message = "The service is ecs-tasks.amazonaws.com, ec2.amazonaws.com, lambda.amazonaws.com or pods.eks.amazonaws.com; for anything else attach policy_arn to a role of your own."
  }
}

variable "namespace" {
  description = "If the store's URL names a namespace, the same here narrows the role to its sessions"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[^#*?$]{0,255}$", var.namespace))
    error_message = "A namespace has at most 255 characters and none of #, *, ? and $."
  }
}

variable "allow_table_check" {
  description = "Whether the role may also run `chat-memory table check`"
  type        = bool
  default     = false
}

variable "alarms" {
  description = "Whether there are alarms for throttling and for errors of DynamoDB"
  type        = bool
  default     = true
}

variable "alarm_topic_arn" {
  description = "The SNS topic that the alarms notify. Without it they only show their state"
  type        = string
  default     = ""
}

variable "ttl_alarm_days" {
  description = "Alarm if TTL deleted nothing for this many days, up to 7. Only where something expires every day; 0 for no such alarm"
  type        = number
  default     = 0

  validation {
    condition     = var.ttl_alarm_days >= 0 && var.ttl_alarm_days <= 7 && floor(var.ttl_alarm_days) == var.ttl_alarm_days
    error_message = "The alarm for TTL looks at 1 to 7 whole days; 0 is for no such alarm."
  }
}

variable "tags" {
  description = "Tags of the table, the role, the policies and the alarms"
  type        = map(string)
  default     = {}
}
