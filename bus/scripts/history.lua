-- Read a topic's position and some of its history.
--
-- KEYS  1 log, 2 meta; also reads bodies under ARGV[5], and of an inbox that is made anew deletes unread and archived
--       beside it, which all carry the same hash tag
-- ARGV  1 epoch to use where the topic has none, 2 first offset wanted ("-" for the oldest, "+" for the newest),
--       3 "1" for newest first, 4 most publications wanted (0: only the position), 5 prefix of body keys,
--       6 ttl of meta (s), 7 most bytes of publications unless the first alone has more (absent: any number)
-- Returns  {epoch, top, {offset, publication, …}}; a body that is gone is an empty string. Behind these, where there is
--          something to say: former epochs and up to where their offsets still count, as text
-- Atomic because position and publications must belong to the same moment.
--#include position
--#include standing
local generation, epoch, top = stand(KEYS[1], KEYS[2], ARGV[1], ARGV[6])
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
  local room = tonumber(ARGV[7]) or math.huge
  for _, entry in ipairs(entries) do
    local publication = redis.call('HGET', ARGV[5] .. entry[2][2], 'pub') or ''
    room = room - #publication
    if room < 0 and #out > 0 then break end
    out[#out + 1] = tonumber(string.match(entry[1], '^%d+'))
    out[#out + 1] = publication
  end
end
return told(generation, KEYS[2], epoch, top, out)
