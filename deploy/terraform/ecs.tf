# The cluster, and a service for each program: Fargate on Graviton, no public port, a read-only root, no capability.
# No spool: Fargate has no durable disk. Deliveries that are refused while SQS is away come back from GitHub's delivery log.

locals {
  cluster_arn  = var.cluster_arn != null ? var.cluster_arn : aws_ecs_cluster.this[0].arn
  cluster_name = var.cluster_arn != null ? element(split("/", var.cluster_arn), 1) : var.name_prefix # a plan knows it

  # What all tasks have in common.
  container = {
    image                  = local.container_image
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = 60 # above drain_timeout
    environment            = [{ name = "MAYFLY_CONFIG", value = local.config_json }]
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
  }
  log_options = { for program in local.programs : program => {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.program[program].name
      awslogs-region        = local.region
      awslogs-stream-prefix = "task"
      mode                  = "non-blocking"
      max-buffer-size       = "4m"
    }
  } }
}

resource "aws_ecs_cluster" "this" {
  count = var.cluster_arn == null ? 1 : 0

  name = var.name_prefix
  tags = var.tags
}

resource "aws_ecs_task_definition" "program" {
  for_each = local.programs

  family                   = "${var.name_prefix}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.task_size[each.key].cpu
  memory                   = var.task_size[each.key].memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task[each.key].arn
  tags                     = var.tags

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }
  container_definitions = jsonencode([merge(local.container, {
    name    = each.key
    command = ["mayfly-${each.key}"]
    # Red only for a program that cannot go on: an outage replaces no task.
    healthCheck      = { command = ["CMD", "mayfly-${each.key}", "--health"], interval = 10, timeout = 5, retries = 3, startPeriod = 30 }
    logConfiguration = local.log_options[each.key]
    portMappings     = each.key == "ingress" ? [{ containerPort = local.webhook_port, hostPort = local.webhook_port, protocol = "tcp" }] : []
    mountPoints      = []
    systemControls   = []
    volumesFrom      = []
  })])

  # Not before the image is there.
  depends_on = [terraform_data.container_image]
}

# A resource cannot ignore a change on a condition, so there are two: what is not scaled has as many tasks as desired_count says; the
# number of what is scaled is Application Auto Scaling's. Their names differ, so that one runs before the other is gone where
# `autoscaling` changes. Both come after what they use, and go before it: `destroy` drains the programs first.

resource "aws_ecs_service" "fixed" {
  #checkov:skip=CKV_AWS_333:assign_public_ip is a variable: without a NAT gateway a task reaches GitHub by an address of its own, and its security group lets nobody in but the entry
  for_each = setsubtract(local.programs, keys(local.scales))

  name                               = "${var.name_prefix}-${each.key}"
  cluster                            = local.cluster_arn
  task_definition                    = aws_ecs_task_definition.program[each.key].arn
  desired_count                      = var.desired_count[each.key]
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  wait_for_steady_state              = var.wait_for_steady_state
  tags                               = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = local.subnet_ids
    security_groups  = [aws_security_group.task[each.key].id]
    assign_public_ip = var.assign_public_ip
  }
  dynamic "service_registries" {
    for_each = each.key == "ingress" ? aws_service_discovery_service.ingress[*].arn : []
    content {
      registry_arn   = service_registries.value
      container_name = "ingress"
      container_port = local.webhook_port
    }
  }
  dynamic "load_balancer" {
    for_each = each.key == "ingress" ? aws_lb_target_group.ingress[*].arn : []
    content {
      target_group_arn = load_balancer.value
      container_name   = "ingress"
      container_port   = local.webhook_port
    }
  }

  depends_on = [
    aws_iam_role_policy.task, aws_iam_role_policy.execution, aws_ssm_parameter.webhook_secret, aws_ssm_parameter.app_key,
    aws_sqs_queue.this, aws_dynamodb_table.ledger, module.image, aws_lb_listener_rule.webhook,
  ]
}

resource "aws_ecs_service" "scaled" {
  #checkov:skip=CKV_AWS_333:as above
  for_each = local.scales

  name                               = "${var.name_prefix}-${each.key}-scaled"
  cluster                            = local.cluster_arn
  task_definition                    = aws_ecs_task_definition.program[each.key].arn
  desired_count                      = var.desired_count[each.key]
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  wait_for_steady_state              = var.wait_for_steady_state
  tags                               = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = local.subnet_ids
    security_groups  = [aws_security_group.task[each.key].id]
    assign_public_ip = var.assign_public_ip
  }
  dynamic "service_registries" {
    for_each = each.key == "ingress" ? aws_service_discovery_service.ingress[*].arn : []
    content {
      registry_arn   = service_registries.value
      container_name = "ingress"
      container_port = local.webhook_port
    }
  }
  dynamic "load_balancer" {
    for_each = each.key == "ingress" ? aws_lb_target_group.ingress[*].arn : []
    content {
      target_group_arn = load_balancer.value
      container_name   = "ingress"
      container_port   = local.webhook_port
    }
  }

  depends_on = [
    aws_iam_role_policy.task, aws_iam_role_policy.execution, aws_ssm_parameter.webhook_secret, aws_ssm_parameter.app_key,
    aws_sqs_queue.this, aws_dynamodb_table.ledger, module.image, aws_lb_listener_rule.webhook,
  ]

  lifecycle {
    ignore_changes = [desired_count]
  }
}
