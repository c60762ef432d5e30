-- The sink has committed operations: their entries become ordinary ones, and then the stream lets go of them.
--
-- Guarantee: an entry with a later operation stays, a counter that is to be dropped until that is committed too; and so
-- does everything when the stream is not the one that was read, after a failover or a flush. Nothing leaves the stream that was not read up to the id given.
--
-- KEYS[1]  the stream     KEYS[2]  the shard's state     KEYS[3]  last batch of each producer     KEYS[4]  unflushed entries
-- KEYS[5…] the entries
-- ARGV[1]  stream id that is committed, with all before it
-- ARGV[2]  producer, ARGV[3] batch that stand there: who read the same entry has read the same stream
-- ARGV[4]  for how long an entry may be served after it is not fresh any more, ms
-- ARGV[5]  for each entry '1': settle it, unless it was declared wrong meanwhile; '0': drop it, because the source may
--          have something else
-- ARGV[6]  '1': these were the last entries, let go of the stream up to the id. Else ''
--
-- Returns 1 done, 0 the stream is another one
-- @include entry-header
-- @include unflushed
-- @include needs-no-room

local stream, state, producers, unflushed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, producer, batch, keep_ms, fates = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local id_ms, id_seq = split_id(id)
local now = now_ms()
local LOOK_EVERY_MS = 600000

local found = redis.call('XRANGE', stream, id, id)[1]
if not found then return 0 end
local fields = {}
for index = 1, #found[2], 2 do fields[found[2][index]] = found[2][index + 1] end
if fields.p ~= producer or fields.b ~= batch then return 0 end

needs_no_room(stream)
for index = 5, #KEYS do
  local key = KEYS[index]
  local frame = redis.pcall('GETRANGE', key, 0, FRAME_BYTES - 1)
  local header = type(frame) == 'string' and frame:sub(1, HEADER_END + 1) or ''
  local is_dropped = fates:sub(index - 4, index - 4) == '0'
  if #frame >= FRAME_BYTES and header:byte(1) == 192 and header:byte(2) == 1 and is_unflushed(header) then
    local last_ms, last_seq = struct.unpack('>I6I8', header:sub(19, 32))
    if last_ms < id_ms or (last_ms == id_ms and last_seq <= id_seq) then
      local life_ms = stored_at(header) + struct.unpack('>I5', frame:sub(38, 42)) + keep_ms - now
      if is_dropped or is_doomed(header) or life_ms <= 0 then
        redis.call('UNLINK', key)
      else
        redis.call('SETRANGE', key, 3, string.char(header:byte(4) - UNFLUSHED))
        redis.call('SETRANGE', key, 18, string.rep('\0', 14))
        redis.call('PEXPIRE', key, life_ms)
      end
    elseif is_dropped and is_counter(header) then
      -- What came meanwhile was added to a number that the source does not have; a later row stands for itself.
      doom(key, header)
    end
  elseif is_dropped then
    -- Loaded, or being loaded, from a source that has changed since.
    redis.call('UNLINK', key)
  end
  -- An entry that was deleted behind our back has its mark here alone.
  local mark = redis.call('HGET', unflushed, key)
  if mark then
    local mark_ms, mark_seq = split_id(mark)
    if mark_ms < id_ms or (mark_ms == id_ms and mark_seq <= id_seq) then redis.call('HDEL', unflushed, key) end
  end
end

if ARGV[6] == '1' then
  redis.call('XTRIM', stream, 'MINID', '=', string.format('%.0f', id_ms) .. '-' .. string.format('%.0f', id_seq + 1))
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local oldest = first and string.match(first[1], '^(%d+)-') or '0'
  redis.call('HSET', state, 'done', fields.c, 'doneBytes', fields.y, 'oldest', oldest)
  -- A producer that was not heard of for an hour asks for nothing again. Each letter that is sent again has one of its own, so
  -- there may be tens of thousands: they are not looked through at every flush.
  if redis.call('HLEN', producers) > 256 then
    local looked = tonumber(redis.call('HGET', state, 'looked') or 0)
    if math.abs(now - looked) > LOOK_EVERY_MS then
      redis.call('HSET', state, 'looked', string.format('%.0f', now))
      local all = redis.call('HGETALL', producers)
      for index = 1, #all, 2 do
        local heard = string.match(all[index + 1], '(%d+)$')
        if now - tonumber(heard or 0) > 3600000 then redis.call('HDEL', producers, all[index]) end
      end
    end
  end
end
return 1
