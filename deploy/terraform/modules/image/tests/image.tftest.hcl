mock_provider "awscc" {}

variables {
  name               = "mayfly-arm"
  base_image_arn     = "arn:aws:lambda:eu-west-1:aws:microvm-image:al2023-1"
  base_image_version = "8"
  artifact_uri       = "s3://artifacts/mayfly.zip"
  build_role_arn     = "arn:aws:iam::123456789012:role/build"
}

run "defaults" {
  command = plan

  assert {
    condition     = awscc_lambda_microvm_image.this.hooks.microvm_hooks.run == "ENABLED" && awscc_lambda_microvm_image.this.hooks.port == 9000
    error_message = "without the run hook no launch is taken"
  }
  assert {
    condition     = awscc_lambda_microvm_image.this.hooks.microvm_image_hooks.ready == "ENABLED"
    error_message = "the service wants the ready hook beside the others"
  }
  assert {
    condition     = one(awscc_lambda_microvm_image.this.egress_network_connectors) == "arn:aws:lambda:eu-west-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"
    error_message = "the build reaches the internet"
  }
  assert {
    condition     = one(awscc_lambda_microvm_image.this.resources).minimum_memory_in_mi_b == 2048 && one(awscc_lambda_microvm_image.this.cpu_configurations).architecture == "ARM_64"
    error_message = "2 GiB on arm64"
  }
  assert {
    condition     = awscc_lambda_microvm_image.this.logging.disabled && one(awscc_lambda_microvm_image.this.additional_os_capabilities) == "ALL"
    error_message = "no log, all capabilities"
  }
}

run "everything_set" {
  command = plan

  variables {
    build_role_arn             = "arn:aws-us-gov:iam::123456789012:role/build"
    base_image_arn             = "arn:aws-us-gov:lambda:us-gov-west-1:aws:microvm-image:al2023-1"
    memory_mib                 = 8192
    additional_os_capabilities = []
    egress_network_connectors  = ["arn:aws-us-gov:lambda:us-gov-west-1:123456789012:network-connector:builds"]
    environment                = { LANG = "C.UTF-8" }
    log_group                  = "/mayfly/images"
    hook_port                  = 9100
    hook_seconds               = 45
    ready_seconds              = 60
    validate_seconds           = 3600
    tags                       = { team = "ci" }
  }

  assert {
    condition     = awscc_lambda_microvm_image.this.logging.cloudwatch.log_group == "/mayfly/images" && !awscc_lambda_microvm_image.this.logging.disabled
    error_message = "the build is logged"
  }
  assert {
    condition     = one(awscc_lambda_microvm_image.this.egress_network_connectors) == one(var.egress_network_connectors) && length(awscc_lambda_microvm_image.this.additional_os_capabilities) == 0 && one(awscc_lambda_microvm_image.this.environment_variables).value == "C.UTF-8"
    error_message = "what was given is passed on"
  }
  assert {
    condition     = awscc_lambda_microvm_image.this.hooks.microvm_hooks.terminate_timeout_in_seconds == 45 && awscc_lambda_microvm_image.this.hooks.microvm_image_hooks.validate_timeout_in_seconds == 3600
    error_message = "the times of the hooks"
  }
}

run "another_partition" {
  command = plan

  variables {
    base_image_arn = "arn:aws-cn:lambda:cn-north-1:aws:microvm-image:al2023-1"
    build_role_arn = "arn:aws-cn:iam::123456789012:role/build"
  }

  assert {
    condition     = one(awscc_lambda_microvm_image.this.egress_network_connectors) == "arn:aws-cn:lambda:cn-north-1:aws:network-connector:aws-network-connector:INTERNET_EGRESS"
    error_message = "the connector is of the partition and region of the base image"
  }
}

run "values_that_the_service_refuses" {
  command = plan

  variables {
    name                       = "mayfly arm"
    artifact_uri               = "https://artifacts/mayfly.zip"
    base_image_arn             = "al2023-1"
    base_image_version         = ""
    build_role_arn             = "arn:aws:iam::123456789012:user/build"
    architecture               = "ARM_64"
    memory_mib                 = 3000
    additional_os_capabilities = ["SYS_ADMIN"]
    egress_network_connectors  = ["INTERNET_EGRESS"]
    environment                = { "A B" = "1" }
    log_group                  = "arn:aws:logs:eu-west-1:123456789012:log-group:x"
    hook_port                  = 0
    hook_seconds               = 61
    ready_seconds              = 1.5
    validate_seconds           = 3601
  }

  expect_failures = [
    var.name, var.artifact_uri, var.base_image_arn, var.base_image_version, var.build_role_arn, var.architecture, var.memory_mib, var.additional_os_capabilities,
    var.egress_network_connectors, var.environment, var.log_group, var.hook_port, var.hook_seconds, var.ready_seconds, var.validate_seconds,
  ]
}
