# A task that builds images anew that are old, since GitHub refuses a runner 30 days after the next release, or whose archive is
# another one by now. It runs the programs' own image; mayfly-publish-image takes the images from MAYFLY_CONFIG and all their
# properties from the version in use.

locals {
  refreshes = var.refresh.enabled && local.makes_images
  refresh_command = concat(
    ["mayfly-publish-image", "refresh", "--if-older-than", "${var.refresh.older_than}d", "--keep-versions", tostring(var.refresh.keep_versions)],
    ["--bucket", local.artifacts_bucket],
    var.base_image_version == null ? [] : ["--base-version", var.base_image_version],
    # Images that are not made here are their owner's.
    flatten([for name, uri in local.artifact_uris : ["--class", "${name}${length(local.classes[name].targets) > 0 ? "@home" : ""}=${uri}"]]),
  )
}

resource "aws_cloudwatch_log_group" "refresh" {
  #checkov:skip=CKV_AWS_338:as in logs.tf
  count = local.refreshes ? 1 : 0

  name              = "${local.log_group}/refresh"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "refresh" {
  count = local.refreshes ? 1 : 0

  name                 = "${var.name_prefix}-refresh"
  description          = "Renews images of Mayfly ${var.name_prefix}"
  assume_role_policy   = local.trusts["ecs-tasks"]
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "refresh" {
  count = local.refreshes ? 1 : 0

  name   = "refresh"
  role   = aws_iam_role.refresh[0].id
  policy = local.policy_of["publish"]
}

resource "aws_ecs_task_definition" "refresh" {
  count = local.refreshes ? 1 : 0

  family                   = "${var.name_prefix}-refresh"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.refresh[0].arn
  tags                     = var.tags

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }
  container_definitions = jsonencode([merge(local.container, {
    name             = "refresh"
    command          = local.refresh_command
    logConfiguration = merge(local.log_options["reaper"], { options = merge(local.log_options["reaper"].options, { awslogs-group = aws_cloudwatch_log_group.refresh[0].name }) })
    portMappings     = []
    mountPoints      = []
    systemControls   = []
    volumesFrom      = []
  })])

  depends_on = [terraform_data.container_image]
}

resource "aws_iam_role" "scheduler" {
  count = local.refreshes ? 1 : 0

  name                 = "${var.name_prefix}-scheduler"
  description          = "Starts the task that renews images of Mayfly ${var.name_prefix}"
  assume_role_policy   = local.trusts["scheduler"]
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "scheduler" {
  count = local.refreshes ? 1 : 0

  name = "run-task"
  role = aws_iam_role.scheduler[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "RunTask"
        Effect    = "Allow"
        Action    = ["ecs:RunTask"]
        Resource  = "${aws_ecs_task_definition.refresh[0].arn_without_revision}:*"
        Condition = { ArnEquals = { "ecs:cluster" = local.cluster_arn } }
      },
      {
        Sid       = "TagTask"
        Effect    = "Allow"
        Action    = ["ecs:TagResource"]
        Resource  = "arn:${local.partition}:ecs:${local.region}:${local.account}:task/${local.cluster_name}/*"
        Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
      },
      {
        Sid       = "PassRoles"
        Effect    = "Allow"
        Action    = ["iam:PassRole"]
        Resource  = [aws_iam_role.refresh[0].arn, aws_iam_role.execution.arn]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
    ]
  })
}

resource "aws_scheduler_schedule" "refresh" {
  #checkov:skip=CKV_AWS_297:the schedule holds no secret
  count = local.refreshes ? 1 : 0

  name                         = "${var.name_prefix}-refresh"
  description                  = "Renews images of Mayfly ${var.name_prefix} that are older than ${var.refresh.older_than} days"
  schedule_expression          = var.refresh.schedule
  schedule_expression_timezone = "UTC"

  flexible_time_window {
    mode                      = "FLEXIBLE"
    maximum_window_in_minutes = 60
  }
  target {
    arn      = local.cluster_arn
    role_arn = aws_iam_role.scheduler[0].arn

    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.refresh[0].arn_without_revision
      launch_type         = "FARGATE"
      task_count          = 1
      propagate_tags      = "TASK_DEFINITION"

      network_configuration {
        subnets          = local.subnet_ids
        security_groups  = [aws_security_group.task["reaper"].id]
        assign_public_ip = var.assign_public_ip
      }
    }
    retry_policy {
      maximum_retry_attempts       = 3
      maximum_event_age_in_seconds = 3600
    }
  }
}
