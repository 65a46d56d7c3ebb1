# The MicroVM image of each class, the role that Lambda builds with, and the VMs' own role where they write logs.

module "image" {
  source   = "./modules/image"
  for_each = local.made_images

  name                       = "${var.name_prefix}-${each.key}"
  description                = "Mayfly ${var.name_prefix}, class ${each.key}"
  base_image_arn             = "arn:${local.partition}:lambda:${local.region}:aws:microvm-image:${var.base_image_name}"
  base_image_version         = coalesce(var.base_image_version, "0")
  build_role_arn             = aws_iam_role.build[0].arn
  artifact_uri               = local.artifact_uris[each.key]
  memory_mib                 = each.value.memory_mib
  log_group                  = aws_cloudwatch_log_group.image[0].name
  egress_network_connectors  = var.build_egress_network_connector == null ? [] : [var.build_egress_network_connector]
  additional_os_capabilities = coalesce(each.value.additional_os_capabilities, var.additional_os_capabilities)
  environment                = each.value.environment
  tags                       = var.tags

  # Lambda reads the archive with the role at once.
  depends_on = [aws_iam_role_policy.build, terraform_data.artifact, aws_s3_object.artifact]
}
