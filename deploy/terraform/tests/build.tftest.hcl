# What decides that the container image is built anew.
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

run "this_month" {
  command = plan

  assert {
    condition     = local.container_tag == substr(sha256(join("\n", concat([for file in local.container_sources : filesha256("${local.project}/${file}")], [jsonencode([null, formatdate("YYYY-MM", plantimestamp())])]))), 0, 16)
    error_message = "of the sources, the base and the month"
  }
}

run "another_date" {
  command = plan

  variables {
    build_date = "2026-11-30"
  }

  assert {
    condition     = local.container_tag != substr(sha256(join("\n", concat([for file in local.container_sources : filesha256("${local.project}/${file}")], [jsonencode([null, formatdate("YYYY-MM", plantimestamp())])]))), 0, 16)
    error_message = "another date is another image"
  }
}

run "another_base" {
  command = plan

  variables {
    build_base_image = "registry.example.com/debian@sha256:0000000000000000000000000000000000000000000000000000000000000000"
  }

  assert {
    condition     = local.container_tag != substr(sha256(join("\n", concat([for file in local.container_sources : filesha256("${local.project}/${file}")], [jsonencode([null, formatdate("YYYY-MM", plantimestamp())])]))), 0, 16)
    error_message = "another base is another image"
  }
}
