output "image_arn" {
  description = "ARN of the image, for a class's lambda.image."
  value       = awscc_lambda_microvm_image.this.image_arn
}

output "name" {
  description = "Name of the image."
  value       = awscc_lambda_microvm_image.this.name
}

output "version" {
  description = "Newest active version when Terraform last read the image: one behind after an apply that changed it, until the next refresh."
  value       = awscc_lambda_microvm_image.this.latest_active_image_version
}

output "state" {
  description = "State of the image when Terraform last read it; UPDATE_FAILED where the newest build failed and the version before it is used."
  value       = awscc_lambda_microvm_image.this.state
}
