"""Worker state without globals: an engine of SQLAlchemy in each worker, and a big dictionary for all of them.

python3 databases.py
"""

import multiprocessing
import os
import tempfile
import time

import sqlalchemy as sa

import brine

WORKERS = 4
RECORDS = 500

metadata = sa.MetaData()
records = sa.Table(
    "records",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.String),
    sa.Column("process", sa.Integer),
)


def connect(url):
    """Make the engine of a worker. It holds connections, and can't be pickled."""
    engine = sa.create_engine(url, connect_args={"timeout": 30})
    with engine.connect() as connection:
        connection.exec_driver_sql("pragma journal_mode=wal")
    return engine


def insert(record, initret: sa.Engine):
    """Insert a record through the worker's engine."""
    with initret.begin() as connection:
        connection.execute(records.insert().values(**record, process=os.getpid()))
    return id(initret)


def pattern_one(folder):
    """Give each worker an engine of its own, on a file that this program makes."""
    url = f"sqlite:///{folder}/records.db"
    engine = connect(url)
    metadata.create_all(engine)
    todo = [{"id": i, "text": f"record {i}"} for i in range(RECORDS)]
    with brine.Pool(WORKERS, connect, (url,), expect_initret=True) as pool:
        start = time.perf_counter()
        pool.map(insert, todo)
        seconds = time.perf_counter() - start
    with engine.connect() as connection:
        count = connection.scalar(sa.select(sa.func.count()).select_from(records))
        processes = connection.scalar(sa.select(sa.func.count(records.c.process.distinct())))
        own = connection.scalar(sa.select(sa.func.count()).where(records.c.process == os.getpid()))
    engine.dispose()
    assert (count, own) == (RECORDS, 0)
    print(f"{count:,} records inserted by {processes} processes in {seconds:.2f} s, none by this one")


def identity(int_to_binary):
    """Be the initializer: what it returns is what the tasks get."""
    return int_to_binary


def count_bits(i, initret):
    """Count the bits that are on, in the dictionary that the worker has."""
    return initret[i].count("1")


_cache = None


def keep(int_to_binary):
    """Be the initializer that pools without expect_initret need."""
    global _cache
    _cache = int_to_binary


def count_bits_global(i):
    """Count the bits that are on, in a global."""
    return _cache[i].count("1")


def pattern_two(bits):
    """Give all workers a big dictionary, in processes that inherit nothing."""
    ints = range(2**bits)
    int_to_binary = {i: bin(i) for i in ints}
    context = multiprocessing.get_context("spawn")
    ways = {
        "multiprocessing, a global": lambda: (
            context.Pool(WORKERS, keep, (int_to_binary,)),
            count_bits_global,
        ),
        "brine, expect_initret": lambda: (
            brine.Pool(
                WORKERS,
                identity,
                (int_to_binary,),
                context=context,
                expect_initret=True,
            ),
            count_bits,
        ),
    }
    for name, way in ways.items():
        start = time.perf_counter()
        pool, function = way()
        with pool:
            total = sum(pool.imap_unordered(function, ints, 1024))
        assert total == bits * 2**bits // 2
        print(
            f"{name:<26} {total:,} bits are on in the first {len(ints):,} integers: {time.perf_counter() - start:.2f} s"
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        pattern_one(folder)
    pattern_two(18)
