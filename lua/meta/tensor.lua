---@meta baton.tensor
-- Host tensors: `local tensor = require "baton.tensor"`. Elements, dimensions and positions count from 1. Every method
-- is a function of the module too: `t:exp()` is `tensor.exp(t)`.

---@alias baton.dtype "f64"|"f32"|"f16"|"bf16"|"i64"|"i32"|"i16"|"i8"|"u64"|"u32"|"u16"|"u8"|"bool"

---The sizes of a tensor, one object for each tensor; read-only. `#`, `pairs`, `ipairs` and `table.unpack` work on it, and
---`==` compares it with any list: `t.shape == {2, 3}`.
---@alias baton.shape integer[]

---A tensor: a view of elements, which it may share with other tensors. Elements of bool are booleans in Lua; those of u64
---are integers of the same bits (`math.ult` compares them). Reading and writing elements waits for unfinished runs that
---use them; the access raises the error of a run that failed meanwhile.
---@class baton.tensor
---@field dtype baton.dtype
---@field shape baton.shape
---@field ndim integer number of dimensions, 0 to 8
---@field numel integer number of elements
---@field nbytes integer bytes of all elements
---@field strides integer[] elements from one index to the next, for each dimension
---@operator add(baton.tensor|number): baton.tensor
---@operator sub(baton.tensor|number): baton.tensor
---@operator mul(baton.tensor|number): baton.tensor
---@operator div(baton.tensor|number): baton.tensor
---@operator unm: baton.tensor
local tensor = {}

-- Makers -------------------------------------------------------------------------------------------------------------

---A tensor whose elements are undefined. A size of 0 is legal; `out_of_memory` where the machine has no room.
---@param dtype baton.dtype
---@param shape integer[]|integer one integer: one dimension
---@return baton.tensor
function tensor.empty(dtype, shape) end

---A tensor of zeros (of false).
---@param dtype baton.dtype
---@param shape integer[]|integer
---@return baton.tensor
function tensor.zeros(dtype, shape) end

---A tensor whose elements all are `value`; `out_of_range` if the type cannot hold it.
---@param dtype baton.dtype
---@param shape integer[]|integer
---@param value number|boolean
---@return baton.tensor
function tensor.full(dtype, shape, value) end

---The elements 0, 1, 2, … in C order; `out_of_range` if the type cannot hold the last one.
---@param dtype baton.dtype
---@param shape integer[]|integer
---@return baton.tensor
function tensor.arange(dtype, shape) end

---Random elements between `lo` and `hi` (0 and 1): for floats hi is excluded (rounding to the type may reach it), for
---integers included. Element i depends on `seed` (0) and i only, with the same bits on every machine.
---@param dtype baton.dtype
---@param shape integer[]|integer
---@param options? { lo: number?, hi: number?, seed: integer? }
---@return baton.tensor
function tensor.uniform(dtype, shape, options) end

---Random elements of a normal distribution with `mean` (0) and standard deviation `std` (1), as reproducible as
---tensor.uniform. Float types.
---@param dtype baton.dtype
---@param shape integer[]|integer
---@param options? { mean: number?, std: number?, seed: integer? }
---@return baton.tensor
function tensor.normal(dtype, shape, options) end

---A tensor of nested lists of numbers or booleans, or of a single one. Without `dtype` booleans give bool, integers i64,
---and one float among them f64.
---@param list table|number|boolean
---@param dtype? baton.dtype
---@return baton.tensor
function tensor.from(list, dtype) end

---Reads a .npy file of any version, in C or Fortran order and either byte order (`V2` is bf16), or one array of an .npz
---archive. The result is in C order. A malformed file raises `bad_file` and says where and why.
---@param path string
---@param key? string the array of an .npz archive; not needed if there is only one
---@return baton.tensor
function tensor.load(path, key) end

-- The object ---------------------------------------------------------------------------------------------------------

