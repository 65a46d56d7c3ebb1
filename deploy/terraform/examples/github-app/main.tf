# The smallest fleet: one runner class, the App's key in KMS, HTTPS by API Gateway. What to do before: deploy/docs/aws.md.

terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
    awscc = {
      source  = "hashicorp/awscc"
      version = ">= 1.90"
    }
  }
}

variable "region" {
  description = "A region with Lambda MicroVMs."
  type        = string
  default     = "eu-west-1"
}

variable "app_id" {
  description = "The GitHub App's id."
  type        = string
}

variable "app_key_kms_arn" {
  description = "The KMS key with its private key, made by mayflyctl app import-key."
  type        = string
}

variable "webhook_secret_parameter" {
  description = "The parameter with its webhook's secret, as `mayflyctl app create --ssm /mayfly` writes it."
  type        = string
  default     = null
}

provider "aws" {
  region = var.region
}

# The same region: it makes the MicroVM image.
provider "awscc" {
  region = var.region
}

module "mayfly" {
  source = "../.."

  github_app               = { app_id = var.app_id }
  app_key_kms_arn          = var.app_key_kms_arn
  webhook_secret_parameter = var.webhook_secret_parameter
}

output "webhook_payload_url" {
  description = "For the App's settings page: Webhook URL."
  value       = module.mayfly.webhook_payload_url
}

output "webhook_secret_param_name" {
  description = "The parameter with the secret for the same page."
  value       = module.mayfly.webhook_secret_param_name
}

output "config" {
  description = "The programs' configuration, for mayflyctl on this machine."
  value       = module.mayfly.config
}
