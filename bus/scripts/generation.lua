-- Find out whether a partition's data is still the data that was written: each new connection asks before it writes.
--
-- KEYS  1 generation
-- ARGV  1 identity of this server (run id), 2 a name for a generation that may begin (hex, never used before), 3 the
--       server on which the caller last found the partition ("" nowhere yet), 4 the generation that it was in there, then
--       the other masters of the cluster
-- Returns  {name of the generation, this server, name of the one before ("" none), the server that one was last on}
-- Atomic because two connections that find another server must agree on one new generation.
local key, server = KEYS[1], ARGV[1]
local n, name, noted, before, was = unpack(redis.call('HMGET', key, 'n', 'name', 'server', 'before', 'was'))

local function is_master(other)
  for i = 5, #ARGV do if ARGV[i] == other then return true end end
  return false
end

local function note(...)
  local time = redis.call('TIME')
  -- A Redis that is full refuses only the first write of a script, and not one that frees something. It has to be left a
  -- way to be emptied: without this note nobody would connect to it.
  redis.call('HDEL', key, 'full')
  redis.call('HSET', key, 'server', server, 'at', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)), ...)
end

if not n and ARGV[3] == '' then
  note('n', 1, 'name', '1')
  return {'1', server, '', ''}
end
-- A slot that was moved here lost nothing: who had it is still a master. But if the caller has met the partition on a
-- server that is none any more, then what was written there may be lost, and the note of it too.
local met = ARGV[3] == '' or ARGV[3] == noted or ARGV[3] == server or is_master(ARGV[3])
-- Unless another caller found that out before: a server's end begins one generation, not one for each who comes. One
-- that is older than the caller's does not count: whoever noted that this server has it knew as little of the loss.
if n and noted == server and name ~= ARGV[4] and tonumber(n) >= tonumber(string.match(ARGV[4], '^%d+') or 0) then
  met = true
end
if n and noted == server and met then return {name, server, before or '', was or ''} end
if n and met and is_master(noted) then
  note('n', n)
  return {name, server, before or '', was or ''}
end
n = (n or 1) + 1
before, was, name = name or '1', noted or '', string.format('%dg%s', n, ARGV[2])
note('n', n, 'name', name, 'before', before, 'was', was)
return {name, server, before, was}
