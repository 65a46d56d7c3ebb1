terraform {
  required_version = ">= 1.11" # write-only arguments

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
    # hashicorp/aws has aws_lambdamicrovms_image since 6.61, but without hooks, logging and resources, and an image without the
    # run hook refuses every job (README.md).
    awscc = {
      source  = "hashicorp/awscc"
      version = ">= 1.90"
    }
  }
}
