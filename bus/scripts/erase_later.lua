-- Take a person's jobs out of those that wait for another attempt, a part of them at a time.
--
-- KEYS  1 later
-- ARGV  1 user, 2 rank of the first to look at, 3 how many
-- Returns  rank to go on at, -1 at the end
-- Atomic because ranks shift when others come and go.
local members = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[2] + ARGV[3] - 1)
local gone = 0
for _, member in ipairs(members) do
  local job = cmsgpack.unpack(member)
  for i = 1, #job, 2 do
    if job[i] == 'u' and job[i + 1] == ARGV[1] then gone = gone + redis.call('ZREM', KEYS[1], member) end
  end
end
if #members < tonumber(ARGV[3]) then return -1 end
return ARGV[2] + #members - gone
