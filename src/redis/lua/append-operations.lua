-- Accepts operations of one producer for one shard: changes their entries and appends one stream entry that holds them
-- all, in one step.
--
-- Guarantee: an operation is in the stream if and only if its entry shows it. A batch takes effect once, however often
-- it is sent; one that comes after a later one of its producer has no effect. When the shard is full nothing is done.
--
-- KEYS[1]  the stream     KEYS[2]  the shard's state, a hash     KEYS[3]  last batch of each producer, a hash
-- KEYS[4]  unflushed entries, a hash from key to stream id       KEYS[5…]  the entries, in the order of the operations
-- ARGV[1]  producer       ARGV[2]  number of its batch           ARGV[3]  number of shards
-- ARGV[4]  most operations, ARGV[5] most bytes, ARGV[6] greatest age in ms, that may be unflushed; 0 is no limit
-- ARGV[7]  number of operations
-- ARGV[8]  the records, each after its length (4)
-- ARGV[9]  for each: kind (1), length of control (4), control
--            P put        control: where the VALUE frame begins in the record (4)
--            D delete     control: the VALUE frame that remembers it
--            I increment  control: by (8), checksum (4), fresh for (5), generations (12), with base? (1), base (8),
--                         the token of the entry that it is in (8), whether there was no such thing (1)
--            A append     no control, and no entry
--
-- Returns {1, stream id, statuses, numbers, unflushed operations, unflushed bytes, oldest ms, now ms}   accepted
--           a status is a digit: 1 accepted, 2 needs a base, 3 a writer is at work, 4 a later version's entry
--           numbers: 8 bytes for each increment, in order
--         {2, unflushed operations, unflushed bytes, oldest ms, now ms}   full
--         {3, number of shards}   it has another number of shards
--         {4}                     a later batch of this producer was here
-- @include entry-header
-- @include unflushed

local stream, state, producers, unflushed = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local producer, batch = ARGV[1], tonumber(ARGV[2])
local count, all_records, blob = tonumber(ARGV[7]), ARGV[8], ARGV[9]
local ACCEPTED, NEEDS_BASE, GUARDED, FOREIGN = '1', '2', '3', '4'
local now = now_ms()

local LONGEST_COUNTED = FRAME_BYTES + 2 + 65535 + COUNTER_BYTES -- with all the tags that a frame has room for
local READ_TOGETHER = 100 -- whatever they hold, it is here at once; in one command they cost half
local WRITTEN_TOGETHER = 1000 -- arguments of one command; Lua has room for 8,000

