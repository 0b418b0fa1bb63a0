# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module that calls the EC2 API; the argument specs are in module_utils/_ec2, and a test compares the two."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  region:
    description:
      - The AWS region.
      - Without it, E(AWS_REGION), E(AWS_DEFAULT_REGION), the profile's region, or the region that instance metadata tells.
    type: str
    aliases: [aws_region, ec2_region]
  profile:
    description:
      - The name of a profile in the AWS configuration of the host that the module runs on.
      - Without it, E(AWS_PROFILE) or E(AWS_DEFAULT_PROFILE).
      - Mutually exclusive with O(access_key), O(secret_key), and O(session_token).
    type: str
    aliases: [aws_profile]
  access_key:
    description:
      - The AWS access key id.
      - Without it, E(AWS_ACCESS_KEY_ID) or E(AWS_ACCESS_KEY), and then whatever boto3 finds,
        such as the role of the instance. On EC2 a role is best, since nothing secret is stored then.
    type: str
    aliases: [aws_access_key_id, aws_access_key]
  secret_key:
    description:
      - The AWS secret access key.
      - Without it, E(AWS_SECRET_ACCESS_KEY) or E(AWS_SECRET_KEY).
    type: str
    aliases: [aws_secret_access_key, aws_secret_key]
  session_token:
    description:
      - The session token that belongs to temporary keys.
      - Without it, E(AWS_SESSION_TOKEN).
    type: str
    aliases: [aws_session_token]
  endpoint_url:
    description:
      - The URL of the EC2 API, where it is not AWS's own for the region.
      - Without it, E(AWS_URL), E(AWS_ENDPOINT_URL_EC2), or E(AWS_ENDPOINT_URL).
    type: str
    aliases: [aws_endpoint_url]
  validate_certs:
    description:
      - Whether the certificate of the API has to be valid. V(false) lets others read and change what is sent;
        give O(aws_ca_bundle) instead.
    type: bool
    default: true
  aws_ca_bundle:
    description:
      - A file with the certificates of the authorities to trust.
      - Without it, E(AWS_CA_BUNDLE).
    type: path
  role_arn:
    description:
      - The ARN of a role to act as, for example where the route tables belong to the account that shares the VPC.
      - STS is called at the endpoint of the region. E(AWS_ENDPOINT_URL_STS), an C(endpoint_url) for C(sts) in the AWS configuration file, and
        E(AWS_ENDPOINT_URL), which is for all services, come before that.
      - An O(endpoint_url) whose host is an IP address or a name without a dot belongs to an emulator and is called for STS too. For an emulator with
        another name, set E(AWS_ENDPOINT_URL).
    type: str
  external_id:
    description:
      - The external id that the role of O(role_arn) asks for.
    type: str
attributes:
  action_group:
    support: full
    description: Use C(group/holdfast.ha.aws) in C(module_defaults) to set defaults for these modules.
    membership:
      - holdfast.ha.aws
requirements:
  - boto3 >= 1.26 and botocore on the host that the module runs on
  - netaddr on the host that the module runs on
notes:
  - Environment variables and AWS configuration files are those of the host that the module runs on.
  - Instance metadata is asked directly, whatever proxy is set. E(AWS_EC2_METADATA_SERVICE_ENDPOINT), E(AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE), and
    E(AWS_EC2_METADATA_DISABLED) are honoured.
  - Every API call is one attempt with time-outs of 1 s (connecting) and 2 s (reply). What may pass, such as throttling,
    is tried again after looking first, until nothing has got on for 15 s.
"""
