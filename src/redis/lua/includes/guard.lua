-- The guard of writers on an entry, as codec/guard-frame.ts writes it. It is a HOLD with purpose 2:
--   1-4    the header
--   5-12   highest row version of the writers that are done, a double
--   13     flags: 1 writers overlapped, 2 there is a highest version, 4 the outcome of one is unknown
--   14-    of each writer that is not done: its token, 8 bytes, and until when it is waited for, u48 ms
local OVERLAPPED = 1
local HAS_VERSION = 2
local UNKNOWN = 4
local WRITER_BYTES = 14

-- A writer that is not heard of any more may have written or not, and may yet: its outcome is unknown for good.
local function read_guard(bytes, now)
  local flags = bytes:byte(13)
  local guard = { version = struct.unpack('>d', bytes:sub(5, 12)), writers = {}, overlapped = false, has_version = false, unknown = false }
  guard.overlapped = flags % 2 >= OVERLAPPED
  guard.has_version = flags % 4 >= HAS_VERSION
  guard.unknown = flags % 8 >= UNKNOWN
  for at = 14, #bytes - WRITER_BYTES + 1, WRITER_BYTES do
    local writer = { token = bytes:sub(at, at + 7), until_ms = struct.unpack('>I6', bytes:sub(at + 8, at + 13)) }
    if writer.until_ms > now then table.insert(guard.writers, writer) else guard.unknown = true end
  end
  return guard
end

local function new_guard()
  return { version = 0, writers = {}, overlapped = false, has_version = false, unknown = false }
end

local function find_writer(guard, token)
  for index, writer in ipairs(guard.writers) do
    if writer.token == token then return index end
  end
  return nil
end

local function write_guard(key, guard, now)
  local flags = (guard.overlapped and OVERLAPPED or 0) + (guard.has_version and HAS_VERSION or 0) + (guard.unknown and UNKNOWN or 0)
  local parts = { '\192\1\1\2', struct.pack('>d', guard.version), string.char(flags) }
  local last = 0
  for _, writer in ipairs(guard.writers) do
    table.insert(parts, writer.token .. struct.pack('>I6', writer.until_ms))
    if writer.until_ms > last then last = writer.until_ms end
  end
  redis.call('SET', key, table.concat(parts), 'PX', math.max(1, last - now))
end
