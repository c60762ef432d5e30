-- Whether a stream still has what a worker has read there. What it has let go of, another worker was done with.
local function still_has(stream, id, producer, batch)
  local found = redis.call('XRANGE', stream, id, id)[1]
  if not found then return false end
  local fields = {}
  for index = 1, #found[2], 2 do fields[found[2][index]] = found[2][index + 1] end
  return fields.p == producer and fields.b == batch
end
