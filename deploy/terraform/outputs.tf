output "store_url" {
  description = "The value for CHAT_MEMORY_STORE"
  value = join("", [
    "dynamodb://${aws_dynamodb_table.chats.name}?region=${split(":", aws_dynamodb_table.chats.arn)[3]}",
    var.namespace == "" ? "" : "&namespace=${var.namespace}",
  ])
}

output "table_arn" {
  description = "The table"
  value       = aws_dynamodb_table.chats.arn
}

output "policy_arn" {
  description = "The policy, to be attached to a role of your own"
  value       = aws_iam_policy.sessions.arn
}

output "role_arn" {
  description = "The role that the service may run as"
  value       = aws_iam_role.service.arn
}