local operations, counters, at, record_at, key_index = {}, {}, 1, 1, 5
for index = 1, count do
  local kind, control_length = struct.unpack('>c1I4', blob, at)
  local control_at = at + 5
  local record_end = record_at + 3 + struct.unpack('>I4', all_records, record_at)
  local operation = { kind = kind, record_at = record_at, record_end = record_end, control_at = control_at }
  operation.control_end = control_at + control_length - 1
  record_at = record_end + 1
  if kind ~= 'A' then
    operation.key = KEYS[key_index]
    key_index = key_index + 1
    if kind == 'I' then counters[#counters + 1] = operation end
  end
  operations[index] = operation
  at = control_at + control_length
end

-- Sent again because the reply was lost. The touch makes it a write, so that a WAIT after it waits for what it follows.
local last = redis.call('HGET', producers, producer)
if last then
  local last_batch, statuses, id = string.match(last, '^(%d+) (%d+) (%S+)')
  if tonumber(last_batch) > batch then return { 4 } end
  if tonumber(last_batch) == batch then
    redis.call('HSET', producers, producer, last_batch .. ' ' .. statuses .. ' ' .. id .. ' ' .. string.format('%.0f', now))
    if statuses == '1' then statuses = string.rep(ACCEPTED, count) end
    local numbers = {}
    for index, operation in ipairs(operations) do
      if operation.kind == 'I' then
        local frame = redis.call('GETRANGE', operation.key, 0, LONGEST_COUNTED - 1)
        table.insert(numbers, struct.pack('>d', is_whole_counter(frame) and number_in(frame) or 0 / 0))
      end
    end
    return { 1, id, statuses, table.concat(numbers), 0, 0, 0, 0 }
  end
end

local shards, total, bytes, done, done_bytes, oldest =
  unpack(redis.call('HMGET', state, 'shards', 'total', 'bytes', 'done', 'doneBytes', 'oldest'))
if shards and shards ~= ARGV[3] then return { 3, tonumber(shards) } end
total, bytes, done, done_bytes = tonumber(total or 0), tonumber(bytes or 0), tonumber(done or 0), tonumber(done_bytes or 0)
oldest = tonumber(oldest or 0)
if total == done then oldest = now end

local most, most_bytes, most_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local is_full = (most > 0 and total - done >= most) or (most_bytes > 0 and bytes - done_bytes >= most_bytes)
  or (most_ms > 0 and total > done and now - oldest >= most_ms)
if is_full then return { 2, total - done, bytes - done_bytes, oldest, now } end

-- The entries to be counted, as they are. In a batch each of them has one operation; of another key there may be several puts,
-- of which the last stays. What is no string counts as nothing.
for first = 1, #counters, READ_TOGETHER do
  local last = math.min(first + READ_TOGETHER - 1, #counters)
  local keys = {}
  for index = first, last do keys[#keys + 1] = counters[index].key end
  for offset, found in ipairs(redis.call('MGET', unpack(keys))) do
    counters[first + offset - 1].found = found and found:sub(1, LONGEST_COUNTED) or ''
  end
end

-- A counter that waits to be flushed, the commonest by far: all of it stays but the number and the id.
local function is_waiting_counter(frame)
  local magic, version, state, kind = frame:byte(1, 4)
  local is_waiting = kind == UNFLUSHED + COUNTER or kind == UNFLUSHED + COUNTER + DOOMED
  return magic == 192 and version == 1 and state == 3 and is_waiting and is_whole_counter(frame)
end

-- Of an increment: the counter's frame, but for the id that the stream is about to give.
local function counted(operation, header)
  local control = operation.control_at
  local by, checksum, fresh_for, stamp, with_base = struct.unpack('>dc4c5c12B', blob, control)
  local frame = operation.found
  if #frame < FRAME_BYTES then return NEEDS_BASE end
  if not is_value(header) then return NEEDS_BASE end
  local fresh_ms = struct.unpack('>I5', frame:sub(38, 42))
  local is_current = is_unflushed(header)
    or (now < stored_at(header) + fresh_ms and frame:sub(47, 58) == stamp and not has_tags(frame))
  local stored, number = stored_at(header), nil
  if is_current and is_whole_counter(frame) then
    number, fresh_for = number_in(frame), frame:sub(38, 42)
  elseif with_base == 1 then
    local base, token, is_new = struct.unpack('>dc8B', blob, control + 30)
    if token_of(header) ~= token then return NEEDS_BASE end
    number = base
    if is_new == 1 then stored = now else fresh_for = frame:sub(38, 42) end
  else
    return NEEDS_BASE
  end
  operation.number = number + by
  operation.stored = stored
  operation.doomed = is_unflushed(header) and is_doomed(header)
  local pair = struct.pack('<d', operation.number)
  operation.frame = '\192\1\3\3' .. string.rep('\0', 28) .. checksum .. string.char(has_tags(frame) and 65 or 1)
    .. fresh_for .. frame:sub(43, payload_start(frame) - 1) .. '\0\0\6' .. pair .. pair
  return ACCEPTED
end

local statuses, accepted, refused = {}, 0, false
for index, operation in ipairs(operations) do
  local status = ACCEPTED
  local found = operation.found
  if found and is_waiting_counter(found) then
    operation.number = number_in(found) + struct.unpack('>d', blob, operation.control_at)
  elseif operation.key then
    local header
    if found then header = header_in(found:sub(1, HEADER_END + 1)) else header = read_header(operation.key) end
    if header ~= nil and is_foreign(header) then status = FOREIGN
    elseif header ~= nil and is_guarded(header) then status = GUARDED
    elseif operation.kind == 'I' then status = header == nil and NEEDS_BASE or counted(operation, header)
    elseif operation.kind == 'P' then
      local frame_at = operation.record_at + 4 + struct.unpack('>I4', blob, operation.control_at)
      operation.frame = all_records:sub(frame_at, operation.record_end)
    else
      operation.frame = blob:sub(operation.control_at, operation.control_end)
    end
  end
  operation.status = status
  statuses[index] = status
  if status == ACCEPTED then
    accepted = accepted + 1
  else
    refused = true
  end
end

local function whole(number) return string.format('%.0f', number) end

local id = '0-0'
local numbers = {}
if accepted > 0 then
  local joined = all_records
  if refused then
    local records = {}
    for _, operation in ipairs(operations) do
      if operation.status == ACCEPTED then
        table.insert(records, all_records:sub(operation.record_at, operation.record_end))
      end
    end
    joined = table.concat(records)
  end
  total = total + accepted
  bytes = bytes + #joined
  -- First: a full server refuses it, and then nothing has been done.
  id = redis.call('XADD', stream, '*', 'p', producer, 'b', whole(batch), 'c', whole(total), 'y', whole(bytes), 'o', joined)
  redis.call('HSET', state, 'shards', ARGV[3], 'total', whole(total), 'bytes', whole(bytes), 'oldest', whole(oldest))
  local id_ms, id_seq = split_id(id)
  local token = struct.pack('>I6I2', id_ms, id_seq % 65536)
  local packed_id = struct.pack('>I6I8', id_ms, id_seq)
  local marks, frames = {}, {}
  local function write_together(least)
    if #marks >= least then
      redis.call('MSET', unpack(frames))
      redis.call('HSET', unflushed, unpack(marks))
      marks, frames = {}, {}
    end
  end
  for _, operation in ipairs(operations) do
    if operation.key and operation.status == ACCEPTED then
      local frame = operation.frame
      if operation.kind == 'I' and not frame then
        local old, pair = operation.found, struct.pack('<d', operation.number)
        frame = old:sub(1, 4) .. token .. old:sub(13, 18) .. packed_id .. old:sub(33, -17) .. pair .. pair
      elseif operation.kind == 'I' then
        local kind = UNFLUSHED + COUNTER + (operation.doomed and DOOMED or 0)
        frame = marked(frame:sub(1, 4) .. token .. frame:sub(13), kind, operation.stored, id_ms, id_seq)
      else
        frame = marked(frame, UNFLUSHED, now, id_ms, id_seq)
      end
      frames[#frames + 1] = operation.key
      frames[#frames + 1] = frame
      marks[#marks + 1] = operation.key
      marks[#marks + 1] = id
      write_together(WRITTEN_TOGETHER)
    end
  end
  write_together(1)
end
for _, operation in ipairs(operations) do
  if operation.kind == 'I' then table.insert(numbers, struct.pack('>d', operation.number or 0)) end
end
local kept = refused and table.concat(statuses) or '1'
redis.call('HSET', producers, producer, whole(batch) .. ' ' .. kept .. ' ' .. id .. ' ' .. whole(now))
return { 1, id, table.concat(statuses), table.concat(numbers), total - done, bytes - done_bytes, oldest, now }
