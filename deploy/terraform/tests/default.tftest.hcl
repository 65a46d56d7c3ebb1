# The module with nothing but the App and its key in KMS: what `terraform apply` makes in an empty account.

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

run "default" {
  command = plan

  assert {
    condition     = aws_ecs_service.scaled["ingress"].desired_count == 2 && aws_ecs_service.fixed["worker"].desired_count == 2 && aws_ecs_service.fixed["reaper"].desired_count == 1
    error_message = "two ingresses, two workers, one reaper"
  }
  assert {
    condition = alltrue([for program in ["ingress", "worker", "reaper"] : (
      aws_ecs_task_definition.program[program].runtime_platform[0].cpu_architecture == "ARM64" &&
      toset(aws_ecs_task_definition.program[program].requires_compatibilities) == toset(["FARGATE"])
    )])
    error_message = "Fargate on Graviton"
  }
  assert {
    condition     = alltrue([for service in merge(aws_ecs_service.fixed, aws_ecs_service.scaled) : service.deployment_circuit_breaker[0].enable && service.deployment_circuit_breaker[0].rollback])
    error_message = "a deployment that does not come up is rolled back"
  }
  assert {
    condition     = toset(keys(aws_sqs_queue.this)) == toset(["mayfly-events", "mayfly-events-dead", "mayfly-launch_default", "mayfly-launch_default-dead"])
    error_message = "two queues for each lane"
  }
  assert {
    condition     = alltrue([for queue in aws_sqs_queue.this : queue.message_retention_seconds == 1209600 && queue.sqs_managed_sse_enabled])
    error_message = "queues keep messages for 14 days, encrypted"
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].name == "mayfly" && aws_dynamodb_table.ledger[0].deletion_protection_enabled && one(aws_dynamodb_table.ledger[0].ttl).attribute_name == "expires" && one(aws_dynamodb_table.ledger[0].point_in_time_recovery).enabled
    error_message = "the ledger's table has time to live and point-in-time recovery"
  }
  assert {
    condition     = length(aws_apigatewayv2_integration.webhook) == 1 && aws_apigatewayv2_integration.webhook[0].payload_format_version == "1.0" && aws_apigatewayv2_integration.webhook[0].integration_type == "HTTP_PROXY"
    error_message = "API Gateway passes bodies unchanged"
  }
  assert {
    condition     = length(aws_lb.this) == 0 && length(aws_elasticache_replication_group.redis) == 0
    error_message = "no load balancer and no cache by default"
  }
  assert {
    condition     = length(aws_vpc.this) == 1 && length(aws_subnet.public) == 2
    error_message = "a VPC with two subnets"
  }
  assert {
    condition     = length(aws_ecr_repository.this) == 1 && length(terraform_data.container_image) == 1 && length(terraform_data.artifact) == 1
    error_message = "container image and archive are made"
  }
  assert {
    condition     = length(aws_ssm_parameter.webhook_secret) == 1 && length(aws_ssm_parameter.app_key) == 0
    error_message = "the webhook's secret is generated; the App's key is in KMS"
  }
  assert {
    condition     = keys(aws_appautoscaling_target.service) == ["ingress"] && aws_appautoscaling_target.service["ingress"].max_capacity == 6
    error_message = "the ingress is scaled, the workers are not"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.fleet["last-sweep"].treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.fleet["circuits-open"].evaluation_periods == 10
    error_message = "the last sweep's missing data is a fault; circuits for ten minutes"
  }
  assert {
    condition     = local.entry_counts.namespace == "AWS/ApiGateway" && local.entry_counts.metrics == { requests = "Count", errors0 = "5xx" }
    error_message = "5xx by the API's own metrics, as a share of the deliveries"
  }
  assert {
    condition     = jsondecode(output.config).ledger == "dynamodb://mayfly?region=eu-west-1" && jsondecode(output.config).queue == "sqs://mayfly?region=eu-west-1" && jsondecode(output.config).metrics.emf
    error_message = "configuration: ${output.config}"
  }
  assert {
    condition     = jsondecode(output.config).classes[0].lambda.image == "arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly-default"
    error_message = "the class has the image that is made"
  }
  assert {
    condition     = alltrue([for role in ["ingress", "worker", "reaper"] : !strcontains(aws_iam_role_policy.task[role].policy, "DEPLOYMENT") && !strcontains(aws_iam_role_policy.task[role].policy, "IMAGE") && !strcontains(aws_iam_role_policy.task[role].policy, "APP-KEY")])
    error_message = "no place of a policy is left open"
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.task["ingress"].policy, "kms:Sign") && strcontains(aws_iam_role_policy.task["worker"].policy, "kms:Sign") && !strcontains(aws_iam_role_policy.task["worker"].policy, "webhook-secret")
    error_message = "the ingress holds the webhook's secret alone, the worker the App's key"
  }
  assert {
    condition     = jsondecode(aws_iam_role_policy.task["worker"].policy).Statement[index(jsondecode(aws_iam_role_policy.task["worker"].policy).Statement[*].Sid, "VmRun")].Resource == ["arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly-default"]
    error_message = "the worker runs its own images alone"
  }
  assert {
    condition     = alltrue([for role in ["ingress", "worker", "reaper"] : !strcontains(aws_iam_role_policy.task[role].policy, "logs:")])
    error_message = "VMs have no log that anybody reads"
  }
  assert {
    condition     = length(aws_scheduler_schedule.refresh) == 1 && strcontains(join(" ", local.refresh_command), " --if-older-than 20d --keep-versions 5 ")
    error_message = "images are renewed"
  }
  assert {
    condition     = contains(local.refresh_command, "default=s3://mayfly-artifacts-123456789012-eu-west-1/mayfly/${local.archive_id}.zip")
    error_message = "an image is renewed when its archive is another one"
  }
  assert {
    condition = (
      jsondecode(aws_iam_role_policy.refresh[0].policy).Statement[index(jsondecode(aws_iam_role_policy.refresh[0].policy).Statement[*].Sid, "Image")].Resource == ["arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly-default"]
      && !strcontains(aws_iam_role_policy.refresh[0].policy, "BUILD-ROLE") && !strcontains(aws_iam_role_policy.refresh[0].policy, "BUCKET")
    )
    error_message = "the task that renews images has its policy, for its own images alone"
  }
}

run "one_task_each_and_none_scaled" {
  command = plan

  variables {
    desired_count = { ingress = 1, worker = 1 }
    autoscaling   = { ingress_max = 1 }
  }

  assert {
    condition     = length(aws_ecs_service.scaled) == 0 && length(aws_appautoscaling_target.service) == 0 && aws_ecs_service.fixed["ingress"].desired_count == 1 && length(aws_ecs_service.fixed["ingress"].service_registries) == 1
    error_message = "what is not scaled has the number of tasks that is asked for"
  }
}
