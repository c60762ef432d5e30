-- Reads a shard's stream from its beginning: all that is not committed, or not known to be.
--
-- KEYS[1]  the stream
-- ARGV[1]  most operations, ARGV[2] most bytes: enough is when either is reached
--
-- Returns a flat list: id, producer, batch, records, id, …
local stream, most, most_bytes = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local PAGE = 16

local answer, from, first_total, first_bytes = {}, '-', nil, nil
while true do
  local page = redis.call('XRANGE', stream, from, '+', 'COUNT', PAGE)
  for _, entry in ipairs(page) do
    local fields = {}
    for index = 1, #entry[2], 2 do fields[entry[2][index]] = entry[2][index + 1] end
    local total, bytes = tonumber(fields.c), tonumber(fields.y)
    local size = #answer
    answer[size + 1], answer[size + 2], answer[size + 3], answer[size + 4] = entry[1], fields.p, fields.b, fields.o
    first_total, first_bytes = first_total or total, first_bytes or bytes
    if total - first_total >= most or bytes - first_bytes >= most_bytes then return answer end
  end
  if #page < PAGE then return answer end
  from = '(' .. page[#page][1]
end