---Gives the tensor back; its elements go with the last view of them. Closing twice is legal; any other use of a closed
---tensor raises `closed`.
function tensor:close() end

---Writes a .npy file in C order (bf16 as `<V2`): to a temporary file beside it, which then takes the name. `io_error`
---leaves what was there before.
---@param path string
function tensor:save(path) end

---The size of a dimension.
---@param dim integer
---@return integer
function tensor:size(dim) end

-- Views: nothing is copied -------------------------------------------------------------------------------------------

---`count` elements of a dimension, from `first` on.
---@param dim integer
---@param first integer
---@param count integer
---@return baton.tensor
function tensor:slice(dim, first, count) end

---A tile: a first and a count for every dimension.
---@param first1 integer
---@param count1 integer
---@param ... integer
---@return baton.tensor
function tensor:view(first1, count1, ...) end

---Element `i` of a dimension, which goes away.
---@param dim integer
---@param i integer
---@return baton.tensor
function tensor:select(dim, i) end

---The same elements under another shape; contiguous tensors only.
---@param shape integer[]|integer
---@return baton.tensor
function tensor:reshape(shape) end

---Two dimensions exchanged.
---@param d1 integer
---@param d2 integer
---@return baton.tensor
function tensor:transpose(d1, d2) end

-- Elements -----------------------------------------------------------------------------------------------------------

---One element, by an index for each dimension.
---@param ... integer
---@return number|boolean
function tensor:get(...) end

---Changes one element; `out_of_range` if the type cannot hold the value.
---@param value number|boolean
---@param ... integer an index for each dimension
function tensor:set(value, ...) end

---The elements as nested lists; a number or boolean for a tensor without dimensions.
---@return table|number|boolean
function tensor:totable() end

---A contiguous copy.
---@return baton.tensor
function tensor:clone() end

---A contiguous copy of another type. Floats become integers towards zero and stop at the ends of the type (NaN becomes
---0); integers become narrower ones modulo 2^bits; to bool means "is not zero".
---@param dtype baton.dtype
---@return baton.tensor
function tensor:cast(dtype) end

---Copies all elements of a tensor of the same shape, converted as by cast; the two may overlap. Returns the tensor.
---@param from baton.tensor
---@return baton.tensor
function tensor:copy(from) end

---Sets all elements. Returns the tensor.
---@param value number|boolean
---@return baton.tensor
function tensor:fill(value) end

-- Arithmetic: element by element, with broadcasting ------------------------------------------------------------------
-- Types promote f64 > f32 > (bf16, f16: computed in f32; one with the other gives f32) > integers; of two integers the
-- smallest type that holds both. A Lua number takes the tensor's type and never promotes; one that does not fit raises
-- `out_of_range`.

---`a + b`. Integers wrap around.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.add(a, b) end

---`a - b`. Integers wrap around.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.sub(a, b) end

---`a * b`. Integers wrap around.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.mul(a, b) end

---`a / b`. The quotient of integers is cut towards zero; a divisor of 0 then raises `invalid_argument`.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.div(a, b) end

---`-t`.
---@return baton.tensor
function tensor:neg() end

---Adds `b` in place; it must promote to the tensor's type and broadcast to its shape. Returns the tensor.
---@param b baton.tensor|number
---@return baton.tensor
function tensor:add_(b) end

---Subtracts `b` in place. Returns the tensor.
---@param b baton.tensor|number
---@return baton.tensor
function tensor:sub_(b) end

---Multiplies by `b` in place. Returns the tensor.
---@param b baton.tensor|number
---@return baton.tensor
function tensor:mul_(b) end

---Divides by `b` in place. Returns the tensor.
---@param b baton.tensor|number
---@return baton.tensor
function tensor:div_(b) end

---The larger of each pair; NaN wins.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.maximum(a, b) end

---The smaller of each pair; NaN wins.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.minimum(a, b) end

---Bools: `a < b`.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.lt(a, b) end

---Bools: `a <= b`.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.le(a, b) end

