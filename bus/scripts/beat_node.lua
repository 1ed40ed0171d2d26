-- A gateway node says that it is alive.
--
-- KEYS  1 stream, 2 sequence, 3 alive
-- ARGV  1 ttl of alive (ms), 2 ttl of stream and sequence (ms), 3 number up to which the node has read
-- Returns  {sequence, 1 when the node had been taken for dead since its last beat else 0}
-- Atomic because the node compares the sequence with what it has read to find out what it lost.
local lapsed = 1 - redis.call('EXISTS', KEYS[3])
local sequence = tonumber(redis.call('GET', KEYS[2]) or 0)
-- First: a Redis that is full refuses the first write of a script, but not one that needs no memory.
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if sequence == 0 then redis.call('SET', KEYS[2], 0, 'PX', ARGV[2]) end
redis.call('SET', KEYS[3], '1', 'PX', ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- Where the node read more than there is, others may stand now under numbers that it has read already.
  if tonumber(ARGV[3]) <= sequence then redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[3] .. '-0') end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {sequence, lapsed}
