# Two queues for each lane: its own, and that of its dead letters. No RedrivePolicy: SQS counts receives, Mayfly counts attempts,
# and a job that waits for a slot is received often (deploy/docs/sqs.md).

locals {
  lanes  = concat(["events"], [for name in keys(local.classes) : "launch_${name}"])
  queues = toset(flatten([for lane in local.lanes : ["${var.name_prefix}-${lane}", "${var.name_prefix}-${lane}-dead"]]))
}

resource "aws_sqs_queue" "this" {
  for_each = local.queues

  name                      = each.key
  message_retention_seconds = 1209600 # 14 days, the most
  max_message_size          = 262144
  sqs_managed_sse_enabled   = var.kms_key_arn == null ? true : null
  kms_master_key_id         = var.kms_key_arn
  tags                      = var.tags
}
