"""What moto's tables need to serve a load: the same answers at the same cost, however many items there are.

moto copies whole tables before a transaction and walks whole tables in a query. Here a transaction copies the
items it touches, and a query looks at its partition (of the table, or of a global index that is kept beside it).
Parsed update expressions are kept. For reads of the past, what was overwritten lately is remembered.

One thread only: an operation runs from its beginning to its end, so all of them are atomic.
"""

import copy
import inspect
import pickle
from collections import deque

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing import validators
from moto.dynamodb.parsing.expressions import UpdateExpressionParser

# --- items by their keys ---------------------------------------------------------------------------------------


class Key:
    """Where an item stands: a table and the values of its key."""

    __slots__ = ("table", "hash", "range", "id")

    def __init__(self, table, attributes):
        self.table = table
        self.hash = DynamoType(attributes[table.hash_key_attr])
        self.range = DynamoType(attributes[table.range_key_attr]) if table.range_key_attr else None
        ends = [self.hash] if self.range is None else [self.hash, self.range]
        self.id = tuple((end.type, end.cast_value) for end in ends)

    def get(self):
        if self.hash not in self.table.items:
            return None
        found = self.table.items[self.hash]
        return found if self.range is None else found.get(self.range)

    def set(self, item):
        """Puts the item there, or takes away what is there."""
        items = self.table.items
        if self.range is None:
            if item is not None:
                items[self.hash] = item
            elif self.hash in items:
                del items[self.hash]
        elif item is not None:
            items[self.hash][self.range] = item
        elif self.hash in items:
            items[self.hash].pop(self.range, None)
        reindex(self)


# --- global indexes --------------------------------------------------------------------------------------------


class Indexes:
    """Which items stand under which hash key of each global index of a table."""

    def __init__(self, table):
        self.shape = shape_of(table)
        self.entries = {name: {} for name, _ in self.shape}
        self.places = {}
        for item in table.all_items():
            self.put(Key(table, {name: value.to_json() for name, value in item.attrs.items()}), item)

    def put(self, key, item):
        for name, value in self.places.pop(key.id, ()):
            self.entries[name][value].pop(key.id, None)
        if item is None:
            return
        places = []
        for name, attribute in self.shape:
            value = item.attrs.get(attribute)
            if value is not None:
                place = (value.type, value.cast_value)
                self.entries[name].setdefault(place, {})[key.id] = key
                places.append((name, place))
        if places:
            self.places[key.id] = places

    def items(self, name, value):
        found = self.entries[name].get((value.type, value.cast_value), {})
        return [item for item in (key.get() for key in found.values()) if item is not None]


def shape_of(table):
    """Global indexes of one hash key; a query of any other walks the table as moto does."""
    shape = []
    for index in table.global_indexes:
        hashes = [part["AttributeName"] for part in index.schema if part["KeyType"] == "HASH"]
        if len(hashes) == 1:
            shape.append((index.name, hashes[0]))
    return shape


def indexes_of(table):
    kept = table.__dict__.get("kept_indexes")
    if kept is None or kept.shape != shape_of(table):
        kept = table.kept_indexes = Indexes(table)
    return kept


def reindex(key):
    if key.table.global_indexes:
        indexes_of(key.table).put(key, key.get())


def empty(table):
    removed = sum(1 for _ in moto_all_items(table))
    table.items.clear()
    table.__dict__.pop("kept_indexes", None)
    return removed


def candidates(table, arguments):
    """The items that a query can find at all; None: unknown, look at all."""
    name = arguments.get("index_name")
    value = arguments["hash_key"]
    if name in dict(shape_of(table)):
        conditions = arguments.get("hash_key_conditions") or []
        if conditions:
            value = conditions[0][1]
        return indexes_of(table).items(name, value) if value is not None else None
    if name in {index.name for index in table.global_indexes} or value is None:
        return None
    if value not in table.items:
        return []
    found = table.items[value]
    return list(found.values()) if table.has_range_key else [found]


moto_query = Table.query
moto_all_items = Table.all_items
query_signature = inspect.signature(moto_query)


def query(self, *args, **kwargs):
    arguments = query_signature.bind(self, *args, **kwargs).arguments
    self.looked_at = candidates(self, arguments)
    try:
        return moto_query(self, *args, **kwargs)
    finally:
        self.looked_at = None


def all_items(self):
    looked_at = self.__dict__.get("looked_at")
    return moto_all_items(self) if looked_at is None else looked_at


# --- transactions ----------------------------------------------------------------------------------------------

moto_transact = DynamoDBBackend.transact_write_items


def transact_write_items(self, transact_items):
    saved = []
    for item in transact_items:
        for operation in item.values():
            key = key_in(self, operation.get("TableName"), operation.get("Key") or operation.get("Item"))
            if key is not None:
                saved.append((key, copy.deepcopy(key.get())))
    try:
        return moto_transact(self, transact_items)
    except BaseException:
        for key, item in saved:
            key.set(item)
        raise


def key_in(backend, table_name, attributes):
    """None if there is no such table or the key is not whole: moto says so itself."""
    table = backend.tables.get(table_name)
    names = [] if table is None else [table.hash_key_attr, table.range_key_attr]
    if table is None or not all(name in (attributes or {}) for name in names if name):
        return None
    return Key(table, attributes)


# --- update expressions ----------------------------------------------------------------------------------------

moto_make = UpdateExpressionParser.make.__func__
parsed = {}
pickled = {}


def make(cls, expression):
    if expression not in parsed:
        if len(parsed) > 1000:
            parsed.clear()
            pickled.clear()
        parsed[expression] = moto_make(cls, expression)
        pickled[id(parsed[expression])] = pickle.dumps(parsed[expression])
    return parsed[expression]


def copy_expression(value):
    kept = pickled.get(id(value))
    return copy.deepcopy(value) if kept is None else pickle.loads(kept)


# --- the past --------------------------------------------------------------------------------------------------


class Past:
    """What was overwritten in the last milliseconds, so that a read can see what was so a while ago."""

    def __init__(self):
        self.overwritten = deque()

    def remember(self, now, keys, lag):
        while self.overwritten and (lag <= 0 or self.overwritten[0][0] < now - lag):
            self.overwritten.popleft()
        if lag > 0:
            self.overwritten.extend((now, key, copy.deepcopy(key.get())) for key in keys)

    def read(self, now, lag, table_names, work):
        """Runs `work` with those tables as they were `lag` seconds ago."""
        then = {}
        for at, key, item in self.overwritten:
            if at > now - lag and key.table.name in table_names:
                then.setdefault((key.table.name, key.id), (key, item))
        present = [(key, key.get()) for key, _ in then.values()]
        for key, item in then.values():
            key.set(item)
        try:
            return work()
        finally:
            for key, item in present:
                key.set(item)


def install():
    Table.query = query
    Table.all_items = all_items
    # A transaction that fails takes back what it touched; the copy that moto takes of the table is the table itself.
    Table.__deepcopy__ = lambda self, memo: self
    DynamoDBBackend.transact_write_items = transact_write_items
    UpdateExpressionParser.make = classmethod(make)
    validators.deepcopy = copy_expression
