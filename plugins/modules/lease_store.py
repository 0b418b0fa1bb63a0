#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a store of leases ready."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lease_store
short_description: Create what a store of leases needs
version_added: 0.1.0
description:
  - For a store of type V(dynamodb), creates the table with on-demand billing and waits until it is usable.
    A table of that name with another key is refused.
  - The table is created with deletion protection. With a botocore older than 1.29.90 it is not, and the module warns.
  - For V(etcd) there is nothing to create. A majority of the members has to run, and the credentials have to allow reading the leases.
  - For V(none) there is nothing to do.
extends_documentation_fragment:
  - holdfast.ha._attributes
  - holdfast.ha._store
options:
  state:
    description: Leases and their table are never deleted by this collection.
    type: str
    choices: [present]
    default: present
notes:
  - Leave DynamoDB's own expiry of items (time to live) off for the table.
seealso:
  - module: holdfast.ha.lease
author:
  - The holdfast.ha authors (@holdfast-ha)
"""

EXAMPLES = r"""
- name: Create the lease table
  holdfast.ha.lease_store:
    store:
      type: dynamodb
      table: holdfast
      region: eu-central-1
  run_once: true
"""

RETURN = r"""
type:
  description: The type of the store.
  returned: success
  type: str
  sample: dynamodb
ready:
  description: Whether the store can take leases, or could in check mode.
  returned: success
  type: bool
  sample: true
table_arn:
  description: The ARN of the DynamoDB table. Null for another store, and for a table that check mode did not create.
  returned: success
  type: str
  sample: arn:aws:dynamodb:eu-central-1:111122223333:table/holdfast
"""

from ansible_collections.holdfast.ha.plugins.module_utils._core.model import NETADDR_IMPORT_ERROR
from ansible_collections.holdfast.ha.plugins.module_utils._core.run import RequiredLibrary, run_change
from ansible_collections.holdfast.ha.plugins.module_utils._modules.lease import store_argument
from ansible_collections.holdfast.ha.plugins.module_utils._modules.lease_store import StoreTask


def main() -> None:
    run_change(
        lambda host: StoreTask(host.params, host.warn),
        argument_spec={"state": {"type": "str", "choices": ["present"], "default": "present"}, **store_argument()},
        libraries=[RequiredLibrary("netaddr", NETADDR_IMPORT_ERROR)],
    )


if __name__ == "__main__":
    main()
