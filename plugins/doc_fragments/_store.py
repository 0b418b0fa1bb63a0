# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that names a store of leases; module_utils/_lease/store.py has the settings, and a test compares the two."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  store:
    description:
      - Where leases are kept, in the form of the inventory's C(holdfast_store).
      - Settings of another type of store than the one chosen are refused.
    type: dict
    required: true
    suboptions:
      type:
        description:
          - V(dynamodb) is a table in Amazon DynamoDB. V(etcd) is a cluster of etcd 3.4 or newer, reached over its JSON gateway.
          - V(none) keeps no leases. It is for a single node, which recovers locally and never fails over.
        type: str
        choices: [dynamodb, etcd, none]
        required: true
      table:
        description: DynamoDB. The name of the table. M(holdfast.ha.lease_store) creates it.
        type: str
      region:
        description:
          - DynamoDB. The AWS region.
          - Without it, E(AWS_REGION), E(AWS_DEFAULT_REGION), the profile's region, or the region that instance metadata tells.
        type: str
      profile:
        description: DynamoDB. A profile in the AWS configuration of the host. Without it, E(AWS_PROFILE) or E(AWS_DEFAULT_PROFILE).
        type: str
      access_key:
        description:
          - DynamoDB. The AWS access key id.
          - Without it, E(AWS_ACCESS_KEY_ID), and then whatever boto3 finds, such as the role of the instance.
        type: str
      secret_key:
        description: DynamoDB. The AWS secret access key. Without it, E(AWS_SECRET_ACCESS_KEY).
        type: str
      session_token:
        description: DynamoDB. The session token that belongs to temporary keys. Without it, E(AWS_SESSION_TOKEN).
        type: str
      endpoint_url:
        description: DynamoDB. The URL of the API, where it is not AWS's own. Without it, E(AWS_ENDPOINT_URL_DYNAMODB) or E(AWS_ENDPOINT_URL).
        type: str
      validate_certs:
        description: DynamoDB. Whether the certificate of the API has to be valid. It has to, unless this is V(false).
        type: bool
      aws_ca_bundle:
        description: DynamoDB. A file with the certificates of the authorities to trust. Without it, E(AWS_CA_BUNDLE).
        type: path
      role_arn:
        description: DynamoDB. The ARN of a role to act as.
        type: str
      external_id:
        description: DynamoDB. The external id that the role of O(store.role_arn) asks for.
        type: str
      endpoints:
        description: etcd. The URLs of the members, such as V(https://10.0.0.5:2379). They are tried in order; the one that answered last comes first.
        type: list
        elements: str
      ca_cert:
        description: etcd. A file with the certificates of the authorities to trust. Without it, those of the host.
        type: path
      cert:
        description: etcd. A file with the client's certificate. Goes with O(store.key).
        type: path
      key:
        description: etcd. A file with the key of O(store.cert), without a pass phrase.
        type: path
      username:
        description: etcd. The user to authenticate as. Goes with O(store.password).
        type: str
      password:
        description: etcd. The user's password. It is sent to O(store.endpoints) over TLS only, or to this host.
        type: str
requirements:
  - boto3 >= 1.26 and botocore on the host that the module runs on, for a store of type V(dynamodb)
  - netaddr on the host that the module runs on
notes:
  - Nothing of a store's secrets appears in messages, return values or logs.
"""
