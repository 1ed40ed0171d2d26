-- Look for an event that nobody was given: among what waits in a partition's ingest stream, and among its dead letters.
--
-- KEYS  1 events, 2 head, 3 dead
-- ARGV  1 the event's id as JSON writes it, 2 about how many entries are looked at of each, newest first; fewer
--       where they are large
-- Returns  {{field, value, …}, …} of what waits, and the same of dead letters: those whose field `e` has that text
-- Atomic because nothing: it only keeps what nobody asked for from travelling.
local function parts(id)
  local high, low = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(high), tonumber(low)
end

-- What is not before `after` of some entries; and how many bytes these have, nil at the end.
local function look(entries, after, out)
  local high, low = parts(after)
  local bytes = 0
  for _, entry in ipairs(entries) do
    local own_high, own_low = parts(entry[1])
    if own_high < high or (own_high == high and own_low <= low) then return nil end
    for i = 1, #entry[2], 2 do
      bytes = bytes + #entry[2][i + 1]
      if entry[2][i] == 'e' and string.find(entry[2][i + 1], ARGV[1], 1, true) then out[#out + 1] = entry[2] end
    end
  end
  return bytes
end

local function among(stream, after)
  local out, seen, bytes, from = {}, 0, 0, '+'
  -- A few at a time, and no more than a megabyte of them: some milliseconds.
  while seen < tonumber(ARGV[2]) and bytes < 1048576 do
    local entries = redis.call('XREVRANGE', stream, from, '-', 'COUNT', 10)
    local more = look(entries, after, out)
    if not more or #entries < 10 then break end
    seen, bytes, from = seen + #entries, bytes + more, '(' .. entries[#entries][1]
  end
  return out
end

return {among(KEYS[1], redis.call('HGET', KEYS[2], 'acked') or '0-0'), among(KEYS[3], '0-0')}
