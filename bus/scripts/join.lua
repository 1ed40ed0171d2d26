-- A node begins to listen to a topic, and learns where the topic stands and what a client missed.
--
-- KEYS  1 log, 2 meta, 3 routes; also reads bodies under ARGV[6], and of an inbox that is made anew deletes unread and
--       archived beside it, which all carry the same hash tag
-- ARGV  1 node id, 2 epoch to use where the topic has none, 3 "1" to read what was missed, 4 offset last seen,
--       5 most publications wanted, 6 prefix of body keys, 7 ttl of routes (s; refreshed by the node's position
--       check, so that the routes of a dead node go by themselves), 8 ttl of meta (s), 9 most bytes of publications
--       unless the first alone has more (absent: any number)
-- Returns  {epoch, top, {offset, publication, offset, publication, …}}; an empty publication is one that was withdrawn;
--          a list that does not begin right after the offset last seen says that something is no longer there. Behind
--          these, where there is something to say: former epochs and up to where their offsets still count, as text
-- Atomic because a publication between the route and the reading would be neither in the history nor on the wire.
--#include position
--#include standing
local time = redis.call('TIME')
-- The route says when it was last refreshed: when its node dies, that is when the person was last seen.
redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
redis.call('EXPIRE', KEYS[3], ARGV[7])
local generation, epoch, top = stand(KEYS[1], KEYS[2], ARGV[2], ARGV[8])
local missed = {}
if ARGV[3] == '1' then
  local since, room = tonumber(ARGV[4]), tonumber(ARGV[9]) or math.huge
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], string.format('%.0f-0', since + 1), '+', 'COUNT', ARGV[5])) do
    local body = redis.call('HMGET', ARGV[6] .. entry[2][2], 'pub', 'w')
    room = room - #(body[1] or '')
    if room < 0 and #missed > 0 then break end
    if body[1] or body[2] then
      missed[#missed + 1] = tonumber(string.match(entry[1], '^%d+'))
      missed[#missed + 1] = body[1] or ''
    else
      -- Its time was over: what lies before cannot be given whole, so it is not given at all.
      missed = {}
    end
  end
end
return told(generation, KEYS[2], epoch, top, missed)
