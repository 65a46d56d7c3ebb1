data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name # `region` is of version 6 only
  has_entry = var.entry != "none"
  programs  = toset(concat(local.has_entry ? ["ingress"] : [], ["worker", "reaper"]))

  # The inputs of the mkdev module make one class.
  single_class = {
    name                       = "default"
    labels                     = var.runner_labels
    required_labels            = var.required_labels
    max_vms                    = null
    max_duration               = "${var.max_duration_seconds}s"
    idle_timeout               = "2m"
    scope                      = null
    runner_group               = null
    launch_rate                = null
    min_idle                   = null
    memory_mib                 = var.runner_memory_mib
    artifact                   = null
    image_arn                  = null
    image_version              = var.image_version
    additional_os_capabilities = null
    environment                = {}
    egress_network_connectors  = []
    execution_role_arn         = null
    targets                    = []
  }
  classes = { for class in coalesce(var.classes, [local.single_class]) : class.name => class }

  # The images that are made here. The ARN is written out, so that a plan knows what the tasks' definitions are.
  made_images = { for name, class in local.classes : name => class if class.image_arn == null }
  image_arns = {
    for name, class in local.classes :
    name => coalesce(class.image_arn, "arn:${local.partition}:lambda:${local.region}:${local.account}:microvm-image:${var.name_prefix}-${name}")
  }

  # Other accounts and regions. Where a target names a role, that is allowed what is done there; else the programs' own roles are.
  targets      = flatten([for class in values(local.classes) : class.targets])
  target_roles = distinct([for target in local.targets : target.role_arn if target.role_arn != null])
  vm_images    = concat(values(local.image_arns), [for target in local.targets : target.image_arn if target.role_arn == null])
  vm_regions   = distinct(concat([local.region], [for target in local.targets : split(":", target.image_arn)[3] if target.role_arn == null]))

  role_arns = { for name in ["build", "vm"] : name => "arn:${local.partition}:iam::${local.account}:role/${var.name_prefix}-${name}" }
}