---Bools: `a == b`.
---@param a baton.tensor|number
---@param b baton.tensor|number
---@return baton.tensor
function tensor.eq(a, b) end

---Absolute values.
---@return baton.tensor
function tensor:abs() end

---e to the power of each element; f64 for integers.
---@return baton.tensor
function tensor:exp() end

---Natural logarithms; f64 for integers.
---@return baton.tensor
function tensor:log() end

---Square roots; f64 for integers.
---@return baton.tensor
function tensor:sqrt() end

---`a` where `condition` is true (is not zero), `b` elsewhere; all three broadcast.
---@param condition baton.tensor
---@param a baton.tensor|number|boolean
---@param b baton.tensor|number|boolean
---@return baton.tensor
function tensor.where(condition, a, b) end

---The product of matrices, the last two dimensions; those before broadcast. Float types, in any strides; 16-bit floats
---are computed in f32.
---@param other baton.tensor
---@return baton.tensor
function tensor:matmul(other) end

-- Along a dimension --------------------------------------------------------------------------------------------------

---The sum over a dimension, which goes away unless `keep`; without one the sum of all elements, a number. Floats are
---summed in f64 and keep their type; the sum of integers is i64 or u64.
---@param dim? integer
---@param options? { keep: boolean? }
---@return baton.tensor|number
function tensor:sum(dim, options) end

---The mean; f64 for integers, NaN of no elements. Dimensions as in sum.
---@param dim? integer
---@param options? { keep: boolean? }
---@return baton.tensor|number
function tensor:mean(dim, options) end

---The largest element; NaN wins. Dimensions as in sum.
---@param dim? integer
---@param options? { keep: boolean? }
---@return baton.tensor|number
function tensor:max(dim, options) end

---The smallest element; NaN wins. Dimensions as in sum.
---@param dim? integer
---@param options? { keep: boolean? }
---@return baton.tensor|number
function tensor:min(dim, options) end

---Positions (i64) of the largest elements along a dimension, the first of equal ones; NaN counts as largest.
---@param dim integer
---@param options? { keep: boolean? }
---@return baton.tensor
function tensor:argmax(dim, options) end

---The `k` largest elements along a dimension, largest first, and their positions (i64); equal ones in order of position.
---@param k integer
---@param dim? integer default: the last
---@return baton.tensor values
---@return baton.tensor positions
function tensor:topk(k, dim) end

---exp(t) / sum of exp(t) along a dimension, safe against overflow. Float types.
---@param dim integer
---@return baton.tensor
function tensor:softmax(dim) end

---The elements of a dimension at these positions, in that order; `out_of_range` names one that does not exist.
---@param dim integer
---@param positions baton.tensor|integer[] integers of one dimension
---@return baton.tensor
function tensor:index(dim, positions) end

---Tensors one behind the other: `tensor.concat({a, b, c}, dim)`, or as a method `a:concat({b, c}, dim)` and
---`a:concat(b, dim)`. Types promote; all other sizes are equal.
---@param tensors baton.tensor[]
---@param dim? integer default: 1
---@return baton.tensor
function tensor.concat(tensors, dim) end

-- Comparison ---------------------------------------------------------------------------------------------------------

---How two tensors differ; `tostring` makes a sentence of it.
---@class baton.difference
---@field differ integer number of elements that differ
---@field numel integer of how many
---@field index integer[] of the worst: the one furthest apart; NaN on one side is worse
---@field got number|boolean there
---@field want number|boolean there
---@field distance number |got - want| there

---True if all elements satisfy |t - want| <= atol + rtol * |want|; else false and a report. Shapes must be equal, types
---need not be. Defaults: rtol 1e-5, atol 1e-8, and NaN differs from NaN.
---@param want baton.tensor
---@param options? { rtol: number?, atol: number?, equal_nan: boolean? }
---@return boolean close
---@return baton.difference? difference
function tensor:allclose(want, options) end

return tensor
