-- Take or keep the lease of a partition.
--
-- KEYS  1 lease, 2 head
-- ARGV  1 owner, 2 ttl (ms), 3 fencing number that the owner holds it under ("0" or absent: it does not), 4 time (ms)
--       that a lease has left at most when its holder kept it for the last time before they fell silent (absent: it must
--       run out), 5… the living: who is none of these, and silent, is dead
-- Returns  the fencing number when the owner holds the lease, else 0
-- Atomic because two workers that both found it free would both work the partition.
local held = redis.call('GET', KEYS[1])
if held then
  local owner, fence = string.match(held, '^(.*) (%d+)$')
  if owner == ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return tonumber(fence)
  end
  -- Noted by a clock that was ahead of this one: nobody would have the partition until it has caught up.
  if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  -- Who stops is on no list either, but keeps the lease until all that is under way has ended.
  if not ARGV[4] or redis.call('PTTL', KEYS[1]) > tonumber(ARGV[4]) then return 0 end
  for i = 5, #ARGV do
    if ARGV[i] == owner then return 0 end
  end
end
-- A Redis that is full refuses the first write of a script, but not one that frees something; and it must be emptied.
redis.call('DEL', KEYS[1])
-- It ran out, as all do while Redis hangs; but nobody was given it since, so whoever had it goes on.
local fence = tonumber(ARGV[3] or 0)
if fence == 0 or redis.call('HGET', KEYS[2], 'fence') ~= ARGV[3] then
  fence = redis.call('HINCRBY', KEYS[2], 'fence', 1)
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. fence, 'PX', ARGV[2])
return fence
