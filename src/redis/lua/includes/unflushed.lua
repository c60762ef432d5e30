-- A VALUE that the source does not have yet is marked in its fourth byte. Where its refresh lease would be it has the
-- stream id of its last operation, and it has no life: it is neither refreshed, nor evicted, nor dropped.
local UNFLUSHED = 1
local COUNTER = 2
local COUNTER_END = 64 -- last byte, counted from 0, of a counter's frame
local VALUE_BYTES = 46 -- a frame without its payload

local function is_unflushed(header) return is_value(header) and header:byte(4) % 2 == UNFLUSHED end
local function is_counter(header) return is_value(header) and header:byte(4) >= COUNTER end
local function stored_at(header) return struct.unpack('>I6', header:sub(13, 18)) end

local function split_id(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

-- A marked frame: `frame` is a VALUE whose time of storing and lease are still to be written.
local function marked(frame, kind, stored_ms, id_ms, id_seq)
  return frame:sub(1, 3) .. string.char(kind) .. frame:sub(5, 12) .. struct.pack('>I6', stored_ms)
    .. struct.pack('>I6I8', id_ms, id_seq) .. frame:sub(33)
end
