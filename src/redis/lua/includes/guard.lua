-- The guard of writers on an entry, as codec/guard-frame.ts writes it. It is a HOLD with purpose 2:
--   1-4    the header
--   5-12   highest row version of the writers that are done, a double
--   13     flags: 1 writers overlapped, 2 there is a highest version, 4 the outcome of one is unknown
--   14-    of each writer that is not done: its token, 8 bytes, and until when it is waited for, u48 ms; in the order of that
--
-- The writers stay the bytes that they are: a thousand may come for one entry at once, each reads what the others left there, and
-- a table of them would take Redis half a second in all.
local OVERLAPPED = 1
local HAS_VERSION = 2
local UNKNOWN = 4
local WRITERS_AT = 14
local WRITER_BYTES = 14

local function until_of(writers, at) return (struct.unpack('>I6', writers, at + 8)) end

-- A writer that is not heard of any more may have written or not, and may yet: its outcome is unknown for good.
local function read_guard(bytes, now)
  local flags = bytes:byte(13)
  local guard = { version = struct.unpack('>d', bytes:sub(5, 12)) }
  guard.overlapped = flags % 2 >= OVERLAPPED
  guard.has_version = flags % 4 >= HAS_VERSION
  guard.unknown = flags % 8 >= UNKNOWN
  local last = #bytes - WRITER_BYTES + 1
  local at = WRITERS_AT
  while at <= last and until_of(bytes, at) <= now do at = at + WRITER_BYTES end
  if at > WRITERS_AT then guard.unknown = true end
  guard.writers = bytes:sub(at, #bytes - (#bytes - WRITERS_AT + 1) % WRITER_BYTES)
  return guard
end

local function new_guard()
  return { version = 0, writers = '', overlapped = false, has_version = false, unknown = false }
end

local function has_writers(guard) return #guard.writers >= WRITER_BYTES end

-- Where its record begins, or nil.
local function find_writer(guard, token)
  local at = guard.writers:find(token, 1, true)
  while at ~= nil and at % WRITER_BYTES ~= 1 do at = guard.writers:find(token, at + 1, true) end
  return at
end

local function remove_writer(guard, at)
  guard.writers = guard.writers:sub(1, at - 1) .. guard.writers:sub(at + WRITER_BYTES)
end

local function add_writer(guard, token, until_ms)
  local writers = guard.writers
  local at = #writers + 1
  while at > WRITER_BYTES and until_of(writers, at - WRITER_BYTES) > until_ms do at = at - WRITER_BYTES end
  guard.writers = writers:sub(1, at - 1) .. token .. struct.pack('>I6', until_ms) .. writers:sub(at)
end

local function write_guard(key, guard, now)
  local flags = (guard.overlapped and OVERLAPPED or 0) + (guard.has_version and HAS_VERSION or 0) + (guard.unknown and UNKNOWN or 0)
  local bytes = '\192\1\1\2' .. struct.pack('>d', guard.version) .. string.char(flags) .. guard.writers
  local last = until_of(guard.writers, #guard.writers - WRITER_BYTES + 1)
  -- A full server refuses SET to a script that has written nothing yet, and a guard must pass where a DEL does.
  redis.call('DEL', key)
  redis.call('SET', key, bytes, 'PX', math.max(1, last - now))
end
