-- Removes what was stored before a time and is nobody's present business: what cleaning finds page by page.
--
-- Guarantee: touches only entries. A value stored later stays, and so do the lease of a loader and the guard of a
-- writer, which end by themselves.
--
-- KEYS[1]  the entry
-- ARGV[1]  the time, ms
--
-- Returns 1 removed, 0 left
-- @include entry-header

local key, before_ms = KEYS[1], tonumber(ARGV[1])
local header = read_header(key)
if header == nil or is_foreign(header) or is_hold(header) or is_guarded(header) then return 0 end
if is_unflushed(header) then return 0 end
if is_value(header) then
  if struct.unpack('>I6', header:sub(13, 18)) >= before_ms then return 0 end
  -- Somebody loads what will take its place, and would find the lease gone.
  if lease_left_ms(header, now_ms()) > 0 then return 0 end
end
return redis.call('UNLINK', key)
