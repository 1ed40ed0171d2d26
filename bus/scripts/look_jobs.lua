-- See whose jobs wait in a channel's stream, without taking any. Those whose wait is over go to its end first.
--
-- KEYS  1 lease, 2 jobs, 3 later (members: cmsgpack of field, value, …)
-- ARGV  1 owner, 2 fencing number, 3 group, 4 id behind which to look ("": the last one that the group has read),
--       5 most jobs looked at, 6 most jobs moved
-- Returns  {id up to which was looked, 1 when that is the end else 0, {id, event reference ("" where there is none)},
--          …}, or the error FENCED when the lease is lost
-- Atomic because a crash between `later` and the stream would lose a job or make two of it, and because what another
-- owner has done must not be taken for what waits.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
--#include later

bring_back(KEYS[3], KEYS[2], ARGV[6])
if redis.call('EXISTS', KEYS[2]) == 0 then return {'0-0', 1} end

local function last_read()
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
    local known = {}
    for i = 1, #group, 2 do known[group[i]] = group[i + 1] end
    if known['name'] == ARGV[3] then return known['last-delivered-id'] end
  end
  redis.call('XGROUP', 'CREATE', KEYS[2], ARGV[3], '0')
  return '0-0'
end

local from = ARGV[4]
if from == '' then from = last_read() end
local found = redis.call('XRANGE', KEYS[2], '(' .. from, '+', 'COUNT', ARGV[5])
local out = {from, #found < tonumber(ARGV[5]) and 1 or 0}
for _, entry in ipairs(found) do
  local ref = ''
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'e' then ref = entry[2][i + 1] end
  end
  out[1] = entry[1]
  out[#out + 1] = {entry[1], ref}
end
return out
