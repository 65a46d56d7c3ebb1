variable "name" {
  description = "Name of the role."
  type        = string
  default     = "mayfly-target"
}

variable "trusted_role_arns" {
  description = "ARNs of the roles that may assume it: those of worker and reaper, the module's output task_role_arns. They must exist."
  type        = list(string)

  validation {
    condition     = length(var.trusted_role_arns) > 0 && alltrue([for arn in var.trusted_role_arns : can(regex("^arn:[^:]+:iam::[0-9]{12}:role/.+$", arn))])
    error_message = "trusted_role_arns are ARNs of roles, one at least."
  }
}

variable "image_arns" {
  description = "ARNs of the MicroVM images in this account that classes launch from, in any region."
  type        = list(string)

  validation {
    condition     = length(var.image_arns) > 0 && alltrue([for arn in var.image_arns : can(regex("^arn:[^:]+:lambda:[^:]+:[0-9]{12}:microvm-image:.+$", arn))])
    error_message = "image_arns are arn:aws:lambda:REGION:ACCOUNT:microvm-image:NAME, one at least."
  }
}

variable "permissions_boundary" {
  description = "ARN of a policy that is the role's permissions boundary."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the role."
  type        = map(string)
  default     = {}
}
