-- Give the lease of a partition back.
--
-- KEYS  1 lease
-- ARGV  1 owner, 2 fencing number
-- Returns  1 when it was held and is free now, else 0
-- Atomic because it might expire and be taken by another between the look and the deletion.
if redis.call('GET', KEYS[1]) == ARGV[1] .. ' ' .. ARGV[2] then return redis.call('DEL', KEYS[1]) end
return 0
