mock_provider "aws" {}

variables {
  trusted_role_arns = ["arn:aws:iam::123456789012:role/mayfly-worker", "arn:aws:iam::123456789012:role/mayfly-reaper"]
  image_arns        = ["arn:aws:lambda:us-east-1:210987654321:microvm-image:a", "arn:aws:lambda:us-west-2:210987654321:microvm-image:b"]
}

run "role" {
  command = plan

  assert {
    condition     = jsonencode(jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Principal.AWS) == jsonencode(var.trusted_role_arns) && aws_iam_role.this.name == "mayfly-target"
    error_message = "it trusts the given roles alone: ${aws_iam_role.this.assume_role_policy}"
  }
}

run "values_that_cannot_work" {
  command = plan

  variables {
    trusted_role_arns = ["mayfly-worker"]
    image_arns        = []
  }

  expect_failures = [var.trusted_role_arns, var.image_arns]
}
