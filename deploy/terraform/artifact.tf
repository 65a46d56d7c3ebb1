# The archive that the images are built from, in a bucket: given, or made where Terraform runs.

locals {
  makes_images   = length(local.made_images) > 0
  project        = "${path.module}/../.."
  archive_of     = { for name, class in local.made_images : name => try(coalesce(class.artifact, var.artifact), null) }
  local_archives = toset([for archive in values(local.archive_of) : archive if archive != null && !startswith(coalesce(archive, "s3://"), "s3://")])
  makes_archive  = anytrue([for archive in values(local.archive_of) : archive == null])

  # What the archive is made of: another agent, Dockerfile or choice of contents is another key.
  archive_sources = sort(flatten([for pattern in ["deploy/image/lambda/**", "deploy/image/agent/**", "common/base/**", "common/http/request.*", "common/payload/**"] : [for file in fileset(local.project, pattern) : file]]))
  archive_id = substr(sha256(join("\n", concat([for file in local.archive_sources : filesha256("${local.project}/${file}")],
  [jsonencode(var.runner)]))), 0, 16)
  archive_uri = local.makes_archive ? "s3://${local.artifacts_bucket}/mayfly/${local.archive_id}.zip" : null

  artifacts_bucket = coalesce(var.artifacts_bucket_name, "${var.name_prefix}-artifacts-${local.account}-${local.region}")
  artifact_uris = {
    for name, archive in local.archive_of :
    name => archive == null ? local.archive_uri : startswith(archive, "s3://") ? archive : "s3://${local.artifacts_bucket}/mayfly/${filesha256(archive)}.zip"
  }

  # Those of the bucket, which the task that renews images adds to, and those that are elsewhere.
  archive_arns = distinct(concat(["arn:${local.partition}:s3:::${local.artifacts_bucket}/mayfly/*"],
  [for uri in values(local.artifact_uris) : "arn:${local.partition}:s3:::${replace(uri, "s3://", "")}" if !startswith(uri, "s3://${local.artifacts_bucket}/mayfly/")]))
}

resource "aws_s3_bucket" "artifacts" {
  #checkov:skip=CKV_AWS_18:an archive holds no secret, and who reads the bucket is in CloudTrail
  #checkov:skip=CKV_AWS_144:an archive is made again from the sources
  #checkov:skip=CKV2_AWS_62:nothing waits for an upload
  count = local.makes_images ? 1 : 0

  bucket        = local.artifacts_bucket
  force_destroy = !var.deletion_protection
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "artifacts" {
  count = local.makes_images ? 1 : 0

  bucket                  = aws_s3_bucket.artifacts[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "artifacts" {
  count = local.makes_images ? 1 : 0

  bucket = aws_s3_bucket.artifacts[0].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "artifacts" {
  count = local.makes_images ? 1 : 0

  bucket = aws_s3_bucket.artifacts[0].id
  rule {
    bucket_key_enabled = var.kms_key_arn != null
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  count = local.makes_images ? 1 : 0

  bucket = aws_s3_bucket.artifacts[0].id
  rule {
    id     = "former-versions"
    status = "Enabled"
    filter {}
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_policy" "artifacts" {
  count = local.makes_images ? 1 : 0

  bucket = aws_s3_bucket.artifacts[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.artifacts[0].arn, "${aws_s3_bucket.artifacts[0].arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.artifacts]
}

resource "aws_s3_object" "artifact" {
  for_each = local.local_archives

  bucket      = aws_s3_bucket.artifacts[0].id
  key         = "mayfly/${filesha256(each.key)}.zip"
  source      = each.key
  source_hash = filesha256(each.key)
  tags        = var.tags
  depends_on  = [aws_s3_bucket_server_side_encryption_configuration.artifacts, aws_s3_bucket_versioning.artifacts]
}

resource "terraform_data" "artifact" {
  count = local.makes_archive ? 1 : 0

  triggers_replace = local.archive_uri
  provisioner "local-exec" {
    command = "${path.module}/scripts/publish-archive"
    environment = {
      URI            = local.archive_uri
      REGION         = local.region
      RUNNER_VERSION = coalesce(var.runner.version, "newest")
      RUNNER_SHA256  = var.runner.sha256 == null ? "" : var.runner.sha256
      DOCKER         = var.runner.docker
      SUDO           = var.runner.sudo
      PACKAGES       = join(" ", var.runner.packages)
    }
  }
  depends_on = [aws_s3_bucket_server_side_encryption_configuration.artifacts, aws_s3_bucket_versioning.artifacts, aws_s3_bucket_policy.artifacts]
}
