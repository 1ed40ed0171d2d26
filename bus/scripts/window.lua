-- Which acknowledged entries are still to be had: those of the last minute, to be given again where they were lost.
--
-- KEYS  1 head
-- ARGV  1 how long acknowledged entries stay (ms)
-- Returns  {id of the last entry before these, id of the last acknowledged, generations under which these were given (see
--          cover.lua; "" not noted)}
-- Atomic because nothing: it only reads what ack.lua and cover.lua note together.
local gone, acked, marks, given = unpack(redis.call('HMGET', KEYS[1], 'gone', 'acked', 'marks', 'given'))
local time = redis.call('TIME')
local horizon = time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1]
for at, id in string.gmatch(marks or '', '(%d+) (%S+)') do
  if tonumber(at) <= horizon then gone = id end
end
-- Acknowledged by a release that kept no such marks: nobody can tell when.
if not marks then gone = acked end
return {gone or '0-0', acked or '0-0', given or ''}
