-- Asks for the right to load a key, for the whole fleet.
--
-- Guarantee: of all callers that find the same state, one is granted; everyone else learns what to do instead.
-- Run on a tracked connection, the read in here also subscribes the caller to the key's next change, atomically
-- with the answer: no wake-up can fall between "held" and waiting for it.
--
-- KEYS[1]  the entry
-- KEYS[2]  of an entry that is written behind: the hash of what is unflushed in its shard
-- ARGV[1]  token of the caller, 8 bytes
-- ARGV[2]  life of the lease, ms
-- ARGV[3]  token of the VALUE or FAILED that the caller read and cannot use, or ''
-- ARGV[4]  '1': load whatever is cached and whoever is loading; their fill will be refused. Else ''
--
-- Returns {1, 0, stands}        granted: load, then fill-entry, fail-load or release-lease
--         {2, left ms, stands}  held by another loader
--         {3, entry}            there is something the caller has not seen: decide again
--         {4}                   a later version's entry: load, store nothing
--         {5, left ms, 0}       held by writers: the source is about to change
--         {6}                   the entry is gone, and operations on it are not in the source yet
--         `stands` is 1 when the VALUE that the caller has seen is still there, under the lease.
-- @include entry-header

local key, token, lease_ms, seen, force = KEYS[1], ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1'
local header = read_header(key)

local function hold()
  redis.call('SET', key, '\192\1\1\1' .. token, 'PX', lease_ms)
  return { 1, 0, 0 }
end

if header == nil then
  if KEYS[2] and redis.call('HEXISTS', KEYS[2], key) == 1 then return { 6 } end
  return hold()
end
if is_foreign(header) then return { 4 } end

local life_ms = redis.call('PTTL', key)
-- Twice as long as any lease or guard: the clock was set back since, and whoever is gone would be waited for as long. A writer
-- that lives after all finds its guard gone, and leaves nothing.
local is_left_behind = life_ms > 2 * LEASE_MOST_MS

if is_hold(header) then
  -- Asked again because the first answer was lost.
  if token_of(header) == token then return { 1, 0, 0 } end
  if force or is_left_behind then return hold() end
  return { 2, life_ms, 0 }
end

if is_guarded(header) and not is_left_behind then return { 5, life_ms, 0 } end

if is_failed(header) then
  if force or token_of(header) == seen then return hold() end
  return { 3, redis.call('GET', key) }
end

if not is_value(header) then return hold() end
if is_unflushed(header) then return { 3, redis.call('GET', key) } end
if not force then
  if token_of(header) ~= seen then return { 3, redis.call('GET', key) } end
  local left = lease_left_ms(header, now_ms())
  if left > 0 then
    if lease_token_of(header) == token then return { 1, 0, 1 } end
    if lease_token_of(header) == NO_TOKEN then return { 3, redis.call('GET', key) } end
    return { 2, left, 1 }
  end
end
write_lease(key, token, now_ms() + lease_ms)
outlast(key, lease_ms)
return { 1, 0, token_of(header) == seen and 1 or 0 }
