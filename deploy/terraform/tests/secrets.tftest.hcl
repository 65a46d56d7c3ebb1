# Where the App's key and the webhook's secret come from.
mock_provider "aws" {
  source = "./tests/mocks/aws"
}
mock_provider "awscc" {
  source = "./tests/mocks/awscc"
}

variables {
  github_app      = { app_id = "123456" }
  app_key_kms_arn = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
}

run "key_by_parameter" {
  command = plan

  variables {
    app_key_kms_arn          = null
    app_key_parameter        = "/acme/app-key"
    webhook_secret_parameter = "/acme/webhook-secret"
  }

  assert {
    condition     = length(aws_ssm_parameter.webhook_secret) == 0 && length(aws_ssm_parameter.app_key) == 0
    error_message = "nothing is made that is there"
  }
  assert {
    condition     = jsondecode(output.config).github.app.private_key == "ssm:/acme/app-key" && jsondecode(output.config).github.webhook_secrets == ["ssm:/acme/webhook-secret"]
    error_message = output.config
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.task["worker"].policy, "kms:Sign") && strcontains(aws_iam_role_policy.task["worker"].policy, "parameter/acme/app-key") && strcontains(aws_iam_role_policy.task["ingress"].policy, "parameter/acme/webhook-secret")
    error_message = "roles read these parameters"
  }
}

run "key_by_value" {
  command = plan

  variables {
    app_key_kms_arn        = null
    github_app_private_key = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"
  }

  assert {
    condition     = length(aws_ssm_parameter.app_key) == 1 && aws_ssm_parameter.app_key[0].value_wo_version == 1
    error_message = "the key is written to a parameter"
  }
}

run "two_secrets_while_one_is_rotated" {
  command = plan

  variables {
    previous_webhook_secret_parameter = "/mayfly/webhook-secret-old"
  }

  assert {
    condition     = jsondecode(output.config).github.webhook_secrets == ["ssm:/mayfly/webhook-secret", "ssm:/mayfly/webhook-secret-old"]
    error_message = output.config
  }
}
