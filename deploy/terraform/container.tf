# The container image: given, or built where Terraform runs and pushed to a repository that is made here.

locals {
  builds_image = var.container_image == null

  # What is in it: another commit of these, another base or another month is another tag, and so another deployment of the services.
  # Debian's fixes come with the build alone.
  container_sources = local.builds_image ? sort(flatten([for pattern in ["CMakeLists.txt", "CMakePresets.json", "common/**", "ingress/**", "worker/**", "reaper/**", "deploy/CMakeLists.txt", "deploy/packages", "deploy/{container,ctl,image}/**"] :
  [for file in fileset(local.project, pattern) : file]])) : []
  container_tag = substr(sha256(join("\n", concat([for file in local.container_sources : filesha256("${local.project}/${file}")],
  [jsonencode([var.build_base_image, coalesce(var.build_date, formatdate("YYYY-MM", plantimestamp()))])]))), 0, 16)
  container_image = local.builds_image ? "${aws_ecr_repository.this[0].repository_url}:${local.container_tag}" : var.container_image
}

resource "aws_ecr_repository" "this" {
  count = local.builds_image ? 1 : 0

  name                 = var.name_prefix
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.deletion_protection
  tags                 = var.tags

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = var.kms_key_arn == null ? "AES256" : "KMS"
    kms_key         = var.kms_key_arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  count = local.builds_image ? 1 : 0

  repository = aws_ecr_repository.this[0].name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "The newest ten, so that a rollback finds its image"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 10 }
      action       = { type = "expire" }
    }]
  })
}

resource "terraform_data" "container_image" {
  count = local.builds_image ? 1 : 0

  triggers_replace = local.container_image
  provisioner "local-exec" {
    command = "${path.module}/scripts/push-image"
    environment = {
      IMAGE  = local.container_image
      REGION = local.region
      DEBIAN = var.build_base_image == null ? "" : var.build_base_image
    }
  }
}
