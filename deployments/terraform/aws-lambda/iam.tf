resource "aws_iam_role" "rotator" {
  name               = var.name
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy" "rotator" {
  name   = "rotator"
  role   = aws_iam_role.rotator.id
  policy = data.aws_iam_policy_document.rotator.json
}

resource "aws_iam_role_policy_attachment" "vpc" {
  count = local.has_vpc ? 1 : 0

  role       = aws_iam_role.rotator.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AWSLambdaENIManagementAccess"
}

data "aws_iam_policy_document" "rotator" {
  statement {
    sid = "RotateSecrets"
    actions = [
      "secretsmanager:DescribeSecret",
      "secretsmanager:GetSecretValue",
      "secretsmanager:ListSecretVersionIds",
      "secretsmanager:PutSecretValue",
      "secretsmanager:UpdateSecretVersionStage",
    ]
    resources = ["${local.secret}:${var.secrets}"]
  }

  dynamic "statement" {
    for_each = var.credentials == "" ? [] : [1]

    content {
      sid       = "ReadOwnCredentials"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = ["${local.secret}:${var.credentials}-??????"]
    }
  }

  dynamic "statement" {
    for_each = var.event_bus == "" ? [] : [1]

    content {
      sid       = "Announce"
      actions   = ["events:PutEvents"]
      resources = ["arn:${data.aws_partition.current.partition}:events:${data.aws_region.current.id}:${local.account}:event-bus/${var.event_bus}"]
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [1]

    content {
      sid       = "UseKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [var.kms_key_arn]
    }
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.rotator.arn}:*"]
  }

  statement {
    sid       = "KeepWhatFailed"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.dead_letters.arn]
  }
}
