"""How long a record takes from one process to another, and how long a bare word takes. Benchmarks only."""

from _typeshed import WriteableBuffer

from openbell.core.follow import Follower
from openbell.core.ring import RingWriter

def words(buffer: WriteableBuffer, first: bool, out: WriteableBuffer) -> int: ...
def rings(writer: RingWriter, follower: Follower, first: bool, out: WriteableBuffer) -> int: ...
