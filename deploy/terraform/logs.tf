# Log groups: of each program, the entry, the builds of images, and the VMs.

locals {
  log_group = "/mayfly/${var.name_prefix}"
}

resource "aws_cloudwatch_log_group" "program" {
  #checkov:skip=CKV_AWS_338:log_retention_days is a variable: logs of CI are not records, and a year of them costs more than the fleet
  for_each = local.programs

  name              = "${local.log_group}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_cloudwatch_log_group" "entry" {
  #checkov:skip=CKV_AWS_338:as for the programs
  count = local.uses_api_gateway ? 1 : 0

  name              = "${local.log_group}/entry"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_cloudwatch_log_group" "image" {
  #checkov:skip=CKV_AWS_338:as for the programs
  count = local.makes_images ? 1 : 0

  name              = "${local.log_group}/image"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_cloudwatch_log_group" "vm" {
  count = var.vm_logs ? 1 : 0

  name              = "${local.log_group}/vm"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}
