-- Take or keep the lease of a partition.
--
-- KEYS  1 lease, 2 head
-- ARGV  1 owner, 2 ttl (ms)
-- Returns  the fencing number when the owner holds the lease, else 0
-- Atomic because two workers that both found it free would both work the partition.
local held = redis.call('GET', KEYS[1])
if held then
  local owner, fence = string.match(held, '^(.*) (%d+)$')
  if owner ~= ARGV[1] then return 0 end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(fence)
end
local fence = redis.call('HINCRBY', KEYS[2], 'fence', 1)
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. fence, 'PX', ARGV[2])
return fence
