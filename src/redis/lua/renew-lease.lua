-- Keeps a lease while its loader runs.
--
-- Guarantee: extends only the caller's own lease; a lost one is never taken back.
--
-- KEYS[1]  the entry
-- ARGV[1]  token under which the lease was taken
-- ARGV[2]  life of the lease from now, ms
--
-- Returns 1 renewed, 0 lost
-- @include entry-header

local key, token, lease_ms = KEYS[1], ARGV[1], tonumber(ARGV[2])
local header = read_header(key)
if header == nil or is_foreign(header) then return 0 end
if holds_as_loader(header, token) then return redis.call('PEXPIRE', key, lease_ms) end
if holds_as_refresher(header, token) then
  write_lease(key, token, now_ms() + lease_ms)
  outlast(key, lease_ms)
  return 1
end
return 0
