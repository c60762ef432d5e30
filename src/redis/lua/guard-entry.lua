-- Announces a writer, before it changes the source; or keeps its announcement alive.
--
-- Guarantee: whatever stood here is gone, with every lease on it; until all writers are done, or are not heard of
-- for the life of their guard, nothing is filled.
--
-- KEYS[1]  the entry
-- KEYS[2]  of an entry that is written behind: the hash of what is unflushed in its shard
-- ARGV[1]  token of the writer, 8 bytes
-- ARGV[2]  life of its guard from now, ms
-- ARGV[3]  '1': only if the guard still stands. Else ''
--
-- Returns 1 guarded, 0 the guard was lost, 2 nothing was done: the source does not have this entry yet
-- @include entry-header
-- @include guard

local key, token, life_ms, renewal = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local now = now_ms()
local header = read_header(key)
if header ~= nil and not is_foreign(header) and is_unflushed(header) then return 2 end
-- Deleted behind our back: what waits would be applied after this writer's row, and take its place.
if header == nil and KEYS[2] and redis.call('HEXISTS', KEYS[2], key) == 1 then return 2 end
local standing = header ~= nil and not is_foreign(header) and is_guarded(header)
local guard = standing and read_guard(redis.call('GET', key), now) or new_guard()
local index = find_writer(guard, token)

if index == nil then
  if renewal then return 0 end
  -- A guard that only the lost have left tells that their outcome is unknown; the new writer's row settles it no more.
  if has_writers(guard) then guard.overlapped = true end
else
  remove_writer(guard, index)
end
add_writer(guard, token, now + life_ms)
write_guard(key, guard, now)
return 1
