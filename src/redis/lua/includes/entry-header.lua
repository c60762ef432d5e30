-- The header of a stored entry, as codec/frame.ts writes it; offsets here count from 1.
local HEADER_END = 31 -- last byte, counted from 0, of what these scripts read
local VERSION_MOST = 15 -- a larger one is garbage, not a later version
local LEASE_MOST_MS = 60000
local NO_TOKEN = string.rep('\0', 8)

-- GETRANGE, not GET: a lease is taken, kept and given back without copying the value it stands on.
local function header_in(header)
  if type(header) ~= 'string' or #header < 12 or header:byte(1) ~= 192 then return nil end
  local version = header:byte(2)
  if version == 0 or version > VERSION_MOST then return nil end
  return header
end

local function read_header(key) return header_in(redis.pcall('GETRANGE', key, 0, HEADER_END)) end

local function is_foreign(header) return header:byte(2) ~= 1 end
local function is_hold(header) return header:byte(3) == 1 and header:byte(4) == 1 and #header == 12 end
local function is_guarded(header) return header:byte(3) == 1 and header:byte(4) == 2 and #header >= 13 end
local function is_failed(header) return header:byte(3) == 2 end
local function is_value(header) return header:byte(3) == 3 and #header == HEADER_END + 1 end
-- The source does not have it yet: it is neither refreshed, nor replaced by what a load brings, nor dropped.
local function is_unflushed(header) return is_value(header) and header:byte(4) % 2 == 1 end

-- Declared wrong while it was unflushed: it goes as soon as the source has it. Read by settle-entries.
local DOOMED = 4
local function is_doomed(header) return math.floor(header:byte(4) / DOOMED) % 2 == 1 end
local function doom(key, header)
  if not is_doomed(header) then redis.call('SETRANGE', key, 3, string.char(header:byte(4) + DOOMED)) end
end

local function token_of(header) return header:sub(5, 12) end
local function lease_token_of(header) return header:sub(19, 26) end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A lease lasts a minute at most, so a longer one is damage or a clock set back: it counts as free.
local function lease_left_ms(header, now)
  local left = struct.unpack('>I6', header:sub(27, 32)) - now
  if left > LEASE_MOST_MS then return 0 end
  return left
end

local function write_lease(key, token, until_ms)
  redis.call('SETRANGE', key, 18, token .. struct.pack('>I6', until_ms))
end

-- The entry must outlast the lease on it, or a fill would find nothing to replace.
local function outlast(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end

local function holds_as_loader(header, token)
  return is_hold(header) and token_of(header) == token
end

local function holds_as_refresher(header, token)
  return is_value(header) and lease_token_of(header) == token
end
