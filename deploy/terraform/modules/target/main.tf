# The role in another account that worker and reaper assume to run VMs there (deploy/docs/targets.md): what their own policies allow
# of MicroVMs (deploy/aws/policies), together.

locals {
  partition = split(":", var.image_arns[0])[1]
  regions   = distinct([for arn in var.image_arns : split(":", arn)[3]])
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "Mayfly runs VMs in this account"
  permissions_boundary = var.permissions_boundary
  tags                 = var.tags
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { AWS = var.trusted_role_arns } }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "mayfly"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "Vms"
        Effect = "Allow"
        Action = [
          "lambda:RunMicrovm", "lambda:TerminateMicrovm", "lambda:GetMicrovm",
          "lambda:GetMicrovmImage", "lambda:ListMicrovmImageVersions", "lambda:UpdateMicrovmImageVersion",
        ]
        Resource = var.image_arns
      },
      {
        Sid    = "VmNetwork"
        Effect = "Allow"
        Action = ["lambda:PassNetworkConnector"]
        Resource = [for pair in setproduct(local.regions, ["INTERNET_EGRESS", "NO_INGRESS"]) :
        "arn:${local.partition}:lambda:${pair[0]}:aws:network-connector:aws-network-connector:${pair[1]}"]
      },
      {
        Sid       = "VmList"
        Effect    = "Allow"
        Action    = ["lambda:ListMicrovms"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:RequestedRegion" = local.regions } }
      },
      { Sid = "Check", Effect = "Allow", Action = ["lambda:ListManagedMicrovmImageVersions", "servicequotas:GetServiceQuota"], Resource = "*" },
    ]
  })
}
