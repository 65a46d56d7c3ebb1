# mayflyctl console as a service of one task that nothing can connect to: it listens on the loopback address of its own task, and
# ECS Exec's agent beside it forwards that port to who may start a session. So it needs no TLS, no token and no open port. Off by default.

locals {
  console_port = 9110

  # What ECS Exec's agent calls. They take no resource.
  console_session_statement = jsonencode({
    Sid      = "Sessions"
    Effect   = "Allow"
    Action   = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
    Resource = "*"
  })

  # For the operator: the address of the task, and a session that forwards a port, to tasks of this deployment's own cluster. A shared
  # cluster may have tasks of others that a session reaches, so there it is not granted here.
  console_operator_statements = !var.console || var.cluster_arn != null ? [] : [for statement in [
    { Sid = "FindConsole", Action = ["ecs:ListTasks"], Resource = "*", Condition = { ArnEquals = { "ecs:cluster" = "arn:${local.partition}:ecs:${local.region}:${local.account}:cluster/${local.cluster_name}" } } },
    { Sid = "LookAtConsole", Action = ["ecs:DescribeTasks"], Resource = "arn:${local.partition}:ecs:${local.region}:${local.account}:task/${local.cluster_name}/*", Condition = {} },
    {
      Sid = "OpenConsole", Action = ["ssm:StartSession"], Condition = {}
      Resource = [
        "arn:${local.partition}:ecs:${local.region}:${local.account}:task/${local.cluster_name}/*",
        "arn:${local.partition}:ssm:${local.region}::document/AWS-StartPortForwardingSession",
      ]
    },
    { Sid = "CloseConsole", Action = ["ssm:TerminateSession"], Resource = "arn:${local.partition}:ssm:${local.region}:${local.account}:session/$${aws:userid}-*", Condition = {} },
  ] : jsonencode(merge({ Effect = "Allow" }, { for key, value in statement : key => value if value != {} }))]
}

resource "aws_cloudwatch_log_group" "console" {
  #checkov:skip=CKV_AWS_338:as for the programs
  count = var.console ? 1 : 0

  name              = "${local.log_group}/console"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "console" {
  count = var.console ? 1 : 0

  name                 = "${var.name_prefix}-console"
  description          = "mayflyctl console of ${var.name_prefix}"
  assume_role_policy   = local.trusts["ecs-tasks"]
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "console" {
  count = var.console ? 1 : 0

  name   = "mayflyctl-console"
  role   = aws_iam_role.console[0].id
  policy = local.policy_of["console"]
}

# It lets nobody in.
resource "aws_security_group" "console" {
  #checkov:skip=CKV2_AWS_5:it is that of the service below
  count = var.console ? 1 : 0

  name        = "${var.name_prefix}-console"
  description = "mayflyctl console of ${var.name_prefix}"
  vpc_id      = local.vpc_id
  tags        = merge(var.tags, { Name = "${var.name_prefix}-console" })
}

resource "aws_vpc_security_group_egress_rule" "console" {
  count = var.console ? 1 : 0

  security_group_id = aws_security_group.console[0].id
  description       = "AWS"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  tags              = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "redis_console" {
  count = var.console && var.ledger == "redis" ? 1 : 0

  security_group_id            = aws_security_group.redis[0].id
  referenced_security_group_id = aws_security_group.console[0].id
  description                  = "console"
  ip_protocol                  = "tcp"
  from_port                    = 6379
  to_port                      = 6379
  tags                         = var.tags
}

resource "aws_ecs_task_definition" "console" {
  #checkov:skip=CKV_AWS_336:ECS Exec's agent writes into the container's root; what runs there has no rights over it
  count = var.console ? 1 : 0

  family                   = "${var.name_prefix}-console"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.console[0].arn
  tags                     = var.tags

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }
  container_definitions = jsonencode([merge(local.container, {
    name    = "console"
    command = ["mayflyctl", "console", "--listen", "127.0.0.1:${local.console_port}"]
    # Of all tasks this one alone has a root that can be written, and Fargate's own capabilities: ECS Exec's agent runs as root beside the
    # program, writes there, and which capabilities it needs is not documented. The program runs as another user and has none of them.
    readonlyRootFilesystem = false
    linuxParameters        = { initProcessEnabled = true } # reaps what the agent leaves
    logConfiguration       = merge(local.log_options["reaper"], { options = merge(local.log_options["reaper"].options, { awslogs-group = aws_cloudwatch_log_group.console[0].name }) })
    portMappings           = []
    mountPoints            = []
    systemControls         = []
    volumesFrom            = []
  })])

  depends_on = [terraform_data.container_image]
}

resource "aws_ecs_service" "console" {
  #checkov:skip=CKV_AWS_333:as for the programs
  count = var.console ? 1 : 0

  name                               = "${var.name_prefix}-console"
  cluster                            = local.cluster_arn
  task_definition                    = aws_ecs_task_definition.console[0].arn
  desired_count                      = 1
  launch_type                        = "FARGATE"
  platform_version                   = "LATEST"
  deployment_minimum_healthy_percent = 0 # never two, so that the command finds the one
  deployment_maximum_percent         = 100
  enable_ecs_managed_tags            = true
  enable_execute_command             = true
  propagate_tags                     = "SERVICE"
  wait_for_steady_state              = var.wait_for_steady_state
  tags                               = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = local.subnet_ids
    security_groups  = [aws_security_group.console[0].id]
    assign_public_ip = var.assign_public_ip
  }

  depends_on = [aws_iam_role_policy.console, aws_iam_role_policy.execution, aws_sqs_queue.this, aws_dynamodb_table.ledger]
}
