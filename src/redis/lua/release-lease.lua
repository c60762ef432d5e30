-- Gives a lease back with nothing to store.
--
-- Guarantee: touches only the caller's own lease.
--
-- KEYS[1]  the entry
-- ARGV[1]  token under which the lease was taken
--
-- Returns 1 released, 0 it was lost already
-- @include entry-header

local key, token = KEYS[1], ARGV[1]
local header = read_header(key)
if header == nil or is_foreign(header) then return 0 end
if holds_as_loader(header, token) then return redis.call('DEL', key) end
if holds_as_refresher(header, token) then
  write_lease(key, NO_TOKEN, 0)
  return 1
end
return 0
