-- Asks for a shard, or keeps it, and learns how much is waiting in it. It decides who works, not whose work counts: that
-- is the sink's epoch.
--
-- KEYS[1]  the shard's owner     KEYS[2]  the shard's state
-- ARGV[1]  the worker            ARGV[2]  for how long, ms
--
-- Returns {1 held or 0 another's, unflushed operations, unflushed bytes, oldest ms, now ms, number of flushes asked for}
-- @include needs-no-room

local owner, state, worker, life_ms = KEYS[1], KEYS[2], ARGV[1], ARGV[2]

local holder = redis.call('GET', owner)
local is_mine = not holder or holder == worker
-- A clock that was set back must not keep the dead for hours: twice as long as any holds. Who lives has it fenced by the sink.
if redis.call('PTTL', owner) > 120000 then is_mine = true end
if is_mine then
  needs_no_room(owner)
  redis.call('SET', owner, worker, 'PX', life_ms)
end
local total, bytes, done, done_bytes, oldest, flushes =
  unpack(redis.call('HMGET', state, 'total', 'bytes', 'done', 'doneBytes', 'oldest', 'flushes'))
local time = redis.call('TIME')
return {
  is_mine and 1 or 0,
  tonumber(total or 0) - tonumber(done or 0),
  tonumber(bytes or 0) - tonumber(done_bytes or 0),
  tonumber(oldest or 0),
  time[1] * 1000 + math.floor(time[2] / 1000),
  tonumber(flushes or 0)
}
