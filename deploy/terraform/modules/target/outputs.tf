output "role_arn" {
  description = "ARN of the role, for the role_arn of a class's target."
  value       = aws_iam_role.this.arn
}
