# A MicroVM image for the runners of a class.

locals {
  # Partition and region of the image: arn:PARTITION:lambda:REGION:aws:….
  place     = split(":", var.base_image_arn)
  internet  = "arn:${local.place[1]}:lambda:${local.place[3]}:aws:network-connector:aws-network-connector:INTERNET_EGRESS"
  processor = { arm64 = "ARM_64", x86_64 = "X86_64" }
}

# What is configured here is never read back: to CloudFormation these properties are write-only.
resource "awscc_lambda_microvm_image" "this" {
  name               = var.name
  description        = var.description
  base_image_arn     = var.base_image_arn
  base_image_version = var.base_image_version
  build_role_arn     = var.build_role_arn

  code_artifact              = { uri = var.artifact_uri }
  cpu_configurations         = [{ architecture = local.processor[var.architecture] }]
  resources                  = [{ minimum_memory_in_mi_b = var.memory_mib }]
  additional_os_capabilities = var.additional_os_capabilities
  egress_network_connectors  = length(var.egress_network_connectors) == 0 ? [local.internet] : var.egress_network_connectors
  environment_variables      = [for key, value in var.environment : { key = key, value = value }]
  logging                    = { disabled = var.log_group == null, cloudwatch = var.log_group == null ? null : { log_group = var.log_group } }
  tags                       = [for key, value in var.tags : { key = key, value = value }]

  # Without the run hook the service refuses the payload of each launch.
  hooks = {
    port = var.hook_port

    microvm_hooks = {
      run                          = "ENABLED"
      run_timeout_in_seconds       = var.hook_seconds
      resume                       = "ENABLED"
      resume_timeout_in_seconds    = var.hook_seconds
      suspend                      = "ENABLED"
      suspend_timeout_in_seconds   = var.hook_seconds
      terminate                    = "ENABLED"
      terminate_timeout_in_seconds = var.hook_seconds
    }

    microvm_image_hooks = {
      ready                       = "ENABLED"
      ready_timeout_in_seconds    = var.ready_seconds
      validate                    = "ENABLED"
      validate_timeout_in_seconds = var.validate_seconds
    }
  }

  lifecycle {
    # The artifact of the newest version is mayfly-publish-image's.
    ignore_changes = [code_artifact]
  }
}
