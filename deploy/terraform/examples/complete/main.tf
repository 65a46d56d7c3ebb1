# A fleet of two classes in a VPC of yours, behind a load balancer with your certificate, with keys, limits, alarms and a webhook
# that Terraform makes. An App's hook is the App's own: the webhook below is for an App without one, or deliveries come twice.

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
    github = {
      source  = "integrations/github"
      version = ">= 6.6"
    }
  }
}

variable "region" {
  type    = string
  default = "eu-west-1"
}

variable "app_id" {
  type = string
}

variable "app_private_key" {
  description = "PEM text of the App's private key; it reaches neither state nor plan."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "vpc_id" {
  type = string
}

variable "private_subnet_ids" {
  type = list(string)
}

variable "public_subnet_ids" {
  type = list(string)
}

variable "certificate_arn" {
  type = string
}

variable "zone_id" {
  type = string
}

variable "webhook_secret" {
  description = "The same as in the parameter /mayfly-eu/webhook-secret, which you made. The github provider keeps it in the state."
  type        = string
  sensitive   = true
}

provider "aws" {
  region = var.region
}

provider "awscc" {
  region = var.region
}

provider "github" {
  owner = "acme"
}

resource "aws_kms_key" "mayfly" {
  description             = "Mayfly"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

data "aws_caller_identity" "current" {}

# The account decides by its own policies; logs, and alarms that are sent to the topic, need more than that.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:the root of the account gives its policies effect, as in AWS's default key policy
  #checkov:skip=CKV_AWS_111:the same
  #checkov:skip=CKV_AWS_356:a key's policy is about the key itself
  statement {
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.current.account_id}:root"]
    }
  }
  statement {
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com", "cloudwatch.amazonaws.com"]
    }
  }
}

module "mayfly" {
  source = "../.."

  name_prefix = "mayfly-eu"
  tags        = { team = "ci", cost-centre = "4711" }
  kms_key_arn = aws_kms_key.mayfly.arn

  github_app               = { app_id = var.app_id }
  github_app_private_key   = var.app_private_key
  github_organization      = "acme"
  webhook_secret_parameter = "/mayfly-eu/webhook-secret"

  classes = [
    {
      name            = "small"
      labels          = ["self-hosted", "linux", "arm64", "small"]
      required_labels = ["small"]
      memory_mib      = 1024
      max_vms         = 100
    },
    {
      name            = "docker"
      labels          = ["self-hosted", "linux", "arm64", "docker"]
      required_labels = ["docker"]
      memory_mib      = 8192
      max_duration    = "2h"
      launch_rate     = { per_second = 2, burst = 2 }
    },
  ]
  limits = { max_vms_per_repository = 50 }
  retry  = { max_attempts = 5 }

  vpc_id                   = var.vpc_id
  subnet_ids               = var.private_subnet_ids
  load_balancer_subnet_ids = var.public_subnet_ids
  assign_public_ip         = false
  entry                    = "alb"
  alb = {
    certificate_arn     = var.certificate_arn
    domain_name         = "mayfly.example.com"
    zone_id             = var.zone_id
    allowed_cidr_blocks = ["192.30.252.0/22", "185.199.108.0/22", "140.82.112.0/20", "143.55.64.0/20"]
  }

  desired_count = { ingress = 3, worker = 3, reaper = 2 }
  autoscaling   = { worker_max = 6 }
  alarm_email   = "ci-oncall@example.com"
}

module "webhook" {
  source = "../../modules/webhook"

  url    = module.mayfly.webhook_payload_url
  secret = var.webhook_secret
}

output "webhook_payload_url" {
  value = module.mayfly.webhook_payload_url
}
