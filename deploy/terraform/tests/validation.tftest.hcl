# What each validation refuses.
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

run "name_prefix" {
  command = plan

  variables {
    name_prefix = "Mayfly_EU"
  }
  expect_failures = [var.name_prefix]
}

run "kms_key_arn" {
  command = plan

  variables {
    kms_key_arn = "alias/mayfly"
  }
  expect_failures = [var.kms_key_arn]
}

run "permissions_boundary" {
  command = plan

  variables {
    permissions_boundary = "boundary"
  }
  expect_failures = [var.permissions_boundary]
}

run "github_app" {
  command = plan

  variables {
    github_app = { app_id = "" }
  }
  expect_failures = [var.github_app]
}

run "github_app_2" {
  command = plan

  variables {
    github_app = { app_id = "1", installation_id = "acme" }
  }
  expect_failures = [var.github_app]
}

run "app_key_kms_arn" {
  command = plan

  variables {
    app_key_kms_arn = "alias/app"
  }
  expect_failures = [var.app_key_kms_arn]
}

run "github_app_private_key" {
  command = plan

  variables {
    app_key_kms_arn = null
  }
  expect_failures = [var.github_app_private_key]
}

run "github_app_private_key_2" {
  command = plan

  variables {
    app_key_parameter = "/mayfly/key"
  }
  expect_failures = [var.github_app_private_key]
}

run "app_key_parameter" {
  command = plan

  variables {
    app_key_kms_arn   = null
    app_key_parameter = "key"
  }
  expect_failures = [var.app_key_parameter]
}

run "webhook_secret_parameter" {
  command = plan

  variables {
    webhook_secret_parameter = "secret"
  }
  expect_failures = [var.webhook_secret_parameter]
}

run "previous_webhook_secret_parameter" {
  command = plan

  variables {
    previous_webhook_secret_parameter = "secret"
  }
  expect_failures = [var.previous_webhook_secret_parameter]
}

run "github_api_url" {
  command = plan

  variables {
    github_api_url = "github.example.com"
  }
  expect_failures = [var.github_api_url]
}

run "github_organization" {
  command = plan

  variables {
    github_organization = "acme/app"
  }
  expect_failures = [var.github_organization]
}

run "github_repositories" {
  command = plan

  variables {
    github_repositories = ["app"]
  }
  expect_failures = [var.github_repositories]
}

run "classes" {
  command = plan

  variables {
    classes = []
  }
  expect_failures = [var.classes]
}

run "classes_2" {
  command = plan

  variables {
    classes = [{ name = "Small", labels = ["a"] }]
  }
  expect_failures = [var.classes]
}

run "classes_3" {
  command = plan

  variables {
    classes = [{ name = "gone-dead", labels = ["a"] }]
  }
  expect_failures = [var.classes]
}

run "classes_4" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"] }, { name = "a", labels = ["b"] }]
  }
  expect_failures = [var.classes]
}

run "classes_5" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], required_labels = ["b"] }]
  }
  expect_failures = [var.classes]
}

run "classes_6" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], memory_mib = 3000 }]
  }
  expect_failures = [var.classes]
}

run "classes_7" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], image_arn = "arn:aws:lambda:eu-west-1:123456789012:microvm-image/a" }]
  }
  expect_failures = [var.classes]
}

run "classes_8" {
  command = plan

  variables {
    classes = [{ name = "a", labels = ["a"], max_duration = "20" }]
  }
  expect_failures = [var.classes]
}

run "required_labels" {
  command = plan

  variables {
    required_labels = ["gpu"]
  }
  expect_failures = [var.required_labels]
}

run "runner_memory_mib" {
  command = plan

  variables {
    runner_memory_mib = 3000
  }
  expect_failures = [var.runner_memory_mib]
}

run "max_duration_seconds" {
  command = plan

  variables {
    max_duration_seconds = 30000
  }
  expect_failures = [var.max_duration_seconds]
}

run "image_version" {
  command = plan

  variables {
    image_version = "newest"
  }
  expect_failures = [var.image_version]
}

run "settings" {
  command = plan

  variables {
    settings = "reaper"
  }
  expect_failures = [var.settings]
}

run "settings_2" {
  command = plan

  variables {
    settings = { queue = "redis://localhost" }
  }
  expect_failures = [var.settings]
}

run "artifact" {
  command = plan

  variables {
    artifact = "image.tar"
  }
  expect_failures = [var.artifact]
}

run "runner" {
  command = plan

  variables {
    runner = { sha256 = "abc" }
  }
  expect_failures = [var.runner]
}

run "base_image_version" {
  command = plan

  variables {
    base_image_version = "newest"
  }
  expect_failures = [var.base_image_version]
}

run "additional_os_capabilities" {
  command = plan

  variables {
    additional_os_capabilities = ["SYS_ADMIN"]
  }
  expect_failures = [var.additional_os_capabilities]
}

run "refresh" {
  command = plan

  variables {
    refresh = { older_than = 30 }
  }
  expect_failures = [var.refresh]
}

run "refresh_2" {
  command = plan

  variables {
    refresh = { schedule = "daily" }
  }
  expect_failures = [var.refresh]
}

run "artifacts_bucket_name" {
  command = plan

  variables {
    artifacts_bucket_name = "Bucket"
  }
  expect_failures = [var.artifacts_bucket_name]
}

run "container_image" {
  command = plan

  variables {
    container_image = "mayfly"
  }
  expect_failures = [var.container_image]
}

run "cluster_arn" {
  command = plan

  variables {
    cluster_arn = "mayfly"
  }
  expect_failures = [var.cluster_arn]
}

run "desired_count" {
  command = plan

  variables {
    desired_count = { worker = -1 }
  }
  expect_failures = [var.desired_count]
}

run "task_size" {
  command = plan

  variables {
    task_size = { worker = { cpu = 300, memory = 512 } }
  }
  expect_failures = [var.task_size]
}

run "autoscaling" {
  command = plan

  variables {
    autoscaling = { worker_max = 1 }
  }
  expect_failures = [var.autoscaling]
}

run "autoscaling_2" {
  command = plan

  variables {
    autoscaling = { ingress_cpu_percent = 100 }
  }
  expect_failures = [var.autoscaling]
}

run "log_retention_days" {
  command = plan

  variables {
    log_retention_days = 10
  }
  expect_failures = [var.log_retention_days]
}

run "log_level" {
  command = plan

  variables {
    log_level = "trace"
  }
  expect_failures = [var.log_level]
}

run "vpc_id" {
  command = plan

  variables {
    subnet_ids = ["subnet-1", "subnet-2"]
  }
  expect_failures = [var.vpc_id]
}

run "subnet_ids" {
  command = plan

  variables {
    vpc_id     = "vpc-1"
    subnet_ids = ["subnet-1"]
  }
  expect_failures = [var.subnet_ids]
}

run "vpc_cidr" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0"
  }
  expect_failures = [var.vpc_cidr]
}

run "entry" {
  command = plan

  variables {
    entry = "function_url"
  }
  expect_failures = [var.entry]
}

run "alb" {
  command = plan

  variables {
    entry = "alb"
  }
  expect_failures = [var.alb]
}

run "ledger" {
  command = plan

  variables {
    ledger = "memcached"
  }
  expect_failures = [var.ledger]
}

run "alarm_topic_arn" {
  command = plan

  variables {
    alarm_topic_arn = "oncall"
  }
  expect_failures = [var.alarm_topic_arn]
}
