-- Stores what a load returned.
--
-- Guarantee: stored only while the entry holds exactly what this loader put there. A DEL, an eviction, an expiry, a
-- flush, a failover without the lease or another loader's lease in between: refused. Absence is never permission.
--
-- KEYS[1]  the entry
-- ARGV[1]  token under which the lease was taken
-- ARGV[2]  the VALUE frame; its time of storing is written here, from Redis' own clock
-- ARGV[3]  life of the entry, ms
--
-- Returns 1 stored, 0 refused
-- @include entry-header

local key, token, frame, life_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local header = read_header(key)
if header == nil or is_foreign(header) then return 0 end
if not (holds_as_loader(header, token) or holds_as_refresher(header, token)) then return 0 end

redis.call('SET', key, frame:sub(1, 12) .. struct.pack('>I6', now_ms()) .. frame:sub(19), 'PX', life_ms)
return 1
