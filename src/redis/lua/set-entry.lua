-- Stores a value that the caller brings, whatever stood there.
--
-- Guarantee: every lease on the entry is void. Refused while writers are at work on it, because their row will be
-- newer, for an entry that the source does not have yet, and for one of a later version of this library.
--
-- KEYS[1]  the entry
-- KEYS[2]  of an entry that is written behind: the hash of what is unflushed in its shard
-- ARGV[1]  the VALUE frame; its time of storing is written here
-- ARGV[2]  life of the entry, ms
--
-- Returns 1 stored, 0 refused
-- @include entry-header

local key, frame, life_ms = KEYS[1], ARGV[1], ARGV[2]
local header = read_header(key)
if header ~= nil and (is_foreign(header) or is_guarded(header) or is_unflushed(header)) then return 0 end
if header == nil and KEYS[2] and redis.call('HEXISTS', KEYS[2], key) == 1 then return 0 end
redis.call('SET', key, frame:sub(1, 12) .. struct.pack('>I6', now_ms()) .. frame:sub(19), 'PX', life_ms)
return 1
