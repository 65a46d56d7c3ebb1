# Secrets are parameters whose values are written by write-only arguments: neither state nor plan holds them.

locals {
  # What is read from GitHub's API needs no signature.
  webhook_secret_parameter = local.has_entry ? coalesce(var.webhook_secret_parameter, "/${var.name_prefix}/webhook-secret") : null
  webhook_secret_parameters = concat(local.webhook_secret_parameter == null ? [] : [local.webhook_secret_parameter],
  var.previous_webhook_secret_parameter == null ? [] : [var.previous_webhook_secret_parameter])

  # Null where the key is in KMS.
  app_key_parameter       = var.app_key_kms_arn != null ? null : coalesce(var.app_key_parameter, "/${var.name_prefix}/app-key")
  makes_app_key_parameter = var.app_key_kms_arn == null && var.app_key_parameter == null
}

# The value is new at each run of Terraform (244 random bits), and stored only where the version is new.
resource "aws_ssm_parameter" "webhook_secret" {
  count = local.has_entry && var.webhook_secret_parameter == null ? 1 : 0

  name             = local.webhook_secret_parameter
  description      = "Secret of the webhook of Mayfly ${var.name_prefix}"
  type             = "SecureString"
  key_id           = var.kms_key_arn
  value_wo         = sha256("${uuid()}${uuid()}")
  value_wo_version = var.webhook_secret_version
  tags             = var.tags
}

resource "aws_ssm_parameter" "app_key" {
  count = local.makes_app_key_parameter ? 1 : 0

  name             = local.app_key_parameter
  description      = "Private key of the GitHub App of Mayfly ${var.name_prefix}"
  type             = "SecureString"
  key_id           = var.kms_key_arn
  value_wo         = var.github_app_private_key
  value_wo_version = var.github_app_private_key_version
  tags             = var.tags
}
