-- Makes a value stale: it may be served for as long as stale values may, and the next reader refreshes it.
--
-- Guarantee: every load that began before is void, as after a DEL; what it would store is older than this. The guard
-- of a writer stands: its row will be newer. What the source does not have yet stays until it has.
--
-- KEYS[1]  the entry
--
-- Returns 1 when there was a value or a load to void, 0 when not
-- @include entry-header
-- @include needs-no-room

local key = KEYS[1]
local header = read_header(key)
if header == nil or is_foreign(header) then return redis.call('UNLINK', key) end
if is_guarded(header) then return 0 end
if is_unflushed(header) then
  needs_no_room(key)
  doom(key, header)
  return 1
end
if not is_value(header) then return redis.call('UNLINK', key) end

local stored = struct.unpack('>I6', header:sub(13, 18))
local fresh = struct.unpack('>I5', redis.call('GETRANGE', key, 37, 41))
-- A reader's own idea of this server's time may lag by some milliseconds, and it must find the value stale all the same.
local now = now_ms() - 50
-- As needs_no_room, but this one has a life: it stays what it is.
local life_ms = redis.call('PTTL', key)
if life_ms >= 0 then redis.call('PEXPIRE', key, math.max(1, life_ms)) else redis.call('PERSIST', key) end
write_lease(key, NO_TOKEN, 0)
if stored + fresh > now then redis.call('SETRANGE', key, 12, struct.pack('>I6', now - fresh)) end
return 1
