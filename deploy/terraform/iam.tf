# Each program's task role, from the policy that a test proves to be the least (deploy/aws/policies); the role by which ECS starts
# tasks; and what mayflyctl needs on an operator's machine.

locals {
  policies = "${path.module}/../aws/policies"

  # The places that the policies leave open. Of the image's place see below.
  places = {
    "arn:aws:"   = "arn:${local.partition}:"
    "REGION"     = local.region
    "ACCOUNT"    = local.account
    "DEPLOYMENT" = var.name_prefix
  }

  # Statements that are not needed here, and those whose resource is another one here.
  unneeded = concat(
    var.ledger == "redis" ? ["LedgerOpen", "LedgerRead", "LedgerWrite", "CheckLedger", "LookAtLedger", "ChangeLedger"] : [],
    var.app_key_kms_arn == null ? ["AppKey"] : [],
  )
  connectors = distinct(concat(
    [for pair in setproduct(local.vm_regions, ["INTERNET_EGRESS", "NO_INGRESS"]) : "arn:${local.partition}:lambda:${pair[0]}:aws:network-connector:aws-network-connector:${pair[1]}"],
    flatten([for class in values(local.classes) : class.egress_network_connectors]),
  ))
  resources_of = {
    AppKey        = [var.app_key_kms_arn]
    WebhookSecret = [for name in local.webhook_secret_parameters : "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${name}"]
    VmRun         = local.vm_images
    VmEnd         = local.vm_images
    VmLook        = local.vm_images
    CheckImage    = local.vm_images
    ImageStatus   = local.vm_images
    VmNetwork     = local.connectors

    # Of the task that renews images: those that are made here.
    Image        = [for name in keys(local.made_images) : local.image_arns[name]]
    Trial        = [for name in keys(local.made_images) : local.image_arns[name]]
    TrialNetwork = distinct(concat(local.connectors, var.build_egress_network_connector == null ? [] : [var.build_egress_network_connector]))
    ArchiveRead  = local.archive_arns
    ArchiveWrite = ["arn:${local.partition}:s3:::${local.artifacts_bucket}/mayfly/*"]
    BuildRole    = [local.role_arns["build"]]
  }

  conditions_of = { for sid in length(local.vm_regions) > 1 ? ["VmList"] : [] : sid => { StringEquals = { "aws:RequestedRegion" = local.vm_regions } } }

  read_policies = { for name in ["ingress", "worker", "reaper", "ctl", "console", "publish"] : name => jsondecode(
    replace(replace(replace(replace(file("${local.policies}/${name}.json"), "arn:aws:", local.places["arn:aws:"]), "REGION", local.region), "ACCOUNT", local.account), "DEPLOYMENT", var.name_prefix)
  ).Statement }

  # A statement's optional Condition makes its type differ, so each is kept as JSON until the policy is put together.
  statements = { for name, statements in local.read_policies : name => [
    for statement in statements : jsonencode(merge(statement, { for key, value in { Resource = lookup(local.resources_of, statement.Sid, null), Condition = lookup(local.conditions_of, statement.Sid, null) } : key => value if value != null }))
    if !contains(local.unneeded, statement.Sid)
  ] }

  app_key_statement = var.app_key_kms_arn != null ? [] : [jsonencode({
    Sid      = "AppKeyParameter", Effect = "Allow", Action = ["ssm:GetParameter"]
    Resource = "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${local.app_key_parameter}"
  })]
  vm_roles = distinct(concat(var.vm_logs ? [local.role_arns["vm"]] : [], [for class in values(local.classes) : class.execution_role_arn if class.execution_role_arn != null]))
  vm_role_statement = length(local.vm_roles) == 0 ? [] : [jsonencode({
    Sid       = "VmRole", Effect = "Allow", Action = ["iam:PassRole"], Resource = local.vm_roles
    Condition = { StringEquals = { "iam:PassedToService" = "lambda.amazonaws.com" } }
  })]
  target_role_statement = length(local.target_roles) == 0 ? [] : [jsonencode({
    Sid = "TargetRoles", Effect = "Allow", Action = ["sts:AssumeRole"], Resource = local.target_roles
  })]
  # Queues (senders make data keys), parameters, and VMs are encrypted with it.
  kms_statement = var.kms_key_arn == null ? [] : [jsonencode({
    Sid = "OwnKey", Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.kms_key_arn]
  })]

  # The end of what a VM wrote that failed is for the timeline of its job: whichever of them ends it reads it, one stream a VM.
  vm_log_statement = !var.vm_logs ? [] : [jsonencode({
    Sid      = "VmLogs", Effect = "Allow", Action = ["logs:GetLogEvents"]
    Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}/vm:log-stream:*"
  })]

  policy_of = { for name, further in {
    ingress = local.kms_statement
    worker  = concat(local.app_key_statement, local.vm_role_statement, local.vm_log_statement, local.target_role_statement, local.kms_statement)
    reaper  = concat(local.app_key_statement, local.vm_log_statement, local.target_role_statement, local.kms_statement)
    ctl     = concat(local.kms_statement, local.console_operator_statements)
    console = concat(local.kms_statement, [local.console_session_statement])
    publish = local.kms_statement
  } : name => "{\"Version\":\"2012-10-17\",\"Statement\":[${join(",", concat(local.statements[name], further))}]}" }

  trusts = { for service in ["ecs-tasks", "lambda", "scheduler"] : service => jsonencode({
    Version = "2012-10-17"
    Statement = [merge(
      { Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "${service}.amazonaws.com" } },
      { Condition = { StringEquals = { "aws:SourceAccount" = local.account } } },
    )]
  }) }
}

