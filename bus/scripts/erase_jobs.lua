-- Take a person's jobs out of a stream, a part of it at a time.
--
-- KEYS  1 jobs
-- ARGV  1 user, 2 group, 3 first entry to look at, 4 how many
-- Returns  id after which to go on, "" at the end
-- Atomic because a job that was acknowledged and not deleted would be found by nobody again.
local entries = redis.call('XRANGE', KEYS[1], ARGV[3], '+', 'COUNT', ARGV[4])
for _, entry in ipairs(entries) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'u' and entry[2][i + 1] == ARGV[1] then
      -- Without a group nobody took anything yet.
      redis.pcall('XACK', KEYS[1], ARGV[2], entry[1])
      redis.call('XDEL', KEYS[1], entry[1])
    end
  end
end
if #entries < tonumber(ARGV[4]) then return '' end
return entries[#entries][1]
