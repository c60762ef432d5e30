-- A writer is done: stores its row if it is known to be the latest, else leaves nothing behind.
--
-- Guarantee: a row is stored only by a writer that was alone from its guard to here, or, of writers that overlapped,
-- by the last one and only with the highest version of them all. In every other case, also when the guard is gone,
-- the entry is deleted: absence is never permission, and the order of two commits is never guessed.
--
-- KEYS[1]  the entry
-- ARGV[1]  token of the writer
-- ARGV[2]  the VALUE frame of its row, or '' when there is none to store
-- ARGV[3]  life of the entry, ms
-- ARGV[4]  version of the row, or ''
-- ARGV[5]  '1': what became of the write is not known. Else ''
--
-- Returns 1 stored, 2 other writers are not done, 0 deleted
-- @include entry-header
-- @include guard

local key, token, frame, life_ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local version, unknown = tonumber(ARGV[4]), ARGV[5] == '1'
local now = now_ms()
local header = read_header(key)
-- Written behind since the guard was lost: what it shows is newer.
if header ~= nil and not is_foreign(header) and is_unflushed(header) then return 0 end
local standing = header ~= nil and not is_foreign(header) and is_guarded(header)
local guard = standing and read_guard(redis.call('GET', key), now) or new_guard()
local index = find_writer(guard, token)

if index == nil then
  -- Others are at work, and this one's row is of a time that they know nothing of.
  if has_writers(guard) then
    guard.unknown = true
    write_guard(key, guard, now)
    return 2
  end
  redis.call('DEL', key)
  return 0
end
remove_writer(guard, index)

if has_writers(guard) then
  guard.overlapped = true
  guard.unknown = guard.unknown or unknown or version == nil
  if version ~= nil and (not guard.has_version or version > guard.version) then
    guard.version = version
    guard.has_version = true
  end
  write_guard(key, guard, now)
  return 2
end

local latest = not guard.overlapped or (version ~= nil and (not guard.has_version or version > guard.version))
if frame == '' or unknown or guard.unknown or not latest then
  redis.call('DEL', key)
  return 0
end
local stored = redis.pcall('SET', key, frame:sub(1, 12) .. struct.pack('>I6', now) .. frame:sub(19), 'PX', life_ms)
if type(stored) == 'table' and stored.err then
  redis.call('DEL', key)
  return 0
end
return 1
