# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases in a DynamoDB table: conditional puts and consistent reads. The table's key is the text attribute ``lease``.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.holdfast.ha.plugins.module_utils._core.errors import NotConverged, NotFound, Refused, ServiceError
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.client import AwsOptions, aws_client
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.errors import call, has_code
from ansible_collections.holdfast.ha.plugins.module_utils._ec2.imds import Imds
from ansible_collections.holdfast.ha.plugins.module_utils._lease.limit import Late, TimeLimit
from ansible_collections.holdfast.ha.plugins.module_utils._lease.record import Record, parse_record
from ansible_collections.holdfast.ha.plugins.module_utils._lease.rule_values import Reading
from ansible_collections.holdfast.ha.plugins.module_utils._lease.store import StoreRefused, StoreSettings, StoreUnreachable

KEY = "lease"
_BUSY = ("ProvisionedThroughputExceededException", "RequestLimitExceeded", "LimitExceededException")
#: Seconds in which a new table becomes usable; usually it takes some ten.
_CREATION = 120.0


class DynamoDbStore:
    """`Store` over one table. Any thread may use it.

    :param client: A boto3 client of DynamoDB that makes one attempt per call.
    :param timeout: Seconds for one read or write of a lease: botocore limits neither name resolution nor credentials nor a reply in drops.
    """

    def __init__(self, client: Any, table: str, timeout: float = 60.0) -> None:
        self._client = client
        self._table = table
        self._timeout, self._limit = timeout, TimeLimit(timeout)

    @classmethod
    def connect(cls, settings: StoreSettings, timeout: float, environ: Mapping[str, str] | None = None) -> DynamoDbStore:
        """From checked settings; ``timeout`` in seconds for one call, ``environ`` the process's unless given. Raises `BadInput`, `ServiceError`."""
        environ = os.environ if environ is None else environ
        own = {name: value for name, value in environ.items() if name not in ("AWS_URL", "AWS_ENDPOINT_URL_EC2")}
        if environ.get("AWS_ENDPOINT_URL_DYNAMODB"):
            own["AWS_ENDPOINT_URL"] = environ["AWS_ENDPOINT_URL_DYNAMODB"]
        options = AwsOptions.from_params(settings.values, own)
        client = aws_client("dynamodb", options, lambda: Imds(environ).region(), connect_timeout=timeout / 3, read_timeout=timeout * 2 / 3)
        return cls(client, settings.values["table"], timeout)

    def read(self, key: str) -> Reading:
        """See `Store`."""
        item = self._in_time(key, "GetItem", Key={KEY: {"S": key}}, ConsistentRead=True).get("Item")
        if item is None:
            return Reading(None, None)
        remedy = f'aws dynamodb delete-item --table-name {self._table} --key \'{{"{KEY}":{{"S":"{key}"}}}}\''
        raw = {name: _plain(value) if isinstance(value, Mapping) else value for name, value in item.items() if name != KEY}
        record = parse_record(raw, f"{key} in table {self._table}", remedy)
        return Reading(record, _token(record))

    def write(self, key: str, expected: Hashable, record: Record) -> Hashable | None:
        """See `Store`. A record's epoch and nonce together are never used twice, so they are the token."""
        item = {KEY: {"S": key}, **{name: _typed(value) for name, value in record.as_dict().items()}}
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(#key)", "ExpressionAttributeNames": {"#key": KEY}}
        if isinstance(expected, tuple):
            condition = {
                "ConditionExpression": "#epoch = :epoch AND #nonce = :nonce",
                "ExpressionAttributeNames": {"#epoch": "epoch", "#nonce": "nonce"},
                "ExpressionAttributeValues": {":epoch": {"N": str(expected[0])}, ":nonce": {"S": expected[1]}},
            }
        try:
            self._in_time(key, "PutItem", write=True, Item=item, **condition)
        except ServiceError as error:
            if has_code(error, "ConditionalCheckFailedException"):
                return None
            raise
        return _token(record)

    # ---- the table

    def exists(self) -> bool:
        """Whether the table is there and usable. Raises `Refused` when it is a table for something else."""
        try:
            described = self._call("DescribeTable")["Table"]
        except NotFound:
            return False
        schema = [(part["AttributeName"], part["KeyType"]) for part in described["KeySchema"]]
        kinds = {part["AttributeName"]: part["AttributeType"] for part in described["AttributeDefinitions"]}
        if schema != [(KEY, "HASH")] or kinds.get(KEY) != "S":
            raise Refused(f"the table {self._table} exists and its key is not the text attribute {KEY}; choose another name for the lease table")
        return str(described["TableStatus"]) in ("ACTIVE", "UPDATING")

    def arn(self) -> str | None:
        """The table's ARN; None where it is not there."""
        try:
            return str(self._call("DescribeTable")["Table"]["TableArn"])
        except NotFound:
            return None

    def create(self, now: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep) -> bool:
        """Create the table, on-demand billing, and wait until it is usable. Another's simultaneous creation counts as ours.

        :returns: Whether it is protected from deletion: where this botocore knows of that (from 1.29.90 on).
        """
        known = self._client.meta.service_model.operation_model("CreateTable").input_shape.members
        protection = {"DeletionProtectionEnabled": True} if "DeletionProtectionEnabled" in known else {}
        try:
            self._call(
                "CreateTable",
                write=True,
                KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
                **protection,
            )
        except ServiceError as error:
            if not has_code(error, "ResourceInUseException"):
                raise
        give_up = now() + _CREATION
        while not self.exists():
            if now() >= give_up:
                raise NotConverged(
                    f"the table {self._table} was created, yet is not usable after {_CREATION:g} s; look at its status in the AWS console"
                )
            pause(0.5)
        return bool(protection)

    def _in_time(self, key: str, operation: str, *, write: bool = False, **parameters: Any) -> dict[str, Any]:
        try:
            return self._limit.call(key, lambda: self._call(operation, write=write, **parameters))
        except Late as late:
            host = urlsplit(self._client.meta.endpoint_url).hostname
            what = f"{host} did not answer within {self._timeout:g} s, or its name was not resolved" if late.begun else f"a call to {host} hangs"
            raise StoreUnreachable(
                f"{operation}: {what}; see the network and the name servers", retryable=True, ambiguous=write and late.begun
            ) from None

    def _call(self, operation: str, *, write: bool = False, **parameters: Any) -> dict[str, Any]:
        try:
            return call(self._client, operation, write=write, TableName=self._table, **parameters)
        except ServiceError as error:
            region = self._client.meta.region_name
            facts: dict[str, Any] = dict(error.details)
            if has_code(error, "ResourceNotFoundException"):
                raise NotFound(
                    f"the lease table {self._table} does not exist in {region}; create it with lease_store or the playbook holdfast.ha.prepare_aws",
                    **facts,
                ) from error
            if has_code(error, "ValidationException") and "key element" in error.message:
                raise StoreRefused(
                    f"the table {self._table} in {region} is no lease table: its key is not {KEY}; name another table", **facts
                ) from error
            if has_code(error, *_BUSY):
                raise ServiceError(
                    f"{operation}: the table {self._table} takes no more calls at present; try again", retryable=True, **facts
                ) from error
            raise


def _token(record: Record) -> Hashable:
    return (record.epoch, record.nonce)


def _typed(value: object) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _plain(value: Mapping[str, Any]) -> Any:
    """The Python value of a DynamoDB one; a kind that no record has stays as it is, for `parse_record` to refuse."""
    if "S" in value:
        return value["S"]
    text = value.get("N")
    try:
        if isinstance(text, str):
            return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        pass  # no number, or one with more digits than Python converts
    return dict(value)
