# As in ../aws.
mock_resource "awscc_lambda_microvm_image" {
  defaults = { image_arn = "arn:aws:lambda:eu-west-1:123456789012:microvm-image:mayfly-default" }
}