resource "aws_iam_role" "task" {
  for_each = local.programs

  name                 = "${var.name_prefix}-${each.key}"
  description          = "mayfly-${each.key} of ${var.name_prefix}"
  assume_role_policy   = local.trusts["ecs-tasks"]
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "task" {
  for_each = local.programs

  name   = "mayfly-${each.key}"
  role   = aws_iam_role.task[each.key].id
  policy = local.policy_of[each.key]
}

resource "aws_iam_policy" "operator" {
  name        = "${var.name_prefix}-operator"
  description = "mayflyctl, for the deployment ${var.name_prefix}"
  policy      = local.policy_of["ctl"]
  tags        = var.tags
}

# ECS itself: pulls the image, writes the logs. A given image may be in any repository of ECR.
resource "aws_iam_role" "execution" {
  name                 = "${var.name_prefix}-execution"
  description          = "ECS starts tasks of Mayfly ${var.name_prefix}"
  assume_role_policy   = local.trusts["ecs-tasks"]
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name = "start-tasks"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Sid = "RegistryToken", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = "*" },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = local.builds_image ? aws_ecr_repository.this[0].arn : "arn:${local.partition}:ecr:*:*:repository/*"
      },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}/*"
      },
    ]
  })
}

# --- what Lambda builds with, and the VMs' own role ---

resource "aws_iam_role" "build" {
  count = local.makes_images ? 1 : 0

  name                 = "${var.name_prefix}-build"
  description          = "Lambda builds images of Mayfly ${var.name_prefix}"
  assume_role_policy   = local.trusts["lambda"]
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "build" {
  count = local.makes_images ? 1 : 0

  name = "build"
  role = aws_iam_role.build[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      { Sid = "Archive", Effect = "Allow", Action = ["s3:GetObject"], Resource = local.archive_arns },
      {
        Sid      = "Logs"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group}/image:*"
      },
    ], var.kms_key_arn == null ? [] : [{ Sid = "OwnKey", Effect = "Allow", Action = ["kms:Decrypt"], Resource = var.kms_key_arn }])
  })
}

resource "aws_iam_role" "vm" {
  count = var.vm_logs ? 1 : 0

  name                 = "${var.name_prefix}-vm"
  description          = "VMs of Mayfly ${var.name_prefix} write their output"
  assume_role_policy   = local.trusts["lambda"]
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
}

resource "aws_iam_role_policy" "vm" {
  count = var.vm_logs ? 1 : 0

  name = "logs"
  role = aws_iam_role.vm[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "Logs"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.vm[0].arn}:*"
    }]
  })
}
