# Where the App's key and the webhook's secret come from.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-west-1" }
  }
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-west-1a", "eu-west-1b", "eu-west-1c"] }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/made" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/made" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = {
      arn                  = "arn:aws:ecs:eu-west-1:123456789012:task-definition/made:1"
      arn_without_revision = "arn:aws:ecs:eu-west-1:123456789012:task-definition/made"
    }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/mayfly" }
  }
  mock_resource "aws_ecr_repository" {
    defaults = {
      arn            = "arn:aws:ecr:eu-west-1:123456789012:repository/mayfly"
      repository_url = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mayfly"
    }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:made" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-west-1:123456789012:mayfly-alarms" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:eu-west-1:123456789012:service/srv-1" }
  }
  mock_resource "aws_apigatewayv2_api" {
    defaults = { api_endpoint = "https://abc123.execute-api.eu-west-1.amazonaws.com" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/mayfly/1", arn_suffix = "app/mayfly/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/mayfly/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/mayfly/1/2" }
  }
  mock_resource "aws_appautoscaling_policy" {
    defaults = { arn = "arn:aws:autoscaling:eu-west-1:123456789012:scalingPolicy:1" }
  }
}
mock_provider "awscc" {
  mock_resource "awscc_lambda_microvm_image" {
    defaults = { image_arn = "arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly-default" }
  }
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
