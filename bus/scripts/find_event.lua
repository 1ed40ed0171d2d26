-- Look for an event that nobody was given: among what waits in a partition's ingest stream, and among its dead letters.
--
-- KEYS  1 events, 2 head, 3 dead
-- ARGV  1 the event's id as JSON writes it, 2 most entries looked at of each, newest first
-- Returns  {{field, value, …}, …} of what waits, and the same of dead letters: those whose field `e` has that text
-- Atomic because nothing: it only keeps what nobody asked for from travelling.
local function parts(id)
  local high, low = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(high), tonumber(low)
end

local function among(stream, after)
  local out = {}
  local high, low = parts(after)
  for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', ARGV[2])) do
    local own_high, own_low = parts(entry[1])
    if own_high < high or (own_high == high and own_low <= low) then break end
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'e' and string.find(entry[2][i + 1], ARGV[1], 1, true) then out[#out + 1] = entry[2] end
    end
  end
  return out
end

return {among(KEYS[1], redis.call('HGET', KEYS[2], 'acked') or '0-0'), among(KEYS[3], '0-0')}
