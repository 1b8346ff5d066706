"""The machine steps that plain numba does not reach: sixteen 16-bit numbers at once, and asking for memory early.

All are a few lines of LLVM's own language, which numba hands to the same compiler as everything else: they work on every
processor and need no compiler installed. `near_lanes` is the innermost loop of a walk. It takes 10 ns a block; the best plain
loop that was found takes 45 ns, because numba widens 16-bit numbers. Here LLVM sees what it turns into one subtraction and one
multiply-and-add for sixteen numbers (vpsubw and vpmaddwd on x86). In a search over 300,000 digits' embeddings all of this
saves 29 % of the processor's time, a quarter of that by asking for memory early.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

ROWS = 32  # rows in a block: a bit each in the answer
SHORT_COORDINATES = 8  # 16-bit coordinates of each row in a block
BLOCK = ROWS * SHORT_COORDINATES
BYTE_ROWS = 8  # rows in a block of bytes
BYTES_AT_ONCE = 32  # coordinates of each row in a block of bytes
BYTE_BLOCK = BYTE_ROWS * BYTES_AT_ONCE
QUERIES_AT_ONCE, BLOCKS_AT_ONCE = 4, 2  # of `add_products`: as many sums as registers hold

_intrinsic: Any = intrinsic  # it has no types of its own
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_SIXTEEN_I8, _SIXTEEN_I16, _SIXTEEN_I32 = (ir.VectorType(t, 16) for t in (_I8, _I16, _I32))
_EIGHT_I32 = ir.VectorType(_I32, 8)
_PAIRS_AT_ONCE = 2  # coordinates of a step of `add_products`, in pairs


def pack_blocks(codes: NDArray[np.int16], starts: NDArray[np.int64]) -> NDArray[np.int16]:
    """Lay out the first 8 coordinates of each row as `near_lanes` reads them.

    Args:
        codes: (n, at least 8).
        starts: (groups + 1,) where each group of rows begins in `codes`; a group begins a block of its own.

    Returns:
        (blocks, 256) int16: of each block first coordinates 0 and 1 of all its 32 rows, row by row, then 2 and 3, …
    """
    counts, first_blocks = np.diff(starts), block_starts(starts)
    blocks = np.zeros((int(first_blocks[-1]), BLOCK), np.int16)
    group = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(codes)) - starts[group]
    pairs = codes[:, :SHORT_COORDINATES].reshape(-1, SHORT_COORDINATES // 2, 2)
    parts = blocks.reshape(-1, SHORT_COORDINATES // 2, ROWS, 2)
    parts[first_blocks[group] + place // ROWS, :, place % ROWS] = pairs
    return blocks


def block_starts(starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """First block of each group (groups + 1,), and their count."""
    return np.concatenate([[0], np.cumsum(-(-np.diff(starts) // ROWS))]).astype(np.int64)


@_intrinsic
def near_lanes(_: Any, blocks: Any, block: Any, query: Any, limit: Any) -> tuple[Any, Callable[..., Any]]:
    """near_lanes(blocks, block, query, limit): bit r is set when row r of a block is no farther than `limit`.

    Args:
        blocks: as `pack_blocks` makes them.
        query: int16 array whose first 8 numbers are the query's coordinates; all coordinates are in [0, 8191], so that
            the sum of 8 squared differences fits in 31 bits.
        limit: int32, squared distance over the 8 coordinates.
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        first = b.gep(_pointer(context, b, signature, arguments, 0), [b.mul(arguments[1], ir.Constant(_I64, BLOCK))])
        pairs = b.bitcast(_pointer(context, b, signature, arguments, 2), _I32.as_pointer())
        sums = [ir.Constant(_EIGHT_I32, [0] * 8)] * 4
        for pair in range(4):  # two coordinates at a time, of 4 × 8 rows
            wanted = b.bitcast(_repeated(b, b.load(b.gep(pairs, [_I32(pair)]), align=2)), _SIXTEEN_I16)
            for part in range(4):
                here = b.bitcast(b.gep(first, [_I32(pair * 64 + part * 16)]), _SIXTEEN_I16.as_pointer())
                sums[part] = b.add(sums[part], _squares(b, b.load(here, align=2), wanted))
        limits, found = _repeated(b, arguments[3]), _I32(0)
        for part in range(4):
            bits = b.zext(b.bitcast(b.icmp_signed("<=", sums[part], limits), _I8), _I32)
            found = b.or_(found, b.shl(bits, _I32(8 * part)))
        return found

    return types.uint32(blocks, types.int64, query, types.int32), generate


