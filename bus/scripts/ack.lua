-- Acknowledge entries in order, move the checkpoint, and trim what was acknowledged a while ago (see window.lua).
--
-- KEYS  1 lease, 2 events, 3 head
-- ARGV  1 owner, 2 fencing number, 3 group, 4 how long acknowledged entries stay (ms), then entry ids, oldest first
-- Returns  how many were acknowledged, or the error FENCED when the lease is lost
-- Atomic because a paused owner must neither acknowledge nor trim what its successor is working.
if redis.call('GET', KEYS[1]) ~= ARGV[1] .. ' ' .. ARGV[2] then return redis.error_reply('FENCED lease lost') end
local before = redis.call('HMGET', KEYS[3], 'acked', 'marks', 'entry')
local acked = redis.call('XACK', KEYS[2], ARGV[3], unpack(ARGV, 5))
local last = ARGV[#ARGV]
if before[3] then redis.call('HDEL', KEYS[3], 'entry', 'attempts') end
local time = redis.call('TIME')
local now, keep = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[4])
-- Up to which entry all was acknowledged, at some moments, the last of them now: an entry stays for so long after its
-- acknowledgement, however old it is, for another server may fail and lose what it was given of it.
local gone, marks = not before[2] and before[1] or nil, {}
for at, id in string.gmatch(before[2] or '', '(%d+) (%S+)') do
  -- A server's clock may lie behind that of the one before.
  local moment = math.min(tonumber(at), now)
  if moment <= now - keep then gone = id else marks[#marks + 1] = {moment, id} end
end
if keep == 0 then gone = last end
local at = #marks
if at < 2 or marks[at][1] - marks[at - 1][1] >= keep / 10 then at = at + 1 end
marks[at] = {now, last}
for i, mark in ipairs(marks) do marks[i] = string.format('%.0f %s', mark[1], mark[2]) end
redis.call('HSET', KEYS[3], 'acked', last, 'marks', table.concat(marks, ' '))
if gone then
  redis.call('HSET', KEYS[3], 'gone', gone)
  redis.call('XTRIM', KEYS[2], 'MINID', '~', gone)
end
return acked
