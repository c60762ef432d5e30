-- A VALUE that the source does not have yet is marked in its fourth byte. Where its refresh lease would be it has the
-- stream id of its last operation, and it has no life: it is never evicted.
local UNFLUSHED = 1
local COUNTER = 2
local FRAME_BYTES = 58 -- a frame without tags and payload
local COUNTER_BYTES = 19 -- the payload of a number, and the number once more: no script can check a CRC

local function is_counter(header) return is_value(header) and math.floor(header:byte(4) / COUNTER) % 2 == 1 end
local function stored_at(header) return struct.unpack('>I6', header:sub(13, 18)) end
local function has_tags(frame) return math.floor(frame:byte(37) / 64) % 2 == 1 end

-- Where the payload of a frame begins, counted from 1.
local function payload_start(frame)
  if not has_tags(frame) then return FRAME_BYTES + 1 end
  return FRAME_BYTES + 3 + struct.unpack('>I2', frame:sub(FRAME_BYTES + 1, FRAME_BYTES + 2))
end

local function number_in(frame) return struct.unpack('<d', frame:sub(-8)) end

local function is_whole_counter(frame)
  local is_long = #frame >= FRAME_BYTES + COUNTER_BYTES and is_counter(frame:sub(1, HEADER_END + 1))
  return is_long and #frame == payload_start(frame) - 1 + COUNTER_BYTES and frame:sub(-8) == frame:sub(-16, -9)
end

local function split_id(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

-- A marked frame: `frame` is a VALUE whose time of storing and lease are still to be written.
local function marked(frame, kind, stored_ms, id_ms, id_seq)
  return frame:sub(1, 3) .. string.char(kind) .. frame:sub(5, 12) .. struct.pack('>I6', stored_ms)
    .. struct.pack('>I6I8', id_ms, id_seq) .. frame:sub(33)
end
