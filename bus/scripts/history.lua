-- Read a topic's position and some of its history.
--
-- KEYS  1 log, 2 meta; also reads bodies under ARGV[5], and of an inbox that is made anew deletes unread and archived
--       beside it, which all carry the same hash tag
-- ARGV  1 epoch to use where the topic has none, 2 first offset wanted ("-" for the oldest, "+" for the newest),
--       3 "1" for newest first, 4 most publications wanted (0: only the position), 5 prefix of body keys,
--       6 ttl of meta (s)
-- Returns  {epoch, top, {offset, publication, …}}; a body that is gone is an empty string
-- Atomic because position and publications must belong to the same moment.
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  -- A log without a position is from before the position was lost: its offsets mean nothing now.
  redis.call('DEL', KEYS[1])
  local inbox = string.match(KEYS[1], '^(.*:)inbox$')
  if inbox then redis.call('DEL', inbox .. 'unread', inbox .. 'archived') end
  epoch = ARGV[1]
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'top', 0)
end
-- That somebody follows it durably must not be forgotten.
if redis.call('HEXISTS', KEYS[2], 'followed') == 0 then redis.call('EXPIRE', KEYS[2], ARGV[6]) end
local top = tonumber(redis.call('HGET', KEYS[2], 'top'))
local out = {}
if tonumber(ARGV[4]) > 0 then
  local from = ARGV[2]
  if from ~= '-' and from ~= '+' then from = from .. '-0' end
  local entries
  if ARGV[3] == '1' then
    entries = redis.call('XREVRANGE', KEYS[1], from, '-', 'COUNT', ARGV[4])
  else
    entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[4])
  end
  for _, entry in ipairs(entries) do
    out[#out + 1] = tonumber(string.match(entry[1], '^%d+'))
    out[#out + 1] = redis.call('HGET', ARGV[5] .. entry[2][2], 'pub') or ''
  end
end
return {epoch, top, out}
