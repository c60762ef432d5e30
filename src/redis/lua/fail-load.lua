-- Tells the fleet that a load failed, so that nobody repeats it for a while.
--
-- Guarantee: touches only the caller's own lease. A value that was being refreshed stays, and backs off; but it goes when
-- the load found something newer that does not fit the cache.
--
-- KEYS[1]  the entry
-- ARGV[1]  token under which the lease was taken
-- ARGV[2]  the FAILED frame
-- ARGV[3]  how long nobody tries again, ms
--
-- Returns 1 marked, 0 the lease was lost
-- @include entry-header

local key, token, frame, life_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local header = read_header(key)
if header == nil or is_foreign(header) then return 0 end
local is_uncacheable = frame:byte(4) == 2
if holds_as_loader(header, token) or (is_uncacheable and holds_as_refresher(header, token)) then
  redis.call('SET', key, frame, 'PX', life_ms)
  return 1
end
if holds_as_refresher(header, token) then
  write_lease(key, NO_TOKEN, now_ms() + life_ms)
  return 1
end
return 0
