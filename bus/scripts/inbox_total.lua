-- How many notifications some entries of an inbox are.
--
-- KEYS  1 inbox; also reads bodies under ARGV[3], which carry the same hash tag
-- ARGV  1 from this entry on ("-", or "(" and the last one looked at), 2 most entries looked at, 3 prefix of body keys
-- Returns  {how many, the last entry looked at, or "" when there are no more}
-- Atomic because nothing: it only keeps the entries from travelling.
local entries = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
local count = 0
for _, entry in ipairs(entries) do
  if #entry[2] == 2 then count = count + redis.call('HEXISTS', ARGV[3] .. entry[2][2], 'pub') end
end
return {count, #entries == tonumber(ARGV[2]) and entries[#entries][1] or ''}