def byte_blocks(row_count: int, coordinates: int) -> NDArray[np.uint8]:
    """Room for the codes of so many rows, as `add_bytes` reads them; coordinates are a multiple of 32.

    Returns:
        (coordinates / 32, blocks, 16, 8, 2) zeros: of each block of 8 rows coordinates 0 and 1 of all rows, then 2 and 3, …
    """
    return np.zeros(
        (coordinates // BYTES_AT_ONCE, -(-row_count // BYTE_ROWS), BYTES_AT_ONCE // 2, BYTE_ROWS, 2), np.uint8
    )


def put_bytes(blocks: NDArray[np.uint8], start: int, codes: NDArray[np.int16]) -> None:
    """Put codes (n, coordinates) in [0, 255] into `blocks`, as those of the rows from `start` on."""
    rows = np.arange(start, start + len(codes))
    pairs = codes.reshape(len(codes), len(blocks), BYTES_AT_ONCE // 2, 2)
    blocks[:, rows // BYTE_ROWS, :, rows % BYTE_ROWS] = pairs


@_intrinsic
def add_bytes(
    _: Any, blocks: Any, place: Any, query: Any, start: Any, sums: Any, at: Any
) -> tuple[Any, Callable[..., Any]]:
    """add_bytes(blocks, place, query, start, sums, at): add 32 squared differences of each of 8 rows to 8 int32 of `sums` from `at` on.

    With a start of 0 these begin anew.

    Args:
        blocks: as `byte_blocks` makes them; the block begins at `place` in a flat view.
        query: int16 array whose 32 numbers from `start` on are the query's, in [0, 255].
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        first = b.gep(_pointer(context, b, signature, arguments, 0), [arguments[1]])
        wanted = b.gep(_pointer(context, b, signature, arguments, 2), [arguments[3]])
        pairs = b.bitcast(wanted, _I32.as_pointer())
        eight = b.gep(_pointer(context, b, signature, arguments, 4), [arguments[5]])
        sums = b.bitcast(eight, _EIGHT_I32.as_pointer())
        zeros = ir.Constant(_EIGHT_I32, [0] * 8)
        total = b.select(b.icmp_signed("==", arguments[3], ir.Constant(_I64, 0)), zeros, b.load(sums, align=4))
        for pair in range(BYTES_AT_ONCE // 2):
            here = b.bitcast(b.gep(first, [_I32(pair * 2 * BYTE_ROWS)]), _SIXTEEN_I8.as_pointer())
            coordinates = b.zext(b.load(here, align=1), _SIXTEEN_I16)
            both = b.bitcast(_repeated(b, b.load(b.gep(pairs, [_I32(pair)]), align=2)), _SIXTEEN_I16)
            total = b.add(total, _squares(b, coordinates, both))
        b.store(total, sums, align=4)
        return context.get_dummy_value()

    return types.void(blocks, types.int64, query, types.int64, sums, types.int64), generate


@_intrinsic
def add_products(
    _: Any,
    blocks: Any,
    place: Any,
    queries: Any,
    start: Any,
    stride: Any,
    own: Any,
    squares: Any,
    first: Any,
    sums: Any,
) -> tuple[Any, Callable[..., Any]]:
    """add_products(blocks, place, queries, start, stride, own, squares, first, sums): 32 products each of 16 rows and 4 queries
    are added to 64 sums.

    Args:
        blocks: as `byte_blocks` makes them; two blocks, one behind the other, begin at `place` in a flat view.
        queries: int16 array; 32 numbers each from `start`, `start + stride`, … on are those of a query.
        own, squares, first: sums begin anew, as what is `own` of a row (16,) and of a query from `first` on; both int32. With a
            `first` of -1 they go on.
        sums: (4, 2, 8) int32: by query, block and row.
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        first = b.gep(_pointer(context, b, signature, arguments, 0), [arguments[1]])
        numbers = _pointer(context, b, signature, arguments, 2)
        starts = [
            b.add(arguments[3], b.mul(arguments[4], ir.Constant(_I64, query))) for query in range(QUERIES_AT_ONCE)
        ]
        pairs = [b.bitcast(b.gep(numbers, [start]), _I32.as_pointer()) for start in starts]
        rows_own = b.bitcast(_pointer(context, b, signature, arguments, 5), _EIGHT_I32.as_pointer())
        goes_on = b.icmp_signed("<", arguments[7], ir.Constant(_I64, 0))
        queries_own = b.gep(
            _pointer(context, b, signature, arguments, 6), [b.select(goes_on, ir.Constant(_I64, 0), arguments[7])]
        )
        eights = b.bitcast(_pointer(context, b, signature, arguments, 8), _EIGHT_I32.as_pointer())
        places = [b.gep(eights, [_I32(number)]) for number in range(QUERIES_AT_ONCE * BLOCKS_AT_ONCE)]
        # A true loop: where LLVM sees all sums at once, it orders the additions anew and keeps what it needs again in memory.
        before, loop, after = b.block, b.append_basic_block("pairs"), b.append_basic_block("added")
        anew = [
            b.add(
                b.load(b.gep(rows_own, [_I32(block)]), align=4), _repeated(b, b.load(b.gep(queries_own, [_I32(query)])))
            )
            for query in range(QUERIES_AT_ONCE)
            for block in range(BLOCKS_AT_ONCE)
        ]
        begun = [b.select(goes_on, b.load(eight, align=4), new) for eight, new in zip(places, anew, strict=True)]
        b.branch(loop)
        b.position_at_end(loop)
        pair, totals = b.phi(_I64), [b.phi(_EIGHT_I32) for _ in begun]
        pair.add_incoming(_I64(0), before)
        added: list[Any] = list(totals)
        for step in range(_PAIRS_AT_ONCE):
            here = b.add(pair, _I64(step))
            rows = []
            for block in range(BLOCKS_AT_ONCE):
                at = b.add(b.mul(here, _I64(2 * BYTE_ROWS)), _I64(block * BYTE_BLOCK))
                rows.append(
                    b.zext(b.load(b.bitcast(b.gep(first, [at]), _SIXTEEN_I8.as_pointer()), align=1), _SIXTEEN_I16)
                )
            for query in range(QUERIES_AT_ONCE):
                both = b.bitcast(_repeated(b, b.load(b.gep(pairs[query], [here]), align=2)), _SIXTEEN_I16)
                for block in range(BLOCKS_AT_ONCE):
                    number = query * BLOCKS_AT_ONCE + block
                    added[number] = b.add(added[number], _products(b, rows[block], both))
        following = b.add(pair, _I64(_PAIRS_AT_ONCE))
        pair.add_incoming(following, loop)
        for total, begin, end in zip(totals, begun, added, strict=True):
            total.add_incoming(begin, before)
            total.add_incoming(end, loop)
        b.cbranch(b.icmp_signed("<", following, _I64(BYTES_AT_ONCE // 2)), loop, after)
        b.position_at_end(after)
        for eight, total in zip(places, added, strict=True):
            b.store(total, eight, align=4)
        return context.get_dummy_value()

    return types.void(blocks, types.int64, queries, types.int64, types.int64, own, squares, types.int64, sums), generate


@_intrinsic
def bits_within(_: Any, sums: Any, at: Any, limit: Any) -> tuple[Any, Callable[..., Any]]:
    """bits_within(sums, at, limit): bit r is set when number `at` + r of `sums`, int32, is at most `limit`; r < 8."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        eight = b.gep(_pointer(context, b, signature, arguments, 0), [arguments[1]])
        sums = b.load(b.bitcast(eight, _EIGHT_I32.as_pointer()), align=4)
        return b.zext(b.bitcast(b.icmp_signed("<=", sums, _repeated(b, arguments[2])), _I8), _I32)

    return types.uint32(sums, types.int64, types.int32), generate


@_intrinsic
def first_bit(_: Any, bits: Any) -> tuple[Any, Callable[..., Any]]:
    """first_bit(bits): place of the lowest bit that is set in a uint32 that is not 0."""
    return types.uint32(types.uint32), lambda _c, b, _s, arguments: b.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))


@_intrinsic
def prefetch(_: Any, array: Any, place: Any) -> tuple[Any, Callable[..., Any]]:
    """prefetch(array, place): ask for the memory at a place in a flat view of `array`, and go on without it."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        address = b.bitcast(b.gep(_pointer(context, b, signature, arguments, 0), [arguments[1]]), _I8.as_pointer())
        signature_of_call = ir.FunctionType(ir.VoidType(), [address.type, _I32, _I32, _I32])
        call = b.module.declare_intrinsic("llvm.prefetch", [address.type], signature_of_call)
        b.call(call, [address, _I32(0), _I32(3), _I32(1)])  # to read, keep in all caches, data
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any, number: int) -> Any:
    """Where the data of an array argument begin."""
    return context.make_array(signature.args[number])(context, builder, arguments[number]).data


def _products(builder: Any, one: Any, other: Any) -> Any:
    """Of twice sixteen 16-bit numbers: the sums of the products of two neighbours each, eight 32-bit numbers."""
    products = builder.mul(builder.sext(one, _SIXTEEN_I32), builder.sext(other, _SIXTEEN_I32))
    even, odd = (builder.shuffle_vector(products, products, _places(range(start, 16, 2))) for start in (0, 1))
    return builder.add(even, odd)


def _squares(builder: Any, one: Any, other: Any) -> Any:
    """The same of the squares of their differences."""
    difference = builder.sub(one, other)
    return _products(builder, difference, difference)


def _repeated(builder: Any, value: Any) -> Any:
    """Eight times the same 32-bit number."""
    undefined = ir.Constant(_EIGHT_I32, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(undefined, value, _I32(0)), undefined, _places([0] * 8))


def _places(numbers: Any) -> Any:
    places = list(numbers)
    return ir.Constant(ir.VectorType(_I32, len(places)), places)
