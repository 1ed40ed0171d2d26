-- A node says how many places beyond its free ones it wants for a person or an address, and learns how many it has.
--
-- KEYS  1 places
-- ARGV  1 node, 2 places wanted, in all, 3 least that would be of use, 4 most of all nodes together, 5 ttl (ms): what a
--       node does not ask for again in that time is nobody's
-- Returns  the places that the node has now: those wanted or as many as there are, and none more where those are too few
-- Atomic because two nodes that both found the last place would both take it. A repeat changes nothing: the number is
-- what the node wants in all.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local others, mine = 0, 0
local known = redis.call('HGETALL', KEYS[1])
for i = 1, #known, 2 do
  local count, ends = string.match(known[i + 1], '^(%d+) (%d+)$')
  if not ends or tonumber(ends) <= now then
    redis.call('HDEL', KEYS[1], known[i])
  elseif known[i] == ARGV[1] then
    mine = tonumber(count)
  else
    others = others + tonumber(count)
  end
end
local wanted, least = tonumber(ARGV[2]), tonumber(ARGV[3])
local given = math.max(0, math.min(wanted, tonumber(ARGV[4]) - others))
if given < least then given = math.min(mine, given) end
if given > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f', given, now + ARGV[5]))
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return given
