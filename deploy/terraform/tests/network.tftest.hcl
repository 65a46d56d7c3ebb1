# A VPC of yours, a load balancer, no entry, ElastiCache, and the App's key as a parameter.
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

run "existing_vpc" {
  command = plan

  variables {
    vpc_id           = "vpc-1"
    subnet_ids       = ["subnet-1", "subnet-2"]
    assign_public_ip = false
  }

  assert {
    condition     = length(aws_vpc.this) == 0 && length(aws_subnet.public) == 0 && length(aws_vpc_endpoint.gateway) == 0
    error_message = "no network is made"
  }
  assert {
    condition     = alltrue([for service in merge(aws_ecs_service.fixed, aws_ecs_service.scaled) : !service.network_configuration[0].assign_public_ip && toset(service.network_configuration[0].subnets) == toset(["subnet-1", "subnet-2"])])
    error_message = "tasks are in the given subnets, without public addresses"
  }
}

run "alb" {
  command = plan

  variables {
    entry = "alb"
    alb   = { certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1", domain_name = "mayfly.example.com", zone_id = "Z1", allowed_cidr_blocks = ["192.30.252.0/22", "185.199.108.0/22"] }
  }

  assert {
    condition     = length(aws_lb.this) == 1 && length(aws_apigatewayv2_api.webhook) == 0 && length(aws_service_discovery_service.ingress) == 0 && length(aws_route53_record.webhook) == 1
    error_message = "a load balancer instead of API Gateway"
  }
  assert {
    condition     = output.webhook_payload_url == "https://mayfly.example.com/webhook"
    error_message = output.webhook_payload_url
  }
  assert {
    condition     = aws_lb_target_group.ingress[0].health_check[0].path == "/healthz" && aws_lb_listener.https[0].default_action[0].fixed_response[0].status_code == "404"
    error_message = "health by /healthz; other paths end at the load balancer"
  }
  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.entry)) == toset(["192.30.252.0/22", "185.199.108.0/22"])
    error_message = "GitHub's addresses alone"
  }
  assert {
    condition     = local.entry_counts.namespace == "AWS/ApplicationELB" && toset(values(local.entry_counts.metrics)) == toset(["RequestCount", "HTTPCode_ELB_5XX_Count", "HTTPCode_Target_5XX_Count"])
    error_message = "5xx by the load balancer's own metrics"
  }
}

run "redis" {
  command = plan

  variables {
    ledger = "redis"
  }

  assert {
    condition     = length(aws_elasticache_replication_group.redis) == 1 && length(aws_dynamodb_table.ledger) == 0 && length(aws_sqs_queue.this) == 4
    error_message = "the ledger is a cache; the queue stays SQS"
  }
  assert {
    condition     = aws_elasticache_replication_group.redis[0].engine == "valkey" && aws_elasticache_replication_group.redis[0].transit_encryption_enabled && aws_elasticache_replication_group.redis[0].multi_az_enabled
    error_message = "Valkey, two zones, TLS"
  }
  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.redis)) == toset(["worker", "reaper"])
    error_message = "the ingress has no business with the ledger"
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.task["worker"].policy, "dynamodb:")
    error_message = "no permission for a table that is not there"
  }
}

run "image_of_yours" {
  command = plan

  variables {
    classes = [{ name = "arm", labels = ["self-hosted", "arm64"], image_arn = "arn:aws:lambda:eu-west-1:123456789012:microvm-image:arm" }]
  }

  assert {
    condition     = length(module.image) == 0 && length(aws_s3_bucket.artifacts) == 0 && length(aws_iam_role.build) == 0 && length(aws_scheduler_schedule.refresh) == 0
    error_message = "no image, no bucket, no build role, no renewal"
  }
}

run "no_entry" {
  command = plan

  variables {
    entry         = "none"
    pull_interval = "5s"
  }

  assert {
    condition = (
      length(aws_lb.this) == 0 && length(aws_apigatewayv2_api.webhook) == 0 && length(aws_apigatewayv2_vpc_link.this) == 0 && length(aws_service_discovery_service.ingress) == 0
      && length(aws_security_group.entry) == 0 && length(aws_vpc_security_group_ingress_rule.ingress) == 0 && length(aws_vpc_security_group_ingress_rule.entry) == 0
      && length(aws_cloudwatch_metric_alarm.webhook_5xx) == 0 && length(aws_cloudwatch_log_group.entry) == 0
    )
    error_message = "nothing that leads inside, and no group that accepts a connection"
  }
  assert {
    condition     = keys(merge(aws_ecs_service.fixed, aws_ecs_service.scaled)) == ["reaper", "worker"] && toset(keys(aws_iam_role.task)) == toset(["reaper", "worker"])
    error_message = "no ingress, and no role of one"
  }
  assert {
    condition     = length(aws_ssm_parameter.webhook_secret) == 0 && output.webhook_payload_url == null && output.webhook_secret_param_name == null && output.webhook_secret_param_arn == null
    error_message = "no webhook"
  }
  assert {
    condition     = jsondecode(output.config).github.pull.interval == "5s" && !can(jsondecode(output.config).github.webhook_secrets) && !can(jsondecode(output.config).ingress)
    error_message = output.config
  }
  assert {
    condition     = length(aws_cloudwatch_metric_alarm.pull) == 1 && aws_cloudwatch_metric_alarm.pull[0].treat_missing_data == "ignore" && keys(aws_cloudwatch_log_metric_filter.pull) == ["pull_failed", "pull_resumed"]
    error_message = "an alarm from when pulling fails until it goes on"
  }
}

run "pull_beside_an_entry" {
  command = plan

  variables {
    pull_interval = "30s"
  }

  assert {
    condition     = jsondecode(output.config).github.pull.interval == "30s" && length(jsondecode(output.config).github.webhook_secrets) == 1 && length(aws_apigatewayv2_api.webhook) == 1 && length(aws_cloudwatch_metric_alarm.pull) == 1
    error_message = "both ways"
  }
}
