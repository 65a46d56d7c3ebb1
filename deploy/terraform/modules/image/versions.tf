terraform {
  required_version = ">= 1.7"

  required_providers {
    awscc = {
      source  = "hashicorp/awscc"
      version = ">= 1.90, < 2.0"
    }
  }
}
