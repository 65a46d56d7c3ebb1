"""DynamoDB's operations by moto, as a child of the stand-in: a line in, a line out, in order.

In:  ["PutItem", LAG_MS, "BODY"]     Out: [STATUS, "BODY"]     ("reset" forgets all; "empty" the items)

Operations on items go straight to moto's handlers; all others, and those with binary values, through its reading
and writing of requests, which takes milliseconds.
"""

import base64
import json
import sys
import time
from datetime import datetime

from moto.core.exceptions import JsonRESTError, ServiceException
from moto.core.request import Request
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import DynamoHandler

import tables

PREFIX = "com.amazonaws.dynamodb.v20120810#"
TOKEN_LIFE_S = 600
ITEM_OPERATIONS = {
    "PutItem": "put_item", "GetItem": "get_item", "UpdateItem": "update_item", "DeleteItem": "delete_item", "Query": "query", "Scan": "scan",
    "BatchGetItem": "batch_get_item", "BatchWriteItem": "batch_write_item", "TransactWriteItems": "transact_write_items",
    "TransactGetItems": "transact_get_items",
}


def refusal(name, message, **members):
    return 400, json.dumps({"__type": PREFIX + name, "message": message, **members})


def plain(value):
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no JSON for {type(value).__name__}")


class Engine:
    def __init__(self, region, account):
        self.region, self.account = region, account
        self.headers = {
            "host": f"dynamodb.{region}.amazonaws.com", "content-type": "application/x-amz-json-1.0",
            "authorization": f"AWS4-HMAC-SHA256 Credential=AKID/20260101/{region}/dynamodb/aws4_request, SignedHeaders=host, Signature=x",
        }
        self.reset()

    def reset(self):
        dynamodb_backends.reset()
        self.backend = dynamodb_backends[self.account][self.region]
        self.past = tables.Past()
        self.tokens = {}

    def empty(self):
        """Removes all items of all tables in one step; the body is how many there were."""
        removed = sum(tables.empty(table) for table in self.backend.tables.values())
        self.past = tables.Past()
        return 200, json.dumps({"items": removed})

    def run(self, operation, lag_ms, text):
        if operation == "reset":
            self.reset()
            return 200, "{}"
        if operation == "empty":
            return self.empty()
        try:
            body = json.loads(text)
        except ValueError:
            return refusal("SerializationException", "the body is no JSON")
        if not isinstance(body, dict):
            return refusal("SerializationException", "the body is no JSON object")
        now, lag = time.monotonic(), lag_ms / 1000
        if operation == "TransactWriteItems" and body.get("ClientRequestToken"):
            return self.once(now, lag, operation, text, body)
        return self.timed(now, lag, operation, text, body)

    def once(self, now, lag, operation, text, body):
        """The same token again within ten minutes: no second time, and nothing else under it."""
        token = body["ClientRequestToken"]
        print_ = json.dumps({k: v for k, v in body.items() if k != "ClientRequestToken"}, sort_keys=True)
        at, before, answer = self.tokens.get(token, (0, None, None))
        if answer is not None and now - at < TOKEN_LIFE_S:
            if before != print_:
                return refusal("IdempotentParameterMismatchException", "The request was repeated with the same token and other parameters.")
            return answer
        answer = self.timed(now, lag, operation, text, body)
        if answer[0] == 200:
            self.tokens[token] = (now, print_, answer)
        return answer

    def timed(self, now, lag, operation, text, body):
        keys = self.written(operation, body)
        self.past.remember(now, keys, lag)
        work = lambda: self.carry_out(operation, text, body)
        stale = self.stale_tables(operation, body) if lag > 0 else ()
        answer = self.past.read(now, lag, stale, work) if stale else work()
        for key in keys:
            tables.reindex(key)
        return answer

    def written(self, operation, body):
        """The keys that an operation may change."""
        pairs = []
        if operation in ("PutItem", "UpdateItem", "DeleteItem"):
            pairs = [(body.get("TableName"), body.get("Item") or body.get("Key"))]
        elif operation == "BatchWriteItem":
            for name, requests in (body.get("RequestItems") or {}).items():
                pairs += [(name, one.get("Item") or one.get("Key")) for request in requests for one in request.values()]
        elif operation == "TransactWriteItems":
            pairs = [(one.get("TableName"), one.get("Item") or one.get("Key")) for item in body.get("TransactItems") or [] for one in item.values()]
        keys = (tables.key_in(self.backend, name, attributes) for name, attributes in pairs)
        return [key for key in keys if key is not None]

    @staticmethod
    def stale_tables(operation, body):
        """The tables that a read may see as they were a while ago."""
        if operation in ("GetItem", "Query", "Scan") and not body.get("ConsistentRead"):
            return {body.get("TableName")}
        if operation == "BatchGetItem":
            return {name for name, one in (body.get("RequestItems") or {}).items() if not one.get("ConsistentRead")}
        return ()

    def carry_out(self, operation, text, body):
        method = ITEM_OPERATIONS.get(operation)
        if method is None or '"B"' in text or '"BS"' in text:
            return self.whole_way(operation, text)
        handler = DynamoHandler()
        handler.body = handler.params = body
        handler.region, handler.current_account, handler.headers, handler.response_headers = self.region, self.account, self.headers, {}
        try:
            return 200, json.dumps(getattr(handler, method)().result, default=plain)
        except JsonRESTError as error:
            return error.code, error.get_body()
        except ServiceException as error:
            return refusal(error.code, error.message)

    def whole_way(self, operation, text):
        url = f"https://dynamodb.{self.region}.amazonaws.com/"
        headers = {**self.headers, "x-amz-target": f"DynamoDB_20120810.{operation}"}
        request = Request.from_primitives("POST", url, headers, text.encode())
        try:
            status, _, body = DynamoHandler.dispatch(request, url, request.headers)
        except NotImplementedError:
            return refusal("UnknownOperationException", f"{operation} is not known")
        return status, body.decode() if isinstance(body, bytes) else body


def main():
    tables.install()
    engine = Engine(*sys.argv[1:3])
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            answer = engine.run(*json.loads(line))
        except Exception as error:  # a bug of moto's or ours: told, not died of
            answer = 500, json.dumps({"__type": PREFIX + "InternalServerError", "message": f"{type(error).__name__}: {error}"})
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
